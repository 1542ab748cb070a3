"""A store that dies amid writes, is away, or has no room costs no event (faults rows 14, 16, 19)."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified, Origin
from headstream.sinks.__main__ import _unready
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.metrics import Metrics
from headstream.sinks.statements import render
from headstream.sinks.stores import BlazegraphStore, OxigraphStore, Room, Store
from headstream.sinks.stores.room import StoreOnDisk

from ..sinks.worker import BASE, Worker
from .cluster import Cluster, prove, wait_for
from .conftest import Scale
from .load import make

EVENTS = 20  # In a message; ten statements each.


def messages(number: int, run: str = "run-1") -> list[Identified]:
    """Messages of events with ten statements each, of which two have literals that stores rewrite."""
    return [message(each, run) for each in range(number)]


def encoded(sent: Sequence[Identified]) -> list[bytes]:
    return [encode_identified(one) for one in sent]


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
    with Worker(BlazegraphStore(place), encoded(sent), triples=4_000) as worker:
        for kill in range(scale.store_kills):
            wait_for(lambda: worker.done >= 40 * kill and worker.store.writing, 120, worker.told)  # noqa: B023
            time.sleep((seed * 7919 + kill * 104_729) % 100 / 1000)  # Somewhere in the request.
            before = worker.retries()
            store.kill()
            wait_for(lambda: worker.retries() > before, 60, worker.told)  # noqa: B023
            store.start()
        recovery = wait_for(lambda: worker.done == len(sent), 120, worker.told)
        print(f"{scale.store_kills} kills, {worker.told()}, recovered in {recovery:.1f} s")
        _prove(worker, sent, worker.store)


def _prove(worker: Worker, sent: list[Identified], store: Store) -> None:
    """The graph is that of an undisturbed run, and the books of the batches agree with it."""
    clean = [render(one.facts, BASE) for one in sent]
    assert difference(clean, store.dump()).counts == [0, 0]
    assert graph_hash(store.dump()) == graph_hash(clean)
    assert not worker.letters.letters
    assert worker.metric("events_total") == EVENTS * len(sent) == worker.metric("events_in_total")
    # What was expected of each confirmed batch is what the store says that it has taken of it.
    assert worker.metric("triples_total") == 10 * EVENTS * len(sent)
    assert worker.metric("divergence_triples_total") == 0


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


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own that can be filled to the last and emptied again."""

    path: Path

    def fill(self, left: int) -> None:
        """Leave so many bytes free."""
        with (self.path / "filler").open("ab") as filler:
            found = os.statvfs(self.path)
            os.posix_fallocate(filler.fileno(), filler.tell(), found.f_bavail * found.f_frsize - left)

    def empty(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """96 MB in memory; who may mount nothing cannot run the test."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(path)], capture_output=True, text=True
    )
    if done.returncode:
        if os.environ.get("CI", "").lower() == "true" and os.getuid() == 0:
            pytest.fail(f"CI must fill a disk: {done.stderr}")
        pytest.skip(f"a disk to fill needs the right to mount one: {done.stderr}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def cramped(artefacts: Any, disk: SmallDisk) -> Iterator[Any]:
    """A Blazegraph whose journal lies on that disk."""
    from headstream.services.blazegraph import BlazegraphService
    from headstream.services.ports import free_ports

    service = BlazegraphService(disk.path / "blazegraph", *free_ports(1))
    service.start()
    yield service
    service.stop()


def test_a_disk_that_is_full_costs_no_event_once_the_store_is_started_again_with_room(
    cramped: Any, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Blazegraph takes no write after one that found no room, even when there is some (measured)."""
    sent = messages(200)
    disk.fill(left=1_500_000)
    with Worker(BlazegraphStore(cramped.sparql), encoded(sent), triples=2_000) as worker:
        wait_for(lambda: worker.retries() >= 2, 120, worker.told)
        assert 0 < worker.done < len(sent), "it was full amid the work"
        (*_, said) = (record.error for record in caplog.records if record.message == "tried in vain")
        assert "make room, and start the store again" in said and "no room on its disk" in said
        disk.empty()
        cramped.stop()
        cramped.start()
        wait_for(lambda: worker.done == len(sent), 120, worker.told)
        _prove(worker, sent, worker.store)


@pytest.mark.parametrize("kind", ["blazegraph", "oxigraph"])
def test_a_store_whose_disk_is_watched_stops_before_it_is_full_and_goes_on_by_itself(
    kind: str, disk: SmallDisk, request: pytest.FixtureRequest
) -> None:
    store: Store
    sent = messages(200)
    if kind == "blazegraph":
        server = request.getfixturevalue("cramped")
        room = Room(server.data)
        store = StoreOnDisk(BlazegraphStore(server.sparql), room)
    else:
        opened = OxigraphStore(disk.path / "store")
        assert opened.room is not None
        store, room = opened, opened.room
    disk.fill(left=(96 << 20) // 10 + 1_500_000)
    with Worker(store, encoded(sent), triples=2_000) as worker:
        wait_for(lambda: worker.retries() >= 2, 120, worker.told)
        stopped = worker.done
        assert 0 < stopped < len(sent), "it was short amid the work"
        assert "make room" in (room.short() or "") and room.left() > 4 << 20
        quiet = SimpleNamespace(refused=None, last=None)
        ready = SimpleNamespace(joined=True, trouble=quiet), SimpleNamespace(blocked=False), threading.Event()
        assert _unready(*ready, room) == room.short()  # type: ignore[arg-type]
        metrics = Metrics()
        metrics.watch(room)
        shown = metrics.registry.get_sample_value
        assert shown("headstream_sink_store_free_bytes") == room.left()
        assert shown("headstream_sink_store_bytes") == room.taken() > 0
        disk.empty()
        wait_for(lambda: worker.done == len(sent), 120, worker.told)
        assert room.short() is None is _unready(*ready, room)  # type: ignore[arg-type]
        _prove(worker, sent, worker.store)
