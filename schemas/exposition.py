"""What every worker shows of itself: `/metrics`, and the probes `/healthz` and `/readyz`."""

from __future__ import annotations

import logging
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

# Fine where the promise is: a p95 of 1 s and 2 s (docs/reference/metrics.md).
SECONDS: Final = (
    0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0
)  # fmt: skip
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_MICROSECONDS: Final = 1e6
# Asked more at once than a scraper and the probes ever do, a worker answers 503 and goes on with its work.
_AT_ONCE: Final = 32
_FULL: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Freshness(Collector):
    """A histogram of seconds by stage, weighted by events.

    The events of a message are one pass over them and mostly one addition, where a Histogram of
    the client takes a lock an event. Clocks of two hosts may differ: less than nothing counts as 0.
    """

    def __init__(self, name: str, text: str, stages: Sequence[str]) -> None:
        self._name, self._text = name, text
        self._labelnames = ("stage",)
        self._counts = {stage: [0] * (len(SECONDS) + 1) for stage in stages}
        self._sums = dict.fromkeys(stages, 0.0)

    def add(self, stage: str, seconds: float, events: int = 1) -> None:
        """Count events that all took so long."""
        seconds = max(0.0, seconds)
        self._counts[stage][bisect_left(SECONDS, seconds)] += events
        self._sums[stage] += seconds * events

    def since(self, stage: str, moments: Iterable[int], now: float) -> int:
        """Count events by when they happened, in microseconds since the epoch, and return how many.

        0 is one without a time, or facts that are of no single event; neither is counted.
        """
        known = [moment for moment in moments if moment]
        if not known:
            return 0
        least, most = now - max(known) / _MICROSECONDS, now - min(known) / _MICROSECONDS
        if least >= 0.0 and bisect_left(SECONDS, least) == bisect_left(SECONDS, most):
            self._counts[stage][bisect_left(SECONDS, least)] += len(known)
            self._sums[stage] += len(known) * now - sum(known) / _MICROSECONDS
            return len(known)
        counts, total = self._counts[stage], 0.0
        for moment in known:
            seconds = now - moment / _MICROSECONDS
            if seconds < 0.0:
                seconds = 0.0
            counts[bisect_left(SECONDS, seconds)] += 1
            total += seconds
        self._sums[stage] += total
        return len(known)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        for stage, counts in self._counts.items():
            total, buckets = 0, []
            for limit, number in zip([*map(str, SECONDS), "+Inf"], list(counts), strict=True):
                total += number
                buckets.append((limit, total))
            family.add_metric([stage], buckets, self._sums[stage])
        yield family


class Text:
    """A text that is costly to make: made once for all who wait for it, and never older than the question."""

    def __init__(self, make: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._one = threading.Lock()
        self._begun = float("-inf")
        self._text = b""

    def made_now(self) -> bytes:
        """The text as it is now, or was at some moment since this call began; safe from any thread."""
        asked = self._clock()
        with self._one:
            if self._begun <= asked:
                begun = self._clock()
                self._text = self._make()
                self._begun = begun
            return self._text


class _Bounded(ThreadingHTTPServer):
    """A thread for each connection, up to a number; the next is told that it is one too many."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        if self._slots.acquire(blocking=False):
            try:
                super().process_request(request, client)
            except BaseException:  # No thread could be started.
                self._slots.release()
                raise
            return
        assert isinstance(request, socket.socket)
        with suppress(OSError):
            request.settimeout(0.0)  # It fits the buffer of a fresh connection, or is not worth waiting for.
            request.sendall(_FULL)
        self.shutdown_request(request)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client: object
    ) -> None:
        try:
            super().process_request_thread(request, client)
        finally:
            self._slots.release()

    def handle_error(self, request: object, client: object) -> None:
        """Whoever hangs up in the middle of an answer is no news."""
        log.debug("a request for metrics failed", exc_info=True)


def serve(
    registry: CollectorRegistry, host: str, port: int, unready: Callable[[], str | None]
) -> ThreadingHTTPServer | None:
    """Show /metrics, /healthz (also called /livez) and /readyz; a port in use costs nothing else.

    `unready` gives the reason why the worker is not ready, or None. The process lives as long as
    /healthz answers, ready or not: a worker that waits for its store must not be restarted for it.
    A flood of requests takes a bounded number of threads, and makes the text of the metrics once
    for all who wait for it.
    """
    text = Text(lambda: generate_latest(registry))

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # Whoever connects and says nothing holds a thread so long.

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, text.made_now())
            elif path == "/readyz":
                reason = unready()
                self._answer(*((200, b"ready\n") if reason is None else (503, f"{reason}\n".encode())))
            elif path in ("/healthz", "/livez"):
                self._answer(200, b"alive\n")
            else:
                self._answer(404, b"there are /metrics, /healthz, /readyz and /livez\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return None

    try:
        server = _Bounded((host, port), Handler)
    except OSError as error:
        log.warning("metrics are not offered", extra={"host": host, "port": port, "error": str(error)})
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
