"""A lock between processes that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstream.services.errors import AlreadyRunning


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock for the block, waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_or_refused(path: Path, doing: str) -> Iterator[None]:
    """Hold `path` as a lock for the block, or raise AlreadyRunning at once if another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise AlreadyRunning(
                f"another process is {doing} {path.parent} right now; wait for it, "
                "then look at `headstream status`"
            ) from held
        yield
