"""A reverse proxy before a store that plays the faults of faults.md rows 15 to 18 and 41.

    with HttpProxy("http://127.0.0.1:9999") as proxy:
        store = BlazegraphStore(proxy.url + "/blazegraph/namespace/kb/sparql")
        proxy.fault("err_after", times=5)

Only writes (POST) are faulted; `times` None means until `fault("pass")`.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Mode = Literal[
    "pass",
    "err_before",
    "err_after",
    "drop_before",
    "drop_after",
    "slow",
    "timeout",
    "truncate",
    "html200",
    "empty200",
    "empty204",
]
# Proxies that say success and have not asked the store.
_LIES = {
    "html200": (200, b"<html><body>Please log in</body></html>"),
    "empty200": (200, b""),
    "empty204": (204, b""),
}


class HttpProxy:
    """Forwards to `target`, which may be down: then it answers 503 as real proxies do."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._lock = threading.Lock()
        self._mode: Mode = "pass"
        self._left: int | None = None
        self._seconds = 0.0
        self.faulted = 0
        self.writes = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._forward(self, "pass")

            def do_POST(self) -> None:
                proxy._forward(self, proxy._next())

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, mode: Mode, *, times: int | None = None, seconds: float = 0.0) -> None:
        """Play `mode` for the next `times` writes; `seconds` is how slow "slow" and "timeout" are."""
        with self._lock:
            self._mode, self._left, self._seconds = mode, times, seconds

    def _next(self) -> Mode:
        with self._lock:
            self.writes += 1
            if self._mode == "pass" or self._left == 0:
                return "pass"
            if self._left is not None:
                self._left -= 1
            self.faulted += 1
            return self._mode

    def _forward(self, handler: BaseHTTPRequestHandler, mode: Mode) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if mode == "err_before":
            return _answer(handler, 500, b"proxy: error before forwarding", "text/plain")
        if mode in _LIES:
            return _answer(handler, *_LIES[mode], "text/html")
        if mode == "drop_before":
            return _drop(handler)
        if mode == "slow":
            time.sleep(self._seconds)
        try:
            status, content_type, data = self._ask(handler, body)
        except OSError:
            return _answer(handler, 503, b"proxy: the store is down", "text/plain")
        if mode == "err_after":
            return _answer(handler, 500, b"proxy: error after forwarding", "text/plain")
        if mode == "timeout":
            time.sleep(self._seconds)
            return _answer(handler, 504, b"<html><body>Gateway Time-out</body></html>", "text/html")
        if mode == "drop_after":
            return _drop(handler)
        _answer(handler, status, data, content_type, cut=mode == "truncate")

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port)
        try:
            wanted = {
                name: handler.headers[name] for name in ("Content-Type", "Accept") if name in handler.headers
            }
            connection.request(handler.command, handler.path, body or None, wanted)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", "text/plain"), answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()


def _answer(
    handler: BaseHTTPRequestHandler, status: int, data: bytes, content_type: str, *, cut: bool = False
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2] if cut else data)
    if cut:
        _drop(handler)


def _drop(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
