"""Oxigraph on disk: bare calls with prepared quads beside our own way from facts into the store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyoxigraph as oxigraph
from load_tests.store_rate.blazegraph import Rate
from load_tests.store_rate.stream import Body, Made

from headstream.schemas.facts import Identified
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.stores import OxigraphStore

Work = Callable[[Path], int]


def contenders(bodies: Sequence[Body], made: Sequence[Made]) -> dict[str, Work]:
    """What is measured, by name; each fills the store in a folder and returns the number of requests."""
    quads = [list(oxigraph.parse(body.ntriples, oxigraph.RdfFormat.N_TRIPLES)) for body in bodies]
    identified = [one.identified for one in made]

    def bare(call: str) -> Work:
        def run(folder: Path) -> int:
            store = oxigraph.Store(str(folder))
            for batch in quads:
                getattr(store, call)(batch)
            store.flush()
            return len(quads)

        return run

    return {
        "bare Store.extend": bare("extend"),
        "bare Store.bulk_extend": bare("bulk_extend"),
        "headstream, from facts": lambda folder: _ours(folder, identified),
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
