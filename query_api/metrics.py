"""What the API counts, in a registry of its own."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """The metrics of one app."""

    def __init__(self, also: Sequence[CollectorRegistry] = ()) -> None:
        self.registry = CollectorRegistry()
        self._also = tuple(also)
        self.requests = Counter(
            "headstream_api_requests",
            "HTTP requests by route and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "headstream_api_question_seconds",
            "Time to answer, by question id, or sparql, runs, run, export",
            ["question"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.refused = Counter(
            "headstream_api_refused",
            "Requests without an answer, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.truncated = Counter(
            "headstream_api_truncated",
            "Answers cut at the limit of rows or bytes",
            ["question"],
            registry=self.registry,
        )
        self.running = Gauge(
            "headstream_api_running", "Questions being answered at this moment", registry=self.registry
        )

    def text(self) -> bytes:
        """The Prometheus text format, with what else this process counts."""
        return b"".join(generate_latest(registry) for registry in (self.registry, *self._also))
