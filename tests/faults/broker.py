"""A real broker that can be reached through a proxy only: it advertises the proxy's address."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .tcp_proxy import TcpProxy


class Broker:
    """`service` is the broker itself, `proxy` what clients meet."""

    def __init__(self, folder: Path) -> None:
        # Capture's tests run with the plain install, which has no psutil.
        from headstream.services.kafka import KafkaService
        from headstream.services.ports import free_ports

        port, controller = free_ports(2)
        self.proxy = TcpProxy(("127.0.0.1", port))
        advertised = f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.proxy.port}"

        class ProxiedKafka(KafkaService):
            __slots__ = ()

            def prepare(self) -> Any:
                child = KafkaService.prepare(self)
                properties = self.data / "server.properties"
                lines = properties.read_text("latin-1").splitlines()
                kept = [line for line in lines if not line.startswith("advertised.listeners=")]
                properties.write_text("\n".join([*kept, advertised, ""]), "latin-1")
                return child

        self.service = ProxiedKafka(folder, port, controller)
        self.bootstrap = f"127.0.0.1:{self.proxy.port}"

    @contextmanager
    def running(self) -> Iterator[Broker]:
        with self.proxy:
            self.service.start()
            try:
                yield self
            finally:
                self.proxy.fault("pass")
                self.service.stop()
                shutil.rmtree(self.service.data, ignore_errors=True)

    def pause(self, seconds: float) -> None:
        """The process stands still: connections stay open and nobody answers."""
        found = self.service.identity()
        assert found is not None
        os.kill(found.pid, signal.SIGSTOP)
        try:
            threading.Event().wait(seconds)
        finally:
            os.kill(found.pid, signal.SIGCONT)
