"""The graph of N training runs, made by the product's own mapping and written into any store.

Events of `runs.py` and `survey.py` go through `track` and the sink's renderer; nothing is made by
substitution in text. Processes of their own map, so that a store is the only limit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Final

from load_tests.questions import runs, survey
from load_tests.questions.runs import Shape

from headstream.schemas.definition import Definition
from headstream.schemas.facts import Fact
from headstream.sinks.statements import Renderer
from headstream.sinks.stores import Store
from headstream.stream_processors.tracker import track

CHUNK: Final = 40_000  # Triples a request: what Blazegraph takes fastest.


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one request holds. An event tells anew what an earlier one said, so some statements come twice."""

    document: bytes
    statements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was written, and how long that took."""

    statements: int
    seconds: float


def triples(number_of_runs: int, shape: Shape) -> int:
    """How many triples the graph has: the paper's 30 million for 134 runs of full size."""
    return survey.TRIPLES + number_of_runs * shape.triples


def base(renderer: Renderer) -> list[Chunk]:
    """What lies under the runs: the worked example and a second survey."""
    return list(_rendered(renderer, (each.facts for each in survey.identified())))


def run(number: int, shape: Shape, renderer: Renderer) -> list[Chunk]:
    """One training run from its first event to its last."""
    plan = _plan()
    tracked = (track(bag, plan, survey.ORIGIN) for bag in runs.bags(number, plan, shape))
    return list(_rendered(renderer, (each.identified.facts for each in tracked)))


def chunks(number_of_runs: int, shape: Shape, renderer: Renderer, *, workers: int = 2) -> Iterator[Chunk]:
    """The whole graph, run by run, mapped by `workers` processes; it never runs far ahead of its reader."""
    # Nothing is rendered here with several workers, so what is sent to them remembers nothing.
    if workers < 2:
        yield from base(renderer)
        for number in range(number_of_runs):
            yield from run(number, shape, renderer)
        return
    # Not by fork: the caller may have threads that serve connections.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = deque([pool.submit(base, renderer)])
        for number in range(number_of_runs):
            waiting.append(pool.submit(run, number, shape, renderer))
            if len(waiting) > workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def fill(store: Store, source: Iterable[Chunk], progress: Callable[[int], None]) -> Loaded:
    """Write everything; `progress` is told how many statements are written."""
    begun = time.monotonic()
    done = 0
    for chunk in source:
        store.write(chunk.document)
        done += chunk.statements
        progress(done)
    return Loaded(statements=done, seconds=time.monotonic() - begun)


@cache
def _plan() -> Definition:
    return survey.definitions()[runs.WORKFLOW]


def _rendered(renderer: Renderer, parts: Iterable[tuple[Fact, ...]]) -> Iterator[Chunk]:
    kept: list[bytes] = []
    count = 0
    for facts in parts:
        kept.append(renderer.render(facts))
        count += len(facts)
        if count >= CHUNK:
            yield Chunk(renderer.document(kept, count), count)
            kept, count = [], 0
    if kept:
        yield Chunk(renderer.document(kept, count), count)
