"""Hold two graphs against each other: stores, or what a replay of something kept gives."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from headstream import live
from headstream.kept_sources import SPOOL
from headstream.locations import open_to_read
from headstream.places import Places
from headstream.rebuilding import TOPICS, rebuilt_beside
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import Fingerprint, fingerprint

# What a clock or a process id says differs from run to run; everything else must not.
CLOCK_READINGS: Final = frozenset(
    {
        "prov:startedAtTime", "prov:endedAtTime", "provml:registeredAt", "provml:durationSeconds",
        "provml:cpuSeconds", "provml:peakMemoryBytes", "provml:gpuSeconds", "provml:gpuPeakMemoryBytes",
        "provml:customMetadata", "provml:partSeconds", "provml:minPartSeconds", "provml:maxPartSeconds",
        "dcterms:modified",
    }
)  # fmt: skip
# Triples that belong to no run: plans, references, people, domain data.
SHARED: Final = "(shared by runs)"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two graphs: equal if nothing is only in one of them. `only` holds triples up to a limit."""

    hashes: tuple[str, str]
    counts: tuple[int, int] = (0, 0)
    only: tuple[list[str], list[str]] = ([], [])
    # How many triples of each run are only on the left and only on the right.
    runs: dict[str, tuple[int, int]]

    @property
    def equal(self) -> bool:
        return self.hashes[0] == self.hashes[1]


def compare(
    places: Places,
    left: str,
    right: str,
    *,
    without: Collection[str] = frozenset(),
    limit: int | None = None,
    allow_missing: bool = False,
    say: Say = lambda line: None,
) -> Compared:
    """Hold two graphs against each other; what differs is looked for only if their hashes do.

    Each is the location of a store, "live", "topics", "spool", or a folder or file that a replay
    can read, which is then replayed into a store that is gone at the end. Memory stays bounded.
    """
    with (
        _store(places, left, allow_missing, say) as first,
        _store(places, right, allow_missing, say) as second,
    ):
        prints = fingerprint_of(first, without), fingerprint_of(second, without)
        hashes = prints[0].hash, prints[1].hash
        if hashes[0] == hashes[1]:
            return Compared(hashes=hashes, runs={})
        return _differing(first, second, prints, without, limit)


def _differing(
    left: str,
    right: str,
    prints: tuple[Fingerprint, Fingerprint],
    without: Collection[str],
    limit: int | None,
) -> Compared:
    counted: Counter[tuple[str, int]] = Counter()
    base = os.environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE
    pattern = re.compile(rf"<{re.escape(base)}(?:wfe|dte|val|tot)/([^/>]+)/([^/>]+)[/>]")
    first, second = open_to_read(left), open_to_read(right)
    try:
        found = difference(
            first.dump(),
            second.dump(),
            prints,
            without=without,
            limit=limit,
            noted=lambda side, text: counted.update([(_run_of(pattern, text), side)]),
        )
    finally:
        first.close()
        second.close()
    return Compared(
        hashes=(prints[0].hash, prints[1].hash),
        counts=(found.counts[0], found.counts[1]),
        only=(found.first(0), found.first(1)),
        runs={run: (counted[run, 0], counted[run, 1]) for run in sorted({run for run, _ in counted})},
    )


def _run_of(pattern: re.Pattern[str], triple: str) -> str:
    found = pattern.match(triple)
    return SHARED if found is None else f"{unquote(found[1])}/{unquote(found[2])}"


@contextmanager
def _store(places: Places, given: str, allow_missing: bool, say: Say) -> Iterator[str]:
    """The location of a store; what is kept in another form is replayed into one first."""
    if given in (*TOPICS, SPOOL) or (":" not in given and Path(given).exists()):
        say(f"replaying {given}, to compare what it leads to")
        with rebuilt_beside(places, given, allow_missing=allow_missing) as location:
            yield location
    else:
        yield live.location(places, given)


def fingerprint_of(location: str, without: Collection[str] = frozenset()) -> Fingerprint:
    """The hashes of the graph in a store, by value and independent of order."""
    store = open_to_read(location)
    try:
        return fingerprint(store.dump(), without=without)
    finally:
        store.close()


def hash_of(location: str, without: Collection[str] = frozenset()) -> str:
    """The hash of the graph in a store."""
    return fingerprint_of(location, without).hash


def size_of(location: str) -> int:
    """The number of triples in a store."""
    store = open_to_read(location)
    try:
        return store.size()
    finally:
        store.close()
