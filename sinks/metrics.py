"""What the sink counts, in a registry of its own, and the small server that shows it."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

_FRESHNESS: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_TRIPLES: Final = (100, 1_000, 5_000, 10_000, 20_000, 40_000, 100_000)


class Freshness(Collector):
    """Seconds from an event to its place in the graph. One pass a batch: five times cheaper than a
    Histogram, which takes a lock an event."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_FRESHNESS) + 1)
        self._sum = 0.0

    def observe(self, seconds: Iterable[float]) -> None:
        counts = self._counts
        for value in seconds:
            counts[bisect_left(_FRESHNESS, value)] += 1
            self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        total, buckets = 0, []
        for limit, number in zip([*map(str, _FRESHNESS), "+Inf"], self._counts, strict=True):
            total += number
            buckets.append((limit, total))
        yield HistogramMetricFamily(
            "headstream_sink_freshness_seconds",
            "Seconds from the time of an event until it was in the graph.",
            buckets=buckets,
            sum_value=self._sum,
        )


class Metrics:
    """The numbers of one sink."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.freshness = Freshness()
        self.registry.register(self.freshness)
        self.events = self._counter("events_total", "Events stored.")
        self.messages = self._counter("messages_total", "Messages read from the identified topic.")
        self.triples = self._counter("triples_total", "Triples sent and confirmed.")
        self.requests = self._counter("requests_total", "Requests that the store confirmed or refused.")
        self.divergence = self._counter(
            "divergence_triples_total", "Triples sent beyond those that the store counted, where it counts."
        )
        self.retries = self._counter("retries_total", "Attempts that are made again.", "reason")
        self.dead_letters = self._counter("dead_letters_total", "Events given up, with the reason.", "reason")
        self.commits_failed = self._counter("commit_failures_total", "Offset commits that are made again.")
        self.lag = Gauge(
            "headstream_sink_lag_messages",
            "Messages not yet committed.",
            ["partition"],
            registry=self.registry,
        )
        self.paused = Gauge("headstream_sink_paused", "1 while the store is away.", registry=self.registry)
        self.blocked = Gauge(
            "headstream_sink_blocked",
            "1 while the dead-letter topic cannot be written, so that nothing more is committed.",
            registry=self.registry,
        )
        self.batch_triples = Histogram(
            "headstream_sink_batch_triples", "Triples in a batch.", buckets=_TRIPLES, registry=self.registry
        )
        self.write_seconds = Histogram(
            "headstream_sink_write_seconds", "Seconds a batch took in the store.", registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"headstream_sink_{name}", text, labels, registry=self.registry)


def serve(
    metrics: Metrics, host: str, port: int, unready: Callable[[], str | None]
) -> ThreadingHTTPServer | None:
    """Show /metrics, /readyz and /livez; a port in use is logged and costs nothing else.

    `unready` gives the reason why the worker is not ready, or None.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, generate_latest(metrics.registry))
            elif path == "/readyz":
                reason = unready()
                self._answer(*((200, b"ready\n") if reason is None else (503, f"{reason}\n".encode())))
            elif path == "/livez":
                self._answer(200, b"alive\n")
            else:
                self._answer(404, b"there are /metrics, /readyz and /livez\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return None

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        log.warning("metrics are not shown", extra={"host": host, "port": port, "error": str(error)})
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="sink-metrics", daemon=True).start()
    return server
