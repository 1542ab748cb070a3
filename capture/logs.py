"""Where segments lie: files of a spool directory, or memory of a writer of this process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

from headstream.capture.owner import writer_lives
from headstream.capture.segments import numbers_in
from headstream.capture.settings import SILENT_SECONDS
from headstream.capture.spool import Writer


class Log(Protocol):
    """Segments that somebody writes or wrote."""

    def numbers(self) -> list[int]: ...

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of a segment; fewer at its end, none if it has gone."""
        ...

    def gone(self, number: int) -> bool:
        """Tell whether a segment is not there any more: its writer had to drop it."""
        ...

    def alive(self) -> bool: ...


class DirectoryLog:
    """The segment files of a spool directory. Read with pread, so a file that shrinks harms nobody.

    With `claim` a segment is locked from the first read until `forget`: its writer will not drop it.
    """

    def __init__(
        self, directory: Path, *, claim: bool = False, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        self.directory = directory
        self._claim = claim
        self._silent = silent_seconds
        self._handles: dict[int, int] = {}

    def numbers(self) -> list[int]:
        return numbers_in(self.directory)

    def read(self, number: int, offset: int, length: int) -> bytes:
        handle = self._handles.get(number)
        if handle is None:
            handle = self._open(number)
            if handle is None:
                return b""
            self._handles[number] = handle
        return os.pread(handle, length, offset)

    def gone(self, number: int) -> bool:
        return number not in self._handles and not self._path(number).exists()

    def alive(self) -> bool:
        return writer_lives(self.directory, self._silent)

    def forget(self, number: int) -> None:
        """Close the file of a segment that has been read."""
        handle = self._handles.pop(number, None)
        if handle is not None:
            self._let_go(handle)

    def close(self) -> None:
        while self._handles:
            self._let_go(self._handles.popitem()[1])

    def _open(self, number: int) -> int | None:
        try:
            handle = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if self._claim:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # Its writer is about to drop it.
                os.close(handle)
                return None
            except OSError:  # A file system without locks: at worst what is dropped is delivered.
                pass
            if os.fstat(handle).st_nlink == 0:
                os.close(handle)
                return None
        return handle

    def _let_go(self, handle: int) -> None:
        if self._claim:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # A forked child may hold the same lock.
        os.close(handle)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06d}.seg"


class MemoryLog:
    """The segments of a writer of this process that found no room in a file."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def numbers(self) -> list[int]:
        return [segment.number for segment in self.writer.in_memory()]

    def read(self, number: int, offset: int, length: int) -> bytes:
        segment = self.writer.claim(number)
        return b"" if segment is None else segment.data[offset : offset + length]

    def gone(self, number: int) -> bool:
        return number not in self.numbers()

    def alive(self) -> bool:
        return not self.writer.closed
