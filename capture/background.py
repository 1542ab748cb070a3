"""The shipper of a script that knows a broker: one daemon thread, and a last effort at exit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from headstream.capture.errors import swallow
from headstream.capture.owner import writer_lives
from headstream.capture.reading import spools
from headstream.capture.settings import Settings
from headstream.capture.shipper import Shipper
from headstream.capture.spool import Writer
from headstream.capture.transports.base import Transport
from headstream.schemas import registry

_POLL = 0.03
_OTHERS_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


class Background:
    """Ships the spools of this process all the time, and those of dead ones now and then."""

    @property
    def spool(self) -> Path | None:
        return self._settings.spool

    def __init__(self, settings: Settings, make: Callable[[Settings], Transport]) -> None:
        self._settings = settings
        self._make = make
        self._writers: list[Writer] = []
        self._stop = threading.Event()
        self._shipper: Shipper | None = None
        self._look_at = 0.0
        self._others: list[Path] = []
        for schema in ("bag", "document"):
            registry.current(schema)  # Reading them imports modules, which a thread must not do (exits.py).
        self._thread = threading.Thread(target=self._work, name="headstream-shipper", daemon=True)
        self._thread.start()

    def watch(self, writer: Writer) -> None:
        self._writers.append(writer)

    def drain(self, spent: float = 0.0) -> int:
        """Ship what this process has spooled until all is acknowledged or the time is over.

        `spent` seconds of the time at exit have gone already.

        Returns how many messages are not acknowledged: they stay in the spool if there is one.
        -1: some are not, and nobody has counted them.
        """
        seconds = max(0.0, self._settings.exit_seconds - spent)
        deadline = time.monotonic() + seconds
        self._stop.set()
        self._thread.join(seconds)
        shipper = self._shipper
        if self._thread.is_alive():
            return -1
        if shipper is None:
            shipper = self._shipper = self._start()
        waiting = shipper.drain(self._own, deadline)
        shipper.close()
        shipper.transport.close()
        return waiting

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if self._shipper is None:
                    self._shipper = self._start()
                if not self._shipper.round([*self._own(), *self._dead()], self._stop.is_set):
                    self._stop.wait(_POLL)
            except Exception as error:
                swallow(error, "shipper")
                self._stop.wait(_AGAIN_SECONDS)

    def _start(self) -> Shipper:
        settings = self._settings
        return Shipper(
            self._make(settings),
            bag_size=settings.bag_size,
            keep=settings.keep_shipped,
            silent_seconds=settings.silent_seconds,
        )

    def _own(self) -> list[Path | Writer]:
        found: list[Path | Writer] = []
        self._writers = [w for w in self._writers if not _over(w)]
        for writer in self._writers:
            if writer.directory is not None:
                found.append(writer.directory)
            if writer.in_memory():
                found.append(writer)
        return found

    def _dead(self) -> list[Path]:
        """Spools of processes that have gone, looked for now and then: there may be many."""
        root = self._settings.spool
        if root is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _OTHERS_SECONDS
            own = {writer.directory for writer in self._writers}
            silent = self._settings.silent_seconds
            self._others = [d for d in spools(root) if d not in own and not writer_lives(d, silent)]
        return self._others


def _over(writer: Writer) -> bool:
    """Nothing of this writer is left to ship."""
    kept = writer.directory is not None and writer.directory.exists()
    return writer.closed and not kept and not writer.in_memory()
