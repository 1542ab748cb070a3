"""Oxigraph on disk: bare calls with prepared quads or bodies beside our own way from facts into the store.

Bare `extend` and `bulk_extend` get quads that were parsed before the clock began, bare `bulk_load` gets
N-Triples and parses them, ours renders them as well. Each writes as many triples in one call as ours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import pyoxigraph as oxigraph
from load_tests.store_rate.blazegraph import Rate
from load_tests.store_rate.stream import Made, bodies

from headstream.schemas.facts import Identified
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.batch import OXIGRAPH_LIMITS
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.stores import OxigraphStore

OURS: Final = "headstream, from facts"
Work = Callable[[Path], int]
Batch = TypeVar("Batch")


def contenders(made: Sequence[Made]) -> dict[str, Work]:
    """What is measured, by name; each fills the store in a folder and returns the number of requests."""
    prepared = [body.content for body in bodies(made, OXIGRAPH_LIMITS.triples)]
    quads = [list(oxigraph.parse(body, oxigraph.RdfFormat.N_TRIPLES)) for body in prepared]
    identified = [one.identified for one in made]

    def bare(batches: Sequence[Batch], write: Callable[[oxigraph.Store, Batch], None]) -> Work:
        def run(folder: Path) -> int:
            store = oxigraph.Store(str(folder))
            for batch in batches:
                write(store, batch)
            store.flush()
            return len(batches)

        return run

    return {
        "bare Store.extend": bare(quads, lambda store, batch: store.extend(batch)),
        "bare Store.bulk_extend": bare(quads, lambda store, batch: store.bulk_extend(batch)),
        "bare Store.bulk_load": bare(
            prepared, lambda store, body: store.bulk_load(body, oxigraph.RdfFormat.N_TRIPLES)
        ),
        OURS: lambda folder: _ours(folder, identified),
    }


def _ours(folder: Path, identified: Sequence[Identified]) -> int:
    store, letters = OxigraphStore(folder), MemoryDeadLetters()
    delivered = write_identified(store, identified, letters, DEFAULT_BASE)
    store.close()
    assert not letters.letters
    return delivered.requests


def measure(work: Work, folder: Path, triples: int) -> Rate:
    """One contender in a folder of its own, from opening the store to the last flush."""
    before, began = time.process_time(), time.perf_counter()
    requests = work(folder)
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    shutil.rmtree(folder, ignore_errors=True)
    return Rate(triples=triples, seconds=seconds, requests=requests, cpu=cpu)
