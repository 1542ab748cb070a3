"""Build a graph again from what is kept: read, track, render, write, and move the checkpoint behind it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstream import live
from headstream.checkpoints import Keeper
from headstream.errors import CommandError
from headstream.kept_sources import open_kept
from headstream.locations import open_to_fill
from headstream.places import Places
from headstream.rendering import Rendered, default_workers, rendered
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.bulk import Load, Loader
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import Store
from headstream.stream_processors.replay import Chunk, Chunks, Replayed, track_again
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.settings import Settings as TrackerSettings
from headstream.stream_processors.sources import Source, TopicsSource

TOPICS = ("topics", "topic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a replay did, and the graph it led to. `hash` is None where it was not asked for."""

    replayed: Replayed
    refused_by_store: int
    before: int
    triples: int
    hash: str | None
    seconds: float
    resumed_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How far a replay is: messages done and in all (None if unknown), events done by this call."""

    messages: int
    total: int | None
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a replay is done; none of it changes the graph."""

    allow_missing: bool = False
    into_live: bool = False
    rate: float | None = None  # events a second
    workers: int | None = None
    resume: bool = True
    hash: bool = True


Progress = Callable[[Moment], None]
Say = Callable[[str], None]


def replay(
    places: Places,
    into: str,
    *,
    source: str,
    selection: Selection | None = None,
    options: Options | None = None,
    progress: Progress = lambda moment: None,
    say: Say = lambda line: None,
) -> Rebuilt:
    """Replay "topics", "spool" (what this data directory keeps), or a folder or file into a store.

    Raises Unreadable for a source that is not there, CommandError for a store that is live unless
    `into_live`; errors of the store and the broker as they are. Killed, the next call with the same
    source, selection and store goes on where this one was; `say` is told of it.
    """
    options = options or Options()
    chosen = selection or Selection()
    base = os.environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE
    if source not in TOPICS:
        open_kept(places, source, chosen).close()  # First of all: it may not be there.
    else:
        live.use_broker(places)
    _demand_other(places, into, options.into_live)
    store = open_to_fill(into)
    try:
        began = time.monotonic()
        before = store.size()
        with opened(places, source, chosen, allow_missing=options.allow_missing) as found:
            keeper = Keeper(places.data / "replays", _key(places, source, chosen, into, base))
            behind = _resumed(keeper, found, store, options, say)
            run = _Run(found, chosen, store, base, keeper, behind, progress)
            replayed = run.through(options)
        return Rebuilt(
            replayed=replayed,
            refused_by_store=len(run.letters.letters),
            before=before,
            triples=store.size(),
            hash=graph_hash(store.dump()) if options.hash else None,
            seconds=time.monotonic() - began,
            resumed_behind=behind,
        )
    finally:
        store.close()


@contextmanager
def opened(
    places: Places, source: str, selection: Selection, *, allow_missing: bool = False
) -> Iterator[Source]:
    """A source as the user names it."""
    found: Source
    if source in TOPICS:
        live.use_broker(places)
        found = TopicsSource(TrackerSettings.from_env(os.environ), selection, allow_missing=allow_missing)
    else:
        found = open_kept(places, source, selection, allow_missing=allow_missing)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def rebuilt_beside(places: Places, source: str, *, allow_missing: bool = False) -> Iterator[str]:
    """A store on disk with the whole graph of a source, gone at the end: to hold against another."""
    with tempfile.TemporaryDirectory(prefix="headstream-verify-") as folder:
        into = f"oxigraph:{Path(folder) / 'store'}"
        options = Options(allow_missing=allow_missing, resume=False, hash=False)
        replay(places, into, source=source, options=options)
        yield into


def _resumed(keeper: Keeper, source: Source, store: Store, options: Options, say: Say) -> int:
    """How many messages lie behind a checkpoint that may be believed; 0 to begin from the beginning."""
    if not options.resume:
        keeper.forget()
        return 0
    if not keeper.load():
        return 0
    behind = source.behind(keeper.checkpoint.marks)
    doubt = None
    if behind is None:
        doubt = "what it was read from is not the same any more"
    elif not keeper.believed(store):
        doubt = "the store does not hold what was written into it, or cannot be asked"
    if doubt is not None:
        say(f"an earlier replay did not come to its end, but {doubt}: this one begins from the beginning")
        keeper.forget()
        return 0
    assert behind is not None
    say(f"going on behind {behind} messages of an earlier replay that did not come to its end")
    return behind


@dataclass(slots=True)
class _Run:
    """One replay on its way."""

    source: Source
    selection: Selection
    store: Store
    base: str
    keeper: Keeper
    behind: int
    progress: Progress
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)

    def through(self, options: Options) -> Replayed:
        """Read, track and render here; write in a thread beside, and keep what is written as behind."""
        chunks = Chunks(self.source, self.selection, dict(self.keeper.checkpoint.marks))
        done = Replayed(first_kept=self.source.first_kept)
        workers = options.workers or default_workers()
        loader = Loader(self.store, self.letters, self.base, stored=self._stored)
        messages, began = self.behind, time.monotonic()
        try:
            for chunk, made in rendered(
                chunks,
                self.selection,
                self.base,
                self.store.renderer(self.base),
                workers=workers,
                spread=self.source.documents_first,
            ):
                loader.put(self._load(chunk, made, chunks))
                done.add(chunk.counts)
                done.add(made.counts)
                messages += len(chunk.taken) + chunk.counts.documents
                self.progress(Moment(messages=messages, total=self.source.total, events=done.events))
                if options.rate is not None:
                    time.sleep(pause(done.events, time.monotonic() - began, options.rate))
            loader.finish()
        except BaseException:
            loader.abandon()
            self.keeper.keep()
            raise
        self.keeper.forget()
        self.progress(Moment(messages=messages, total=messages, events=done.events))
        return done

    def _load(self, chunk: Chunk, made: Rendered, chunks: Chunks) -> Load:
        return _Marked(
            statements=made.statements,
            triples=made.triples,
            facts=lambda: [*chunk.described, *track_again(chunk.taken, chunks.known, self.selection)[0]],
            doubtful=made.doubtful,
            chunk=chunk,
            witness=made.witness,
        )

    def _stored(self, loads: Sequence[Load]) -> None:
        for load in loads:
            assert isinstance(load, _Marked)
            self.keeper.stored(load.chunk.marks, load.witness if load is loads[-1] else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marked(Load):
    """Statements, and the chunk that they come from."""

    chunk: Chunk
    witness: str | None


def pause(events: int, seconds: float, rate: float) -> float:
    """How long to rest so that so many events in so many seconds are not more than `rate` a second."""
    return max(0.0, events / rate - seconds)


def _key(places: Places, source: str, selection: Selection, into: str, base: str) -> dict[str, Any]:
    """What two replays must have in common for one to go on from the other."""
    folder = live.folder_of(into)
    named = source if source in TOPICS or source == "spool" else str(Path(source).resolve())
    settings = TrackerSettings.from_env(os.environ)
    return {
        "source": "topics" if source in TOPICS else named,
        "broker": [settings.bootstrap, settings.topics.prefix] if source in TOPICS else None,
        "selection": selection.as_json(),
        "into": into.rstrip("/") if folder is None else f"oxigraph:{folder.resolve()}",
        "base": base,
    }


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
