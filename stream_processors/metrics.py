"""What a worker counts. The registry is passed in, so that two workers in a process do not meet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)


class Metrics:
    """Counters of one worker; every loss and every refusal has a reason and a number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bags = Counter("headstream_tracker_bags", "Bags handled", registry=registry)
        self.events_in = Counter("headstream_tracker_events_in", "Capture events read", registry=registry)
        self.events_out = Counter(
            "headstream_tracker_events_out",
            "Units of facts written: an event, a row of a block, or what several events share",
            registry=registry,
        )
        self.facts_out = Counter("headstream_tracker_facts_out", "Facts written", registry=registry)
        self.documents = Counter("headstream_tracker_documents", "Documents described", registry=registry)
        self.dead_letters = Counter(
            "headstream_tracker_dead_letters", "Messages refused", ["reason"], registry=registry
        )
        self.resent = Counter("headstream_tracker_resent_bags", "Parked bags sent again", registry=registry)
        self.retries = Counter(
            "headstream_tracker_retries", "Batches tried again", ["step"], registry=registry
        )
        self.blocked = Gauge(
            "headstream_tracker_blocked",
            "1 while a topic cannot be written, so that nothing more is read",
            ["topic"],
            registry=registry,
        )
        self.definitions = Gauge(
            "headstream_tracker_definitions", "Definitions known to this worker", registry=registry
        )
        self.batch = Histogram(
            "headstream_tracker_batch_bags",
            "Bags taken at once",
            buckets=(1, 5, 20, 50, 100, 200),
            registry=registry,
        )


def serve(
    registry: CollectorRegistry, host: str, port: int, unready: Callable[[], str | None]
) -> WSGIServer | None:
    """Show /metrics, /readyz and /livez; a port in use is logged and costs nothing else.

    `unready` gives the reason why the worker is not ready, or None.
    """
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        reason = unready()
        status, body = {
            "/livez": ("200 OK", "alive"),
            "/readyz": ("200 OK", "ready") if reason is None else ("503 Service Unavailable", reason),
        }.get(path, ("404 Not Found", "there are /metrics, /readyz and /livez"))
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{body}\n".encode()]

    try:
        server = make_server(host, port, answer, ThreadingWSGIServer, _Silent)
    except OSError as error:
        log.warning("metrics are not offered on %s:%d: %s", host, port, error)
        return None
    threading.Thread(target=server.serve_forever, name="tracker-metrics", daemon=True).start()
    return server


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return None
