"""How large a write is and when it goes: by what the stream does, not by a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified
from headstream.sinks.batch import Limits
from headstream.sinks.stores import MemoryStore, Written

from .worker import Worker

Steps = Callable[..., Identified]
Until = Callable[..., float]


class Gated(MemoryStore):
    """A store that answers when it is let: how large a request is depends on what came meanwhile."""

    def __init__(self, answers: int = 0) -> None:
        super().__init__()
        self.gate = threading.Semaphore(answers)
        self.sizes: list[int] = []

    def write(self, ntriples: bytes) -> Written:
        self.sizes.append(ntriples.count(b"\n"))
        self.gate.acquire()
        return super().write(ntriples)


def values(steps: Steps, first: int, after: int) -> list[bytes]:
    return [encode_identified(steps(number)) for number in range(first, after)]


def test_a_message_alone_is_written_at_once_and_what_comes_during_a_write_is_one_request(
    steps: Steps, until: Until
) -> None:
    """No wait of any kind: each limit in seconds would fail the test by its time-out."""
    store, patient = Gated(), Limits(triples=100_000, age=3600, linger=3600)
    with Worker(store, values(steps, 0, 1), limits=patient) as worker:
        until(lambda: store.sizes == [50])
        worker.send(values(steps, 1, 31))
        until(lambda: worker.metric("events_in_total") == 31 * 5)
        assert store.sizes == [50], "one write at a time"
        store.gate.release(2)
        until(lambda: worker.done == 31)
        assert store.sizes == [50, 30 * 50]


def test_a_stream_that_lags_is_written_in_full_batches(steps: Steps, until: Until) -> None:
    store, patient = Gated(answers=1000), Limits(triples=1000, age=3600, linger=3600)
    with Worker(store, values(steps, 0, 300), limits=patient) as worker:
        until(lambda: worker.done == 300)
    assert store.sizes == [1000] * 15


def test_the_next_batch_is_made_ready_while_one_is_written_and_committed_only_behind_its_own_write(
    steps: Steps, until: Until
) -> None:
    store = Gated()
    with Worker(store, values(steps, 0, 40), triples=1000) as worker:
        until(lambda: worker.metric("events_in_total") == 200)  # Both batches are rendered.
        assert store.sizes == [1000] and worker.done == 0
        store.gate.release()
        until(lambda: store.sizes == [1000, 1000])
        until(lambda: worker.done == 20)
        store.gate.release()
        until(lambda: worker.done == 40)


def test_told_to_end_it_writes_and_commits_what_it_has_read(steps: Steps, until: Until) -> None:
    """What is being written, and what was read meanwhile."""
    store = Gated()
    with Worker(store, values(steps, 0, 1)) as worker:
        until(lambda: store.sizes == [50])
        worker.send(values(steps, 1, 4))
        until(lambda: worker.metric("events_in_total") == 20)
        worker.stop.set()
        store.gate.release(2)
    assert store.sizes == [50, 150]
    assert worker.done == 4 and store.size() == 200
