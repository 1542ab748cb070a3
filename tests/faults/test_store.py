"""A store that dies amid writes, is away, or has no room costs no event (faults rows 14, 16, 19)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified, Origin
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.statements import render
from headstream.sinks.stores import BlazegraphStore, open_store

from .cluster import Cluster, prove, wait_for
from .conftest import Scale
from .load import make
from .sinking import BASE, Sinking

EVENTS = 20  # In a message; ten statements each.


def messages(number: int, run: str = "run-1") -> list[Identified]:
    """Messages of events with ten statements each, of which two have literals that stores rewrite."""
    return [message(each, run) for each in range(number)]


def message(number: int, run: str) -> Identified:
    facts: list[tuple[str, str, str, str]] = []
    for event in range(EVENTS):
        step, value = f"dte/w/{run}/train/{number}-{event}", f"val/w/{run}/train/{number}-{event}/out/loss"
        facts += [
            (step, "rdf:type", "term", "provml:LearningStageExecution"),
            (step, "prov:startedAtTime", "dateTime", f"2026-11-23T15:12:54.{number:06d}Z"),
            (step, "provml:iteration", "integer", str(number * EVENTS + event)),
            (step, "prov:value", "double", repr(0.1 * event)),
            (step, "rdfs:label", "string", f"Época {event} 😀"),
            (value, "prov:wasGeneratedBy", "id", step),
            (value, "prov:wasAttributedTo", "id", f"agt/{run}"),
            (step, "prov:used", "id", f"ref/{number % 7}"),
            (step, "prov:wasAssociatedWith", "id", f"agt/{run}"),
            (step, "provml:wasPartOf", "id", f"dte/w/{run}/train/{number}"),
        ]
    return Identified(
        workflow="w",
        execution=run,
        origin=Origin(topic="headstream.events", partition=0, offset=number),
        facts=tuple(facts),
        counts=(10,) * EVENTS,
        event_times=(0,) * EVENTS,
    )


@pytest.fixture(scope="module")
def store(artefacts: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Blazegraph of this module's own, for it is killed."""
    from headstream.services.blazegraph import BlazegraphService
    from headstream.services.ports import free_ports

    service = BlazegraphService(tmp_path_factory.mktemp("killed"), *free_ports(1))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def place(store: Any, topic_prefix: str) -> str:
    """A namespace of a test's own in it."""
    from headstream.services.blazegraph import create_namespace, namespace_properties, sparql_url

    name = topic_prefix.rstrip(".")
    create_namespace(store.url, name, namespace_properties(name))
    return sparql_url(store.url, name)


def test_a_store_killed_again_and_again_amid_writes_has_everything_in_the_end(
    store: Any, place: str, scale: Scale, seed: int
) -> None:
    """Each kill comes while a request is under way, at a moment of its own."""
    sent = messages(60 * scale.store_kills)
    with Sinking(BlazegraphStore(place), [encode_identified(one) for one in sent], triples=4_000) as sinking:
        for kill in range(scale.store_kills):
            wait_for(lambda: sinking.done >= 40 * kill and sinking.writing, 120, sinking.told)  # noqa: B023
            time.sleep((seed * 7919 + kill * 104_729) % 100 / 1000)  # Somewhere in the request.
            before = sinking.retries()
            store.kill()
            wait_for(lambda: sinking.retries() > before, 60, sinking.told)  # noqa: B023
            store.start()
        recovery = wait_for(lambda: sinking.done == len(sent), 120, sinking.told)
        print(f"{scale.store_kills} kills, {sinking.told()}, recovered in {recovery:.1f} s")
        _prove(sinking, sent, place)


def _prove(sinking: Sinking, sent: list[Identified], place: str) -> None:
    """The graph is that of an undisturbed run, and the books of the batches agree with it."""
    clean = [render(one.facts, BASE) for one in sent]
    opened = open_store(place)
    try:
        assert difference(clean, opened.dump()).counts == [0, 0]
        assert graph_hash(opened.dump()) == graph_hash(clean)
    finally:
        opened.close()
    assert not sinking.letters.letters
    assert sinking.metric("events_total") == EVENTS * len(sent) == sinking.metric("events_in_total")
    # What was expected of each confirmed batch is what the store says that it has taken of it.
    assert sinking.metric("triples_total") == 10 * EVENTS * len(sent)
    assert sinking.metric("divergence_triples_total") == 0


def test_a_store_that_is_away_for_a_while_costs_no_event_and_no_rebalance(
    kafka: Any, store: Any, place: str, topic_prefix: str, tmp_path: Path, scale: Scale
) -> None:
    """The whole chain as processes; the sinks keep their partitions and hear of the store by themselves."""
    load = make(scale.broker_events, runs=8)
    cluster = Cluster(kafka.bootstrap, place, topic_prefix.rstrip("."), tmp_path)
    quick = {"HEADSTREAM_SINK_RETRY_SECONDS": "2"}
    try:
        cluster.start("tracker-1", "sink-1", "sink-2", environ=quick)
        cluster.wait_ready()
        cluster.define(load)
        sent = load.messages()
        cluster.publish(sent[: len(sent) // 2])
        wait_for(lambda: cluster.progress["sink"].done() > 1, 90, cluster.told)
        moved = [cluster.workers[name].logged("partitions revoked") for name in ("sink-1", "sink-2")]
        store.kill()
        cluster.publish(sent[len(sent) // 2 :])
        time.sleep(scale.store_away)
        store.start()
        print(f"back after {scale.store_away} s: {cluster.told()}")
        cluster.publisher.flush(60)
        recovery = cluster.wait_at_rest(scale.recovery)
        print(f"recovered {recovery:.1f} s after the restart of the store")
        assert moved == [cluster.workers[name].logged("partitions revoked") for name in ("sink-1", "sink-2")]
        assert sum(cluster.workers[name].logged("tried in vain") for name in ("sink-1", "sink-2")) > 0
        prove(cluster, load)
    finally:
        cluster.close()


Until = Callable[..., float]
