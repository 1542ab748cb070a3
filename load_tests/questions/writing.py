"""Further training runs into the same store at a steady rate of events, while questions are asked."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Final

from load_tests.questions import runs, survey
from load_tests.questions.runs import Shape

from headstream.schemas.events import event_count
from headstream.schemas.facts import Fact
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.batch import Limits
from headstream.sinks.stores import open_store
from headstream.stream_processors.tracker import track

FIRST: Final = 5_000  # Runs that no filled graph has.


@contextmanager
def writer(location: str, rate: float) -> Iterator[Synchronized[int]]:
    """Write `rate` events a second from a process of its own; gives the count of those stored."""
    context = get_context("spawn")
    stop = context.Event()
    stored: Synchronized[int] = context.Value("q", 0)
    process = context.Process(target=_write, args=(location, rate, stop, stored), daemon=True)
    process.start()
    try:
        while not stored.value and process.is_alive():  # Measured is a store that is being written to.
            time.sleep(0.05)
        yield stored
    finally:
        stop.set()
        process.join(60)
    if process.exitcode != 0:
        raise RuntimeError(f"the writer ended with {process.exitcode} after {stored.value} events")


def _write(location: str, rate: float, stop: Event, stored: Synchronized[int]) -> None:
    """Map bags as they fall due, and write what fell due during the last write, as the sink does."""
    plan = survey.definitions()[runs.WORKFLOW]
    store = open_store(location)
    renderer = store.renderer(DEFAULT_BASE)
    # Runs of their own each time, or a store that was written to before would only see repeats.
    first = FIRST + int(time.time()) % 1_000_000
    waiting: list[Sequence[Fact]] = []
    due, events = time.monotonic(), 0
    for bag in itertools.chain.from_iterable(runs.bags(n, plan, Shape()) for n in itertools.count(first)):
        triples = sum(map(len, waiting))
        if waiting and (due > time.monotonic() or triples > Limits().triples):
            store.write(renderer.document([renderer.render(facts) for facts in waiting], triples))
            stored.value += events
            waiting, events = [], 0
        if stop.wait(max(0.0, due - time.monotonic())):
            store.close()
            return
        waiting.append(track(bag, plan, survey.ORIGIN).identified.facts)
        count = sum(event_count(event) for event in bag.events)
        events += count
        due = max(due, time.monotonic() - 1.0) + count / rate
