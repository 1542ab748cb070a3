"""What the routes share: settings, store, catalogue, metrics. Made once per app; nothing is global."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from headstream.query_api.catalogue import Catalogue
from headstream.query_api.errors import QueryApiError, TooBusy
from headstream.query_api.metrics import Metrics
from headstream.query_api.settings import Settings
from headstream.query_api.store import Limits, QueryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One app's parts."""

    settings: Settings
    store: QueryStore
    catalogue: Catalogue
    metrics: Metrics
    places: threading.BoundedSemaphore = field(repr=False)

    @property
    def limits(self) -> Limits:
        """How much one answer may cost."""
        return Limits(
            seconds=self.settings.timeout_seconds, rows=self.settings.max_rows, bytes=self.settings.max_bytes
        )

    @contextmanager
    def answering(self, question: str) -> Iterator[None]:
        """Hold a place while a question runs, time it, count how it ended. Raises TooBusy."""
        if not self.places.acquire(blocking=False):
            self.metrics.refused.labels(reason=TooBusy.__name__).inc()
            raise TooBusy(
                f"{self.settings.max_concurrent} questions run already",
                remedy="ask again in a moment, or raise HEADSTREAM_API_MAX_CONCURRENT",
            )
        started = time.monotonic()
        self.metrics.running.inc()
        try:
            yield
        except QueryApiError as error:
            self.metrics.refused.labels(reason=error.reason).inc()
            raise
        finally:
            self.metrics.seconds.labels(question=question).observe(time.monotonic() - started)
            self.metrics.running.dec()
            self.places.release()
