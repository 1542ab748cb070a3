"""A service that keeps its data in one folder: started, stopped, killed, and found again later."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from headstream.services import processes
from headstream.services.errors import AlreadyRunning
from headstream.services.processes import Child, Identity
from headstream.services.records import drop, read_identity, write_identity


class Service(ABC):
    """One real service on this machine; its process is recorded in `process.json` beside its data."""

    __slots__ = ()

    data: Path

    @abstractmethod
    def prepare(self) -> Child:
        """Write its configuration, check its ports, and say how to start it; raises ServicesError."""

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether it answers now; never raises."""

    def start(self) -> None:
        """Start it and return once it answers; on failure nothing is left running."""
        running = self.identity()
        if running is not None:
            raise AlreadyRunning(f"{self.data} is in use by process {running.pid}, which was started before")
        child = self.prepare()
        identity = processes.spawn(child)
        write_identity(self.record, identity)
        try:
            processes.wait_ready(child, identity)
        except BaseException:  # A Ctrl-C too must leave nothing behind.
            self.kill()
            raise

    def stop(self, grace: float = 20.0) -> bool:
        """Ask it to stop and wait; False if it had to be killed. Stopping twice is fine."""
        identity = self.identity()
        clean = identity is None or processes.stop(identity, grace)
        drop(self.record)
        return clean

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would; the data stay."""
        identity = self.identity()
        if identity is not None:
            processes.kill(identity)
        drop(self.record)

    def identity(self) -> Identity | None:
        """Return its process if that runs, whoever started it."""
        identity = read_identity(self.record)
        return identity if identity is not None and processes.alive(identity) else None

    @property
    def record(self) -> Path:
        """The file that says which process it is."""
        return self.data / "process.json"
