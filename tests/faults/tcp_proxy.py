"""A TCP proxy between a client and a broker that plays the faults of faults.md rows 5, 12 and 13.

    with TcpProxy(("127.0.0.1", 19092)) as proxy:
        proxy.fault("delay", seconds=0.2)

It stays in the way only if the broker advertises the address of the proxy (broker.py). A fault
holds for open and for new connections until the next.

    pass       as if it were not there
    delay      each piece arrives so many seconds later
    throttle   so many bytes a second in each direction of each connection
    blackhole  connections stay open and are taken, nothing passes; what was sent waits
    reset      open connections end with RST, new ones at once
    refuse     nobody listens any more; open connections end
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal, Self

Mode = Literal["pass", "delay", "throttle", "blackhole", "reset", "refuse"]
_PIECE = 16 << 10
_LOOK = 0.02


class TcpProxy:
    """Forwards what comes to its `port` to `target`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.connections = 0
        self.mode: Mode = "pass"
        self._seconds = 0.0
        self._rate = 0.0
        self._over = False
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        self._listener.close()
        self._end_all()
        self._thread.join(5)

    def fault(self, mode: Mode, *, seconds: float = 0.0, rate: float = 0.0) -> None:
        """Play a fault from now on; `seconds` is the delay, `rate` the bytes a second of a throttle."""
        was, self.mode = self.mode, mode
        self._seconds, self._rate = seconds, rate
        if mode == "refuse" and was != "refuse":
            self._listener.close()
        elif was == "refuse" and mode != "refuse":
            self._listener = self._listen(self.port)
        if mode in ("reset", "refuse"):
            self._end_all()

    def _listen(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(64)
        made.settimeout(_LOOK)
        return made

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:  # Nobody came, or nobody may come.
                time.sleep(_LOOK / 4)
                continue
            if self.mode in ("reset", "refuse"):
                _reset(client)
                continue
            self.connections += 1
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._open += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while True:
                while self.mode == "blackhole" and not self._over:
                    time.sleep(_LOOK)
                piece = source.recv(_PIECE)
                if not piece:
                    break
                if self.mode == "delay":
                    time.sleep(self._seconds)
                elif self.mode == "throttle":
                    time.sleep(len(piece) / self._rate)
                while self.mode == "blackhole" and not self._over:
                    time.sleep(_LOOK)
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        with self._lock:
            self._open = [end for end in self._open if end not in (source, target)]

    def _end_all(self) -> None:
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            _reset(end)


def _reset(end: socket.socket) -> None:
    """Close with RST: what was not sent is lost, as when a host is gone."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
