"""Facts that come over no topic: while one request is written the next is rendered, and that is all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from headstream.schemas.facts import Identified
from headstream.sinks.batch import OXIGRAPH_LIMITS, Limits
from headstream.sinks.core import suited, write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.errors import StoreBusy, StoreUnknown, Unavailable
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.metrics import Metrics
from headstream.sinks.settings import Settings
from headstream.sinks.statements import render
from headstream.sinks.stores import MemoryStore, OxigraphStore, Written

from .conftest import message

BASE = "https://provml.example.org/id/"
A_MESSAGE = Limits(triples=50)  # What `message` has: each is a request.
_SECONDS = 60.0
Steps = Callable[..., Identified]


class Watched(MemoryStore):
    """Notes what it is sent, and whether two requests were ever under way at once."""

    def __init__(self, refuses: Callable[[bytes], bool] = lambda line: False) -> None:
        super().__init__(refuses)
        self.sent: list[bytes] = []
        self.together = False
        self._writing = threading.Lock()

    def write(self, ntriples: bytes) -> Written:
        self.together |= not self._writing.acquire(blocking=False)
        try:
            self.sent.append(ntriples)
            return super().write(ntriples)
        finally:
            self._writing.release()


def test_the_next_request_is_rendered_while_one_is_written(steps: Steps) -> None:
    """The store does not answer until facts of the next request were asked for."""
    asked, answered = threading.Event(), []

    class Waiting(MemoryStore):
        def write(self, ntriples: bytes) -> Written:
            answered.append(asked.wait(_SECONDS))
            return super().write(ntriples)

    def facts() -> Iterator[Identified]:
        yield steps(1)
        asked.set()
        yield steps(2)
        yield steps(3)

    store = Waiting()
    delivered = write_identified(store, facts(), MemoryDeadLetters(), BASE, limits=A_MESSAGE)
    assert answered == [True, True, True]
    assert (delivered.events, delivered.requests, store.size()) == (15, 3, 150)


def test_a_request_alone_is_written_by_the_thread_that_asks(steps: Steps) -> None:
    threads = []

    class Noting(MemoryStore):
        def write(self, ntriples: bytes) -> Written:
            threads.append(threading.current_thread())
            return super().write(ntriples)

    write_identified(Noting(), [steps(1)], MemoryDeadLetters(), BASE)
    assert threads == [threading.current_thread()]


@given(
    kinds=st.lists(st.sampled_from(["good", "illegal", "refused"]), max_size=12),
    triples=st.sampled_from([1, 50, 120, 10_000]),
)
def test_requests_go_in_order_one_at_a_time_and_every_event_is_accounted_for(
    kinds: list[str], triples: int
) -> None:
    poison = {"good": None, "illegal": "a b", "refused": "odd"}
    messages = [message(number, poison=poison[kind]) for number, kind in enumerate(kinds)]
    store, letters, metrics = Watched(lambda line: b"id/odd>" in line), MemoryDeadLetters(), Metrics()
    delivered = write_identified(
        store, messages, letters, BASE, metrics=metrics, limits=Limits(triples=triples)
    )
    bad = len(kinds) - kinds.count("good")
    assert not store.together
    assert (delivered.events, len(delivered.letters)) == (5 * len(kinds) - bad, bad)
    # Batch by batch, and within each what cannot be rendered before what the store refuses.
    assert list(delivered.letters) == letters.letters
    assert sorted(letter.reason for letter in letters.letters) == sorted(
        {"illegal": "illegal-fact", "refused": "refused-by-store"}[kind] for kind in kinds if kind != "good"
    )
    assert f"headstream_sink_events_total {float(delivered.events)}".encode() in generate_latest(
        metrics.registry
    )
    if not bad:
        assert b"".join(store.sent) == b"".join(render(one.facts, BASE) for one in messages)


@pytest.mark.parametrize("failing", range(4))
def test_a_store_that_is_away_ends_the_call_and_the_same_call_again_completes(
    failing: int, steps: Steps
) -> None:
    class Failing(Watched):
        def write(self, ntriples: bytes) -> Written:
            if len(self.sent) == failing and not self.failures:
                self.failures.append(StoreBusy("away"))
            return super().write(ntriples)

    messages = [steps(number) for number in range(4)]
    store, letters = Failing(), MemoryDeadLetters()
    with pytest.raises(StoreBusy):
        write_identified(store, messages, letters, BASE, limits=A_MESSAGE)
    # Nothing behind the one that failed was sent.
    assert store.sent == [render(one.facts, BASE) for one in messages[: failing + 1]]
    delivered = write_identified(store, messages, letters, BASE, limits=A_MESSAGE)
    assert (delivered.events, store.size(), letters.letters) == (20, 200, [])


def test_facts_that_cannot_be_read_on_end_the_call_once_what_is_under_way_is_written(steps: Steps) -> None:
    def facts() -> Iterator[Identified]:
        yield steps(1)
        raise Unavailable("the source is gone")

    store = MemoryStore()
    with pytest.raises(Unavailable, match="the source"):
        write_identified(store, facts(), MemoryDeadLetters(), BASE, limits=A_MESSAGE)
    assert store.size() == 50


def test_a_doubtful_write_of_the_first_of_several_requests_is_raised(steps: Steps) -> None:
    store = MemoryStore()
    store.failures.append(StoreUnknown("a broken connection"))
    with pytest.raises(StoreUnknown):
        write_identified(store, map(steps, range(3)), MemoryDeadLetters(), BASE, limits=A_MESSAGE)


def test_oxigraph_gets_larger_requests_unless_somebody_says_otherwise() -> None:
    assert suited(OxigraphStore()) == OXIGRAPH_LIMITS
    assert suited(MemoryStore()) == Limits()
    set_to = {"HEADSTREAM_STORE_URL": "oxigraph:"}
    assert Settings.from_env(set_to).limits == OXIGRAPH_LIMITS
    assert Settings.from_env({**set_to, "HEADSTREAM_SINK_BATCH_TRIPLES": "7"}).limits.triples == 7
    assert (
        Settings.from_env({"HEADSTREAM_STORE_URL": "http://127.0.0.1:1/namespace/a/sparql"}).limits
        == Limits()
    )


def test_a_graph_is_the_same_whatever_the_size_of_the_requests(steps: Steps) -> None:
    messages = [steps(number, events=50) for number in range(40)]
    hashes = []
    for triples in (500, 7_000, 160_000):
        store = OxigraphStore()
        write_identified(store, messages, MemoryDeadLetters(), BASE, limits=Limits(triples=triples))
        hashes.append(graph_hash(store.dump()))
    assert len(set(hashes)) == 1 and hashes[0] == graph_hash(render(one.facts, BASE) for one in messages)
