"""What two graphs do not have in common, in bounded memory: only parts whose hashes differ are looked at."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import IO, Final

from headstream.schemas.vocabulary import expand
from headstream.sinks.graph_hash import BUCKETS, Fingerprint, bucket, triples

_FILES: Final = 64

Lines = Iterable[bytes | str]


class Difference:
    """Triples that only one of two graphs has, as canonical text; counted all, kept up to a limit."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.counts = [0, 0]
        self._kept: tuple[list[str], list[str]] = ([], [])

    def take(self, side: int, text: str) -> None:
        """Note a triple that only the graph of this side (0 or 1) has."""
        self.counts[side] += 1
        kept = self._kept[side]
        kept.append(text)
        if self._limit is not None and len(kept) > 4 * self._limit + 1000:
            kept[:] = heapq.nsmallest(self._limit, kept)

    def first(self, side: int) -> list[str]:
        """The triples of one side in order, up to the limit."""
        return sorted(self._kept[side])[: self._limit]


def difference(
    left: Lines,
    right: Lines,
    prints: tuple[Fingerprint, Fingerprint] | None = None,
    *,
    without: Collection[str] = frozenset(),
    limit: int | None = None,
    noted: Callable[[int, str], None] = lambda side, text: None,
) -> Difference:
    """Compare two graphs; `noted` is called with each side and triple.

    With their fingerprints only parts that differ are looked at. Memory holds a 64th of what lies
    in these parts, files the rest of it.
    """
    differing = frozenset(
        number
        for number in range(BUCKETS)
        if prints is None or prints[0].parts[number] != prints[1].parts[number]
    )
    left_out = frozenset(map(expand, without))
    found = Difference(limit)
    with ExitStack() as stack:
        sides = [_spilt(stack, lines, differing, left_out) for lines in (left, right)]
        for ours, theirs in zip(*sides, strict=True):
            first, second = _texts(ours), _texts(theirs)
            for side, texts in ((0, first - second), (1, second - first)):
                for text in texts:
                    line = text.decode()
                    found.take(side, line)
                    noted(side, line)
    return found


def _spilt(
    stack: ExitStack, lines: Lines, differing: frozenset[int], left_out: frozenset[str]
) -> list[IO[bytes]]:
    """The triples of differing parts in files, the same triples of both graphs in the same one."""
    files: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(_FILES)]  # noqa: SIM115 - entered
    for text in _within(lines, differing, left_out):
        files[sha256(text).digest()[0] % _FILES].write(text + b"\n")
    return files


def _within(lines: Lines, differing: frozenset[int], left_out: frozenset[str]) -> Iterator[bytes]:
    if not differing:
        return
    for predicate, text in triples(lines):
        if predicate not in left_out and bucket(sha256(text).digest()) in differing:
            yield text


def _texts(file: IO[bytes]) -> set[bytes]:
    file.seek(0)
    return set(file.read().split(b"\n")) - {b""}
