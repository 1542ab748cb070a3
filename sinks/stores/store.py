"""What the sink asks of a graph store, and a double of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from headstream.sinks.errors import StoreRefused
from headstream.sinks.statements import NTriplesRenderer, Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A confirmed write: how many triples the store counted, if it tells, and how long it took.

    Blazegraph counts what it read (measured: a repeat counts in full), so less than was sent means loss.
    """

    modified: int | None
    seconds: float


@runtime_checkable
class Store(Protocol):
    """A set of triples that only grows."""

    def renderer(self, base: str) -> Renderer:
        """Return what makes of facts what `write` takes; it takes N-Triples too, a line each."""

    def write(self, statements: bytes) -> Written:
        """Add triples; on return they survive a kill of the store.

        Raises StoreUnavailable (nothing or everything was written: repeat) or StoreRefused (these
        statements cannot be read; some of them may have been written).
        """

    def size(self) -> int:
        """Return the number of triples."""

    def dump(self) -> Iterator[bytes]:
        """Yield the graph as N-Triples in UTF-8, whole lines in blocks, without an order."""

    def close(self) -> None:
        """Let go of connections and files; the graph stays."""


class MemoryStore:
    """A double: a set of lines. `refuses` plays poison, `failures` are raised one a request."""

    def __init__(self, refuses: Callable[[bytes], bool] = lambda line: False) -> None:
        self.lines: set[bytes] = set()
        self.requests = 0
        self.failures: list[Exception] = []
        self._refuses = refuses

    def renderer(self, base: str) -> NTriplesRenderer:
        return NTriplesRenderer(base)

    def write(self, ntriples: bytes) -> Written:
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        lines = ntriples.splitlines(keepends=True)
        if any(self._refuses(line) for line in lines):
            raise StoreRefused("the double was told to refuse one of these lines")
        before = len(self.lines)
        self.lines.update(lines)
        return Written(modified=len(self.lines) - before, seconds=0.0)

    def size(self) -> int:
        return len(self.lines)

    def dump(self) -> Iterator[bytes]:
        yield b"".join(self.lines)

    def close(self) -> None:
        return None
