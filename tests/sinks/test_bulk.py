"""Bulk writing keeps what the sink keeps: order, every event, and refusals apart from their neighbours."""

from __future__ import annotations

import threading

import pytest

from headstream.schemas.facts import ID, STRING, Fact, Identified, Origin
from headstream.sinks.bulk import Load, Loader
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.errors import StoreBusy
from headstream.sinks.statements import render
from headstream.sinks.stores import MemoryStore, OxigraphStore, Store
from headstream.sinks.stores.probe import holds
from headstream.sinks.stores.witness import witness

BASE = "https://example.org/"


def identified(*facts: Fact) -> Identified:
    return Identified(
        workflow="w",
        execution="e",
        origin=Origin(topic="t", partition=0, offset=0),
        facts=facts,
        counts=(1,) * len(facts),
        event_times=(0,) * len(facts),
    )


def load(*facts: Fact, doubtful: bool = False) -> Load:
    return Load(
        statements=b"" if doubtful else render(facts, BASE),
        triples=len(facts),
        facts=lambda: [identified(*facts)],
        doubtful=doubtful,
    )


def fact(number: int, text: str = "x") -> Fact:
    return (f"s/{number}", "prov:value", STRING, text)


def test_loads_are_stored_in_order_several_in_a_request() -> None:
    store, stored = MemoryStore(), []
    loader = Loader(store, MemoryDeadLetters(), BASE, stored=stored.extend, triples=10)
    loads = [load(fact(number)) for number in range(95)]
    for each in loads:
        loader.put(each)
    loader.finish()
    assert stored == loads
    assert len(store.lines) == 95
    assert store.requests < 95


def test_a_store_that_is_away_is_tried_again_and_nothing_is_lost() -> None:
    store = MemoryStore()
    store.failures = [StoreBusy("away"), StoreBusy("away")]
    loader = Loader(store, MemoryDeadLetters(), BASE)
    loader.put(load(fact(1)))
    loader.finish()
    assert len(store.lines) == 1


def test_a_store_that_stays_away_is_told_and_nothing_counts_as_stored() -> None:
    store, stored = MemoryStore(), []
    store.failures = [StoreBusy("away")] * 100
    loader = Loader(store, MemoryDeadLetters(), BASE, stored=stored.extend, retry_seconds=0.1)
    with pytest.raises(StoreBusy, match="away"):
        for number in range(100):
            loader.put(load(fact(number)))
        loader.finish()
    assert stored == [] and store.lines == set()


def test_an_event_that_is_refused_or_illegal_costs_no_other() -> None:
    store = MemoryStore(refuses=lambda line: b"poison" in line)
    letters = MemoryDeadLetters()
    loader = Loader(store, letters, BASE)
    loader.put(load(fact(1), fact(2, "poison"), fact(3)))
    loader.put(load(fact(4), ("s/5", "prov:value", "no such kind", "x"), fact(6), doubtful=True))
    loader.put(load(fact(7)))
    loader.finish()
    assert {line.split(b">")[0] for line in store.lines} == {
        f"<{BASE}s/{number}".encode() for number in (1, 3, 4, 6, 7)
    }
    assert sorted(letter.reason for letter in letters.letters) == ["illegal-fact", "refused-by-store"]


def test_what_waits_is_bounded_and_dropped_when_it_is_abandoned() -> None:
    gate, stored = threading.Event(), []

    class Slow(MemoryStore):
        def write(self, ntriples: bytes):
            gate.wait(10)
            return super().write(ntriples)

    store = Slow()
    loader = Loader(store, MemoryDeadLetters(), BASE, stored=stored.extend, triples=1)
    for number in range(5):
        loader.put(load(fact(number)))
    abandon = threading.Thread(target=loader.abandon)
    abandon.start()
    gate.set()
    abandon.join(10)
    assert len(store.lines) == len(stored) < 5, "the request under way was finished"


@pytest.mark.parametrize("kind", ["memory", "oxigraph", "blazegraph"])
def test_a_witness_tells_whether_a_store_is_still_the_one_that_was_written(kind: str, request) -> None:
    store: Store
    if kind == "blazegraph":
        from headstream.sinks.stores import BlazegraphStore

        store = BlazegraphStore(request.getfixturevalue("namespace").url)
    else:
        store = MemoryStore() if kind == "memory" else OxigraphStore()
    facts = (("s/é", "prov:used", ID, "o/1"), fact(1))
    found = witness(render(facts, BASE))
    assert found == f"<{BASE}s/é> <http://www.w3.org/ns/prov#used> <{BASE}o/1> ."
    assert not holds(store, [found])
    store.write(render(facts, BASE))
    assert holds(store, [found])
    assert not holds(store, [found, found.replace("o/1", "o/2")])
    store.close()


def test_a_literal_is_no_witness_since_stores_rewrite_them() -> None:
    assert witness(render([fact(1, "a <b> .")], BASE)) is None
