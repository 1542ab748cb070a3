"""Where segments lie: files of a spool directory, or memory of a writer of this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from headstream.capture.spool import Writer, writer_lives


class Log(Protocol):
    """Segments that somebody writes or wrote."""

    def numbers(self) -> list[int]: ...

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of a segment; fewer at its end, none if it has gone."""
        ...

    def alive(self) -> bool: ...


class DirectoryLog:
    """The segment files of a spool directory. Read with pread, so a file that shrinks harms nobody."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._handles: dict[int, int] = {}

    def numbers(self) -> list[int]:
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(int(name[:-4]) for name in names if name.endswith(".seg"))

    def read(self, number: int, offset: int, length: int) -> bytes:
        handle = self._handles.get(number)
        if handle is None:
            try:
                handle = os.open(self.directory / f"{number:06d}.seg", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            self._handles[number] = handle
        return os.pread(handle, length, offset)

    def alive(self) -> bool:
        return writer_lives(self.directory)

    def forget(self, before: int) -> None:
        """Close the files of segments that have been read."""
        for number in [n for n in self._handles if n < before]:
            os.close(self._handles.pop(number))

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.popitem()[1])


class MemoryLog:
    """The segments of a writer of this process that found no room in a file."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def numbers(self) -> list[int]:
        return [segment.number for segment in self.writer.in_memory()]

    def read(self, number: int, offset: int, length: int) -> bytes:
        for segment in self.writer.in_memory():
            if segment.number == number:
                return segment.data[offset : offset + length]
        return b""

    def alive(self) -> bool:
        return not self.writer.closed
