"""Who writes a spool: a file that says it, locked as long as the writer lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from headstream.capture.errors import WARNINGS
from headstream.capture.settings import SILENT_SECONDS

OWNER: Final = "owner"
_LEFT: Final = "left\n"


class Owner:
    """The lock of the process that writes a spool."""

    def __init__(self, directory: Path, host: str, pid: int) -> None:
        self._pid = pid
        self._handle: int | None = os.open(directory / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._handle, f"{host}\n{pid}\n".encode())
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # Some parallel file systems have no locks: readers ask for the pid.
            WARNINGS.add("spool-without-lock", message=str(error))

    def leave(self) -> None:
        """Say that this process writes no more; a forked child only lets go of its copy."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):  # Where it cannot be said, the lock says it.
                os.write(handle, _LEFT.encode())
                fcntl.flock(handle, fcntl.LOCK_UN)  # A forked child may hold the same lock.
        os.close(handle)


def leave_behind(directory: Path, host: str, pid: int) -> None:
    """Make a directory a spool that nobody writes any more."""
    (directory / OWNER).write_text(f"{host}\n{pid}\n{_LEFT}")


def writer_lives(directory: Path, silent_seconds: float = SILENT_SECONDS) -> bool:
    """Tell whether the process that writes this spool may still run and has not closed it.

    Of another host no lock proves that it has gone: some parallel file systems keep locks to one
    host. Then the writer has to have said that it left, or nothing to have been written for so long.
    """
    try:
        handle = os.open(directory / OWNER, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    locks = True
    try:
        text = os.pread(handle, 4096, 0).decode("utf-8", "replace")
        host, pid, left = [*text.split("\n"), "", "", ""][:3]
        if left:
            return False
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        locks = False
    finally:
        os.close(handle)
    if host and host != os.uname().nodename:
        return time.time() - _last_written(directory) < silent_seconds
    return False if locks else _process_lives(pid)


def _last_written(directory: Path) -> float:
    with os.scandir(directory) as entries:
        times = [e.stat().st_mtime for e in entries if e.name == OWNER or e.name.endswith(".seg")]
    return max(times, default=0.0)


def _process_lives(pid: str) -> bool:
    """The process id is the next best witness where there are no locks, on its own host."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
