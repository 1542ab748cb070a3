"""Chunks of a replay to statements, in one process or several: tracker core and renderer together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Final

from headstream.schemas.clients import registry_options
from headstream.schemas.confluent import use
from headstream.schemas.definition import Definition
from headstream.schemas.facts import ID, TERM, Fact, Identified
from headstream.sinks.errors import IllegalFact
from headstream.sinks.statements import NTriplesRenderer, Renderer
from headstream.stream_processors.replay import Chunk, Chunks, Replayed, track_again
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.sources import Taken

# More processes than this wait for the store, or for the one that reads.
_MOST_WORKERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A chunk as statements, each once. `doubtful` if some fact is illegal: then there are none."""

    statements: bytes
    triples: int
    counts: Replayed
    doubtful: bool = False
    witness: str | None = None  # One between two IRIs, as N-Triples: a store that has it has them all.


class Rendering:
    """Tracks and renders bags against the definitions that are known. Of use to one thread."""

    def __init__(
        self, known: Mapping[str, Definition], selection: Selection, base: str, renderer: Renderer
    ) -> None:
        self._known = known
        self._selection = selection
        self._renderer = renderer
        self._ntriples = NTriplesRenderer(base)

    def render(self, taken: Sequence[Taken], described: Sequence[Identified] = ()) -> Rendered:
        """A pure function of its arguments and the definitions."""
        found, counts = track_again(taken, self._known, self._selection)
        # The start and the end of a step repeat each other, and every bag repeats its plan: the renderer
        # and the store are spared up to half of the statements.
        facts = list(dict.fromkeys(chain.from_iterable(each.facts for each in (*described, *found))))
        try:
            statements = self._renderer.render(facts)
        except IllegalFact:
            return Rendered(statements=b"", triples=len(facts), counts=counts, doubtful=True)
        return Rendered(
            statements=statements, triples=len(facts), counts=counts, witness=self._witness(facts)
        )

    def _witness(self, facts: Sequence[Fact]) -> str | None:
        between = next((fact for fact in reversed(facts) if fact[2] in (ID, TERM)), None)
        return None if between is None else self._ntriples.render([between]).decode().removesuffix("\n")


def default_workers() -> int:
    """Processes that track, beside the one that reads and writes: as many as there are cores for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores - 1))


def rendered(
    chunks: Chunks, selection: Selection, base: str, renderer: Renderer, *, workers: int, spread: bool
) -> Iterator[tuple[Chunk, Rendered]]:
    """Yield every chunk with its statements, in order.

    With several workers they are processes; `spread` says that definitions come first, without
    which one process has to know them as they come.
    """
    if workers > 1 and spread:
        yield from _spread(chunks, selection, base, renderer, workers)
        return
    here = Rendering(chunks.known, selection, base, renderer)
    for chunk in chunks:
        yield chunk, here.render(chunk.taken, chunk.described)


def _spread(
    chunks: Chunks, selection: Selection, base: str, renderer: Renderer, workers: int
) -> Iterator[tuple[Chunk, Rendered]]:
    here = Rendering(chunks.known, selection, base, renderer)
    waiting: deque[tuple[Chunk, Future[Rendered]]] = deque()
    pool: ProcessPoolExecutor | None = None
    try:
        for chunk in chunks:
            if chunk.described or not chunk.taken:
                yield chunk, here.render(chunk.taken, chunk.described)
                continue
            if pool is None:
                # Spawned: a forked child would inherit the threads of librdkafka half alive.
                pool = ProcessPoolExecutor(
                    workers,
                    multiprocessing.get_context("spawn"),
                    _begin,
                    (dict(chunks.known), selection, base, renderer),
                )
            waiting.append((chunk, pool.submit(_render, chunk.taken)))
            if len(waiting) > 2 * workers:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Chunk, Future[Rendered]]]) -> tuple[Chunk, Rendered]:
    chunk, future = waiting.popleft()
    return chunk, future.result()


_here: Rendering | None = None


def _begin(known: Mapping[str, Definition], selection: Selection, base: str, renderer: Renderer) -> None:
    """Make a worker process ready, once; it ends with the command, however that ends."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which tells its workers.
    use(registry_options(os.environ))  # Messages may be in the framing of a schema registry.
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    _here = Rendering(known, selection, base, renderer)


def _end_with_parent() -> None:
    """A parent that is killed closes no queue, so a worker would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render(taken: Sequence[Taken]) -> Rendered:
    assert _here is not None
    return _here.render(taken)
