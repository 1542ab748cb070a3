"""Build a graph again from what is kept, and hold two graphs against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headstream.capture.reading import read, spools
from headstream.errors import Unreadable
from headstream.places import Places
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.schemas.facts import Identified
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_hash import difference, graph_hash
from headstream.sinks.statements import Renderer
from headstream.sinks.stores import open_store
from headstream.stream_processors.replay import Replayed, replay_records, replay_topics
from headstream.stream_processors.settings import Settings as TrackerSettings

# What a clock or a process id says differs from run to run; everything else must not.
CLOCK_READINGS = frozenset(
    {
        "prov:startedAtTime", "prov:endedAtTime", "provml:registeredAt", "provml:durationSeconds",
        "provml:cpuSeconds", "provml:peakMemoryBytes", "provml:gpuSeconds", "provml:gpuPeakMemoryBytes",
        "provml:customMetadata",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a replay did, and the graph it led to."""

    replayed: Replayed
    refused_by_store: int
    triples: int
    hash: str


Progress = Callable[[int, int], None]


def replay(
    places: Places,
    into: str,
    *,
    source: str,
    workflow: str | None = None,
    execution: str | None = None,
    progress: Progress | None = None,
    allow_missing: bool = False,
) -> Rebuilt:
    """Replay "topics", "spool" (the archive and spool of this data directory) or a folder into a store.

    Raises Unreadable for a source that is not there; errors of the store and the broker as they are.
    """
    base = os.environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE
    store = open_store(into)
    letters = MemoryDeadLetters()
    renderer = Renderer(base)

    def write(identifieds: Iterable[Identified]) -> None:
        write_identified(store, identifieds, letters, base, renderer=renderer)

    try:
        if source == "topics":
            replayed = replay_topics(
                TrackerSettings.from_env(os.environ),
                write=write,
                progress=progress,
                workflow=workflow,
                execution=execution,
                allow_missing=allow_missing,
            )
        else:
            replayed = replay_records(
                _records(_folders(places, source)),
                write,
                source="spool",
                workflow=workflow,
                execution=execution,
            )
        return Rebuilt(
            replayed=replayed,
            refused_by_store=len(letters.letters),
            triples=store.size(),
            hash=graph_hash(store.dump()),
        )
    finally:
        store.close()


def hash_of(location: str, without: Collection[str] = frozenset()) -> str:
    """The hash of the graph in a store, by value and independent of order."""
    store = open_store(location)
    try:
        return graph_hash(store.dump(), without=without)
    finally:
        store.close()


def size_of(location: str) -> int:
    """The number of triples in a store."""
    store = open_store(location)
    try:
        return store.size()
    finally:
        store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two graphs: equal if nothing is only in one of them."""

    hashes: tuple[str, str]
    only_left: list[str]
    only_right: list[str]

    @property
    def equal(self) -> bool:
        return self.hashes[0] == self.hashes[1]


def compare(left: str, right: str, without: Collection[str] = frozenset()) -> Compared:
    """Hold two stores against each other; what differs is listed only if their hashes do."""
    hashes = hash_of(left, without), hash_of(right, without)
    if hashes[0] == hashes[1]:
        return Compared(hashes=hashes, only_left=[], only_right=[])
    first, second = open_store(left), open_store(right)
    try:
        only_left, only_right = difference(first.dump(), second.dump(), without=without)
    finally:
        first.close()
        second.close()
    return Compared(hashes=hashes, only_left=only_left, only_right=only_right)


def _records(folders: list[Path]) -> Iterator[Document | Bag]:
    for folder in folders:
        for spool in spools(folder):
            yield from read(spool)


def _folders(places: Places, source: str) -> list[Path]:
    folders = [places.archive, places.spool] if source == "spool" else [Path(source)]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise Unreadable(
            f"there is nothing to replay in {', '.join(map(str, folders))}; "
            "give --from topics, or the folder of a spool or archive"
        )
    return found
