"""Build a graph again from what is kept, and hold two graphs against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyoxigraph

from headstream import live
from headstream.capture.reading import read, spools
from headstream.errors import CommandError, Unreadable
from headstream.places import Places
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.schemas.facts import Identified
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.errors import StoreBusy
from headstream.sinks.graph_hash import difference, graph_hash
from headstream.sinks.statements import Renderer
from headstream.sinks.stores import OxigraphStore, Store, open_store
from headstream.stream_processors.replay import Replayed, replay_records, replay_topics
from headstream.stream_processors.settings import Settings as TrackerSettings

# What a clock or a process id says differs from run to run; everything else must not.
CLOCK_READINGS = frozenset(
    {
        "prov:startedAtTime", "prov:endedAtTime", "provml:registeredAt", "provml:durationSeconds",
        "provml:cpuSeconds", "provml:peakMemoryBytes", "provml:gpuSeconds", "provml:gpuPeakMemoryBytes",
        "provml:customMetadata", "dcterms:modified",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a replay did, and the graph it led to."""

    replayed: Replayed
    refused_by_store: int
    before: int
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
    into_live: bool = False,
) -> Rebuilt:
    """Replay "topics", "spool" (the archive and spool of this data directory) or a folder into a store.

    Raises Unreadable for a source that is not there, CommandError for a store that is live unless
    `into_live`; errors of the store and the broker as they are.
    """
    base = os.environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE
    folders = [] if source == "topics" else _folders(places, source)
    if source == "topics":
        live.use_broker(places)
    _demand_other(places, into, into_live)
    store = _open_to_fill(into)
    letters = MemoryDeadLetters()
    renderer = Renderer(base)

    def write(identifieds: Iterable[Identified]) -> None:
        write_identified(store, identifieds, letters, base, renderer=renderer)

    try:
        before = store.size()
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
                _records(folders),
                write,
                source="spool",
                workflow=workflow,
                execution=execution,
            )
        return Rebuilt(
            replayed=replayed,
            refused_by_store=len(letters.letters),
            before=before,
            triples=store.size(),
            hash=graph_hash(store.dump()),
        )
    finally:
        store.close()


def hash_of(location: str, without: Collection[str] = frozenset()) -> str:
    """The hash of the graph in a store, by value and independent of order."""
    store = _open_to_read(location)
    try:
        return graph_hash(store.dump(), without=without)
    finally:
        store.close()


def size_of(location: str) -> int:
    """The number of triples in a store."""
    store = _open_to_read(location)
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
    first, second = _open_to_read(left), _open_to_read(right)
    try:
        only_left, only_right = difference(first.dump(), second.dump(), without=without)
    finally:
        first.close()
        second.close()
    return Compared(hashes=hashes, only_left=only_left, only_right=only_right)


def _open_to_fill(location: str) -> Store:
    folder = live.folder_of(location)
    if folder is not None and folder.exists():
        _demand_store_folder(folder, or_empty=True)
    elif folder is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
    return open_store(location)


def _open_to_read(location: str) -> Store:
    """Open a store that must be there; one that another process has open can be read all the same."""
    folder = live.folder_of(location)
    if folder is None:
        return open_store(location)
    _demand_store_folder(folder, or_empty=False)
    try:
        return _ReadOnly(pyoxigraph.Store.read_only(str(folder)))
    except (OSError, ValueError) as error:
        raise StoreBusy(f"the store in {folder} cannot be read: {error}") from error


class _ReadOnly(OxigraphStore):
    """A store on disk that is only read."""

    def __init__(self, graph: pyoxigraph.Store) -> None:
        super().__init__(graph=graph)

    def close(self) -> None:
        """Nothing was written, so there is nothing to flush."""


def _demand_store_folder(folder: Path, *, or_empty: bool) -> None:
    """Raise Unreadable unless a store lies there: a typing error must not fill a home directory with one."""
    if (folder / "CURRENT").is_file() or (or_empty and folder.is_dir() and not any(folder.iterdir())):
        return
    wrong = "holds other things than a store" if folder.exists() else "is not there"
    raise Unreadable(f"{folder} {wrong}; give oxigraph:PATH with the folder of an Oxigraph store")


def _demand_other(places: Places, into: str, into_live: bool) -> None:
    found = live.up_for(places)
    if found is None or not found.alive or not live.same_store(into, live.store(places)):
        return
    if found.mode == "embedded":
        raise CommandError(
            f"{into} is the store of what is up, which alone may write it; give --into another place, or "
            "`headstream down` first"
        )
    if not into_live:
        raise CommandError(
            f"{into} is the store of what is up; give --into another place, or --live if you mean it "
            "(replay adds what is missing and takes nothing away)"
        )


def _records(folders: list[Path]) -> Iterator[Document | Bag]:
    """What the spools hold; one that is taken into the archive meanwhile is read again from there.

    Repeats change nothing in the graph.
    """
    found = {path.name: path for folder in folders for path in spools(folder)}
    for name, path in found.items():
        yield from read(path)
        if not path.is_dir():
            for folder in folders:
                if (folder / name).is_dir():
                    yield from read(folder / name)


def _folders(places: Places, source: str) -> list[Path]:
    # The spool first: what moves on between the two listings is then seen twice and not missed.
    folders = [places.spool, places.archive] if source == "spool" else [Path(source).absolute()]
    if not any(spools(folder) for folder in folders if folder.is_dir()):
        raise Unreadable(
            f"there is nothing to replay in {' or '.join(map(str, folders))}; "
            "give --from topics, or the folder of a spool or archive"
        )
    return folders
