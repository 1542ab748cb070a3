"""A log of when each event came into the graph (HEADSTREAM_FRESHNESS_LOG)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from headstream.sinks.batch import Batch
from headstream.sinks.core import Delivered, event_times

log = logging.getLogger(__name__)


class FreshnessLog:
    """Appends a line an event: its time and when it was stored, microseconds since the epoch.

    A log that cannot be written costs its lines, never an event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def __call__(self, batch: Batch, delivered: Delivered) -> None:
        self.note(event_times(batch), delivered.stored_at)

    def note(self, moments: Iterable[int], stored_at: float) -> None:
        """Log events by their times; 0 is an event without one."""
        stored = int(stored_at * 1e6)
        lines = "".join(f"{moment} {stored}\n" for moment in moments if moment)
        try:
            os.write(self._file, lines.encode())
        except OSError as error:
            log.warning("freshness not logged", extra={"path": str(self._path), "error": str(error)})
