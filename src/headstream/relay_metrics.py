"""What the relay (`headstream ship --watch`) counts, and whether it gets on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from headstream.capture.errors import LOSSES, WARNINGS
from headstream.capture.shipper import Shipped

_PATIENT_SECONDS = 5.0


class Tallied:
    """Shows a tally of capture as a counter by reason."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counted: dict[str, int] = {}

    def take(self, counts: Mapping[str, int]) -> None:
        """Add what has come since the last time."""
        for reason, count in counts.items():
            self._counter.labels(reason=reason).inc(max(0, count - self._counted.get(reason, 0)))
            self._counted[reason] = count


class RelayMetrics:
    """The numbers of one relay; `shipped` is called after every round."""

    def __init__(
        self,
        registry: CollectorRegistry,
        waiting: Callable[[], int] = lambda: 0,
        trouble: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"headstream_relay_{name}", text, labels, registry=registry)

        self.events = counter("events", "Capture events handed over, repeats included")
        self.bags = counter("bags", "Bags handed over, repeats included")
        self.documents = counter("documents", "Documents handed over, repeats included")
        self.spools = counter("spools", "Spools that were shipped to their end")
        self.losses = counter("losses", "What could not be read or delivered", "reason")
        self.warnings = counter("warnings", "What went wrong and cost nothing so far", "reason")
        self.waiting = Gauge(
            "headstream_relay_waiting_messages",
            "Messages handed over and not acknowledged by the broker",
            registry=registry,
        )
        self.waiting.set_function(waiting)
        self._waiting = waiting
        self._trouble = trouble
        self._clock = clock
        self._last = Shipped()
        self._lost, self._warned = Tallied(self.losses), Tallied(self.warnings)
        self._round = clock()

    def shipped(self, shipped: Shipped) -> None:
        """Take the numbers of a round that is over."""
        self._round = self._clock()
        for name in ("events", "bags", "documents", "spools"):
            getattr(self, name).inc(getattr(shipped, name) - getattr(self._last, name))
        self._last = shipped
        self._lost.take(LOSSES.counts())
        self._warned.take(WARNINGS.counts())

    def unready(self) -> str | None:
        """Why nothing gets through just now, or None: a round is over only when the broker has it."""
        silent = self._clock() - self._round
        if silent < _PATIENT_SECONDS:
            return None
        said = self._trouble()
        why = "" if said is None else f" ({said})"
        return f"the broker has taken nothing for {silent:.0f} s{why}; {self._waiting()} messages wait for it"
