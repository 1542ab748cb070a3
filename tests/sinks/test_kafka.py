"""The sink as a process, between a real Kafka and a real store."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from headstream.schemas.codec import decode_identified, encode_identified
from headstream.schemas.dead_letters import from_headers
from headstream.schemas.facts import DeadLetter, Identified
from headstream.schemas.topics import Topics
from headstream.services.ports import free_ports
from headstream.sinks.batch import Limits
from headstream.sinks.consumer import KafkaSource
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.run import Sink
from headstream.sinks.statements import render
from headstream.sinks.stores import BlazegraphStore, MemoryStore, OxigraphStore, Written

from ..faults.http_proxy import HttpProxy

pytestmark = pytest.mark.services
BASE = "https://provml.example.org/id/"
PARTITIONS = 3
Steps = Callable[..., Identified]
Until = Callable[..., float]


class Pipeline:
    """Topics on a real broker, a namespace of a real store, and workers between them."""

    def __init__(self, bootstrap: str, prefix: str, store_url: str, folder: Path) -> None:
        self.bootstrap, self.store_url, self.folder = bootstrap, store_url, folder
        self.topics = Topics(prefix)
        self.group = f"{prefix}.sink"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.create(self.topics.identified, PARTITIONS)

    def create(self, topic: str, partitions: int = 1) -> None:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)

    def produce(self, values: Sequence[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number, value in enumerate(values):
            producer.produce(self.topics.identified, key=b"w/r", value=value, partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "HEADSTREAM_BOOTSTRAP": self.bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": self.topics.prefix,
            "HEADSTREAM_STORE_URL": self.store_url,
            "HEADSTREAM_SINK_GROUP": self.group,
            "HEADSTREAM_SINK_INSTANCE": "one",
            "HEADSTREAM_READY_FILE": str(self.folder / "ready"),
            **more,
        }
        log = (self.folder / "log").open("ab")
        worker = subprocess.Popen(
            [sys.executable, "-m", "headstream.sinks"], env=environment, stdout=log, stderr=log
        )
        log.close()
        self.workers.append(worker)
        return worker

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def committed(self) -> list[int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        places = [TopicPartition(self.topics.identified, number) for number in range(PARTITIONS)]
        offsets = [max(0, place.offset) for place in consumer.committed(places, timeout=10)]
        consumer.close()
        return offsets

    def dead_letters(self, count: int) -> list[DeadLetter]:
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
        )
        consumer.assign([TopicPartition(self.topics.dead_letters, 0, 0)])
        found = consumer.consume(count, 15)
        consumer.close()
        return [from_headers(one.headers(), key=one.key(), value=one.value()) for one in found]  # type: ignore[arg-type]


@pytest.fixture
def pipeline(kafka: Any, namespace: Any, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka.bootstrap, topic_prefix.rstrip("."), namespace.url, tmp_path)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            worker.kill()
        worker.wait(10)


@pytest.fixture
def store(namespace: Any) -> Iterator[BlazegraphStore]:
    opened = BlazegraphStore(namespace.url)
    yield opened
    opened.close()


def test_a_worker_that_is_killed_in_mid_run_gives_the_same_graph_after_its_restart(
    pipeline: Pipeline, store: BlazegraphStore, steps: Steps, until: Until
) -> None:
    messages = [steps(number, events=20) for number in range(300)]
    pipeline.produce([encode_identified(one) for one in messages])
    small = {"HEADSTREAM_SINK_BATCH_TRIPLES": "1500"}
    for share in (0.1, 0.4):
        worker = pipeline.start(**small)
        until(lambda: store.size() > share * 60_000, 40)  # noqa: B023
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
        assert store.size() < 60_000
    worker = pipeline.start(**small)
    recovery = until(lambda: sum(pipeline.committed()) == 300, 40)
    assert recovery < 30
    assert difference((render(one.facts, BASE) for one in messages), store.dump()).counts == [0, 0]
    worker.terminate()
    assert worker.wait(10) == 0


def test_sigterm_drains_commits_and_ends_within_ten_seconds(
    pipeline: Pipeline, namespace: Any, store: BlazegraphStore, steps: Steps, until: Until
) -> None:
    """Told to end amid a write, with all that came meanwhile read and waiting behind it."""
    freshness, (port,) = pipeline.folder / "freshness", free_ports(1)

    def read() -> bool:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        return "headstream_sink_events_in_total 150.0" in text

    with HttpProxy(namespace.base) as proxy:
        worker = pipeline.start(
            HEADSTREAM_STORE_URL=namespace.url.replace(namespace.base, f"{proxy.url}/blazegraph"),
            HEADSTREAM_METRICS_PORT=str(port),
            HEADSTREAM_FRESHNESS_LOG=str(freshness),
        )
        until(lambda: (pipeline.folder / "ready").exists(), 40)
        proxy.fault("slow", times=1, seconds=6)
        pipeline.produce([encode_identified(steps(0))])
        until(lambda: proxy.faulted == 1, 20)
        pipeline.produce([encode_identified(steps(number)) for number in range(1, 30)])
        until(read, 20)
        assert store.size() == 0
        started = time.monotonic()
        worker.terminate()
        assert worker.wait(12) == 0
        assert time.monotonic() - started < 10
    assert sum(pipeline.committed()) == 30 and store.size() == 1500
    assert len(freshness.read_text().splitlines()) == 150
    assert not (pipeline.folder / "ready").exists()
    assert re.search(r"batch written events=145 triples=1450", pipeline.log())


def test_undecodable_bytes_are_dead_lettered_with_headers_and_the_stream_goes_on(
    pipeline: Pipeline, store: BlazegraphStore, steps: Steps, until: Until
) -> None:
    pipeline.create(pipeline.topics.dead_letters)
    good = encode_identified(steps(1))
    illegal = encode_identified(steps(2, poison="a b"))
    pipeline.produce([b"garbage", illegal, good, good + b"trailing", b"", good])
    (port,) = free_ports(1)
    pipeline.start(HEADSTREAM_METRICS_PORT=str(port))
    until(lambda: sum(pipeline.committed()) == 6, 30)
    shown = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert 'headstream_sink_dead_letters_total{reason="undecodable"} 3.0' in shown
    assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    letters = pipeline.dead_letters(4)
    assert sorted((one.origin.partition, one.origin.offset, one.reason, one.error) for one in letters) == [
        (0, 0, "undecodable", "UnknownFraming"),
        (0, 1, "undecodable", "MalformedMessage"),
        (1, 0, "illegal-fact", "IllegalFact"),
        (1, 1, "undecodable", "UnknownFraming"),
    ]
    for one in letters:
        assert (one.key, one.stage, one.attempt) == (b"w/r", "sink", 1)
        assert one.origin.topic == pipeline.topics.identified and one.message and one.at
    (kept,) = (one for one in letters if one.reason == "illegal-fact")
    assert decode_identified(kept.value).counts == (10,)
    assert {one.value for one in letters if one is not kept} == {b"garbage", good + b"trailing", b""}
    assert store.size() == 50 + 40
    assert "garbage" not in pipeline.log()


def test_dead_letters_that_cannot_be_written_stop_the_stream_until_they_can(
    pipeline: Pipeline, store: BlazegraphStore, steps: Steps, until: Until
) -> None:
    pipeline.produce([b"garbage"] + [encode_identified(steps(number)) for number in range(8)])
    (port,) = free_ports(1)
    pipeline.start(HEADSTREAM_METRICS_PORT=str(port))

    def asked(path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}/{path}", trust_env=False)

    until(lambda: "tried in vain" in pipeline.log(), 40)
    assert asked("readyz").status_code == 503 and "dead-letter topic" in asked("readyz").text
    assert "headstream_sink_blocked 1.0" in asked("metrics").text
    assert pipeline.committed()[0] == 0  # Where the garbage lies.
    pipeline.create(pipeline.topics.dead_letters)
    until(lambda: sum(pipeline.committed()) == 9, 40)
    assert asked("readyz").status_code == 200
    assert "headstream_sink_blocked 0.0" in asked("metrics").text
    (letter,) = pipeline.dead_letters(1)
    assert letter.value == b"garbage"
    assert store.size() == 400


def test_two_workers_share_the_partitions_and_neither_loses_an_event(
    pipeline: Pipeline, steps: Steps, until: Until
) -> None:
    """Workers join and leave while messages come in; the store is theirs together."""
    store, workers = OxigraphStore(), []

    def join() -> tuple[Sink, threading.Event, threading.Thread]:
        stop = threading.Event()
        source = KafkaSource(
            {"bootstrap.servers": pipeline.bootstrap},
            pipeline.topics.identified,
            group=pipeline.group,
            session_seconds=6,
        )
        sink = Sink(
            source=source,
            store=store,
            dead_letters=MemoryDeadLetters(),
            base=BASE,
            stop=stop,
            limits=Limits(triples=500),
        )
        source.revoked = sink.revoked
        thread = threading.Thread(target=sink.run)
        thread.start()
        workers.append((stop, thread))
        until(lambda: source.joined and source.assigned, 30)
        return sink, stop, thread

    messages = [steps(number) for number in range(400)]
    try:
        _, first_stop, first_thread = join()
        pipeline.produce([encode_identified(one) for one in messages[:150]])
        join()
        pipeline.produce([encode_identified(one) for one in messages[150:300]])
        first_stop.set()
        first_thread.join(15)
        pipeline.produce([encode_identified(one) for one in messages[300:]])
        until(lambda: sum(pipeline.committed()) == 400, 40)
        assert graph_hash(store.dump()) == graph_hash(render(one.facts, BASE) for one in messages)
    finally:
        for stop, thread in workers:
            stop.set()
            thread.join(15)
            assert not thread.is_alive()


class SlowStore(MemoryStore):
    """The first write takes longer than a member of the group may go without polling."""

    def write(self, ntriples: bytes) -> Written:
        if not self.requests:
            time.sleep(9)
        return super().write(ntriples)


def test_a_slow_write_costs_no_rebalance(pipeline: Pipeline, steps: Steps, until: Until) -> None:
    stop, revoked = threading.Event(), list[bool]()
    source = KafkaSource(
        {"bootstrap.servers": pipeline.bootstrap},
        pipeline.topics.identified,
        group=pipeline.group,
        session_seconds=6,
        poll_seconds=6,
    )
    store = SlowStore()
    sink = Sink(
        source=source,
        store=store,
        dead_letters=MemoryDeadLetters(),
        base=BASE,
        stop=stop,
        limits=Limits(triples=500),
    )
    source.revoked = lambda partitions, lost: revoked.append(lost)
    pipeline.produce([encode_identified(steps(number)) for number in range(400)])
    thread = threading.Thread(target=sink.run)
    thread.start()
    try:
        until(lambda: sum(pipeline.committed()) == 400, 40)
        assert store.size() == 20_000
        assert not revoked
        until(lambda: {lag.messages for lag in source.lag().values()} == {0}, 20)
    finally:
        stop.set()
        thread.join(15)


class Member:
    """A source that is polled in a thread, and the partitions that came to it and went."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self.source = KafkaSource(
            {"bootstrap.servers": pipeline.bootstrap},
            pipeline.topics.identified,
            group=pipeline.group,
            instance=name,
            session_seconds=30,
        )
        self.gone: list[frozenset[tuple[str, int]]] = []
        self.source.revoked = lambda partitions, lost: self.gone.append(partitions)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self.source.poll(0.1)

    def end(self) -> frozenset[tuple[str, int]]:
        """What it had when it ended."""
        self._stop.set()
        self._thread.join(15)
        had = self.source.assigned
        self.source.revoked = lambda partitions, lost: None
        self.source.close(1)
        return had


def test_static_members_come_back_to_their_partitions_and_nobody_elses_move(
    pipeline: Pipeline, until: Until
) -> None:
    """Two workers are restarted one after the other, as a rolling update does."""
    members = {name: Member(pipeline, name) for name in ("a", "b")}
    try:
        until(lambda: sum(len(each.source.assigned) for each in members.values()) == PARTITIONS, 30)
        until(lambda: all(each.source.assigned for each in members.values()), 30)
        for each in members.values():
            each.gone.clear()
        for name in ("a", "b"):
            had = members[name].end()
            members[name] = Member(pipeline, name)
            until(lambda: members[name].source.assigned == had, 20)  # noqa: B023
        assert not [each.gone for each in members.values() if each.gone]
        assert sum(len(each.source.assigned) for each in members.values()) == PARTITIONS
    finally:
        for each in members.values():
            each.end()


def test_a_worker_shows_freshness_lag_and_repeats_and_logs_the_run_of_what_it_refuses(
    pipeline: Pipeline, store: BlazegraphStore, steps: Steps, until: Until
) -> None:
    pipeline.create(pipeline.topics.dead_letters)
    (port,) = free_ports(1)
    illegal = steps(8, run="run-2", poison="a b")
    pipeline.produce([encode_identified(steps(number)) for number in range(9)] + [encode_identified(illegal)])
    pipeline.produce([encode_identified(steps(0)), b"", b"canary"])  # Bag 0 again, behind bags 3 and 6.
    pipeline.start(HEADSTREAM_METRICS_PORT=str(port), HEADSTREAM_LOG_FORMAT="json")

    def shown(name: str, **labels: str) -> float | None:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"headstream_sink_{name}" and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    until(lambda: sum(pipeline.committed()) == 13, 30)
    assert shown("events_in_total") == 54 and shown("events_total") == 54
    assert shown("duplicate_messages_total") == 1
    assert shown("freshness_seconds_count", stage="total") == 54
    assert shown("freshness_seconds_count", stage="stored") == 54
    until(lambda: shown("lag_messages") == shown("lag_seconds") == 0, 20)
    lines = [json.loads(line) for line in pipeline.log().splitlines()]
    told = [line for line in lines if line["message"] == "refused"]
    assert [line["run"] for line in told if line["reason"] == "illegal-fact"] == ["w/r"]
    undecodable = [line for line in told if line["reason"] == "undecodable"]
    assert {line["topic"] for line in undecodable} == {pipeline.topics.identified}
    assert sum(line["letters"] for line in undecodable) == 2  # In one batch or in two.
    assert "canary" not in pipeline.log()


def test_a_commit_that_fails_is_tried_again_though_nothing_more_comes(
    pipeline: Pipeline, steps: Steps, until: Until
) -> None:
    pipeline.produce([encode_identified(steps(number)) for number in range(PARTITIONS)])
    failed: list[bool] = []
    source = KafkaSource(
        {"bootstrap.servers": pipeline.bootstrap},
        pipeline.topics.identified,
        group=pipeline.group,
        commit_failed=lambda: failed.append(True),
    )
    read: dict[tuple[str, int], int] = {}

    def all_read() -> bool:
        for message in source.poll(0.1):
            read[(message.origin.topic, message.origin.partition)] = message.origin.offset + 1
        return len(read) == PARTITIONS

    until(all_read, 60)
    # What the broker says of a commit that meets a rebalance (seen under `make test-faults`).
    generation = KafkaError(KafkaError.ILLEGAL_GENERATION)
    source._on_commit(generation, [TopicPartition(*place, end) for place, end in read.items()])
    asker = Consumer({"bootstrap.servers": pipeline.bootstrap, "group.id": pipeline.group})

    def committed() -> bool:
        assert source.poll(0.05) == ()
        found = asker.committed([TopicPartition(*place) for place in read], timeout=10)
        return {(one.topic, one.partition): one.offset for one in found} == read

    until(committed, 60)
    assert failed == [True]
    source.close(5)
    asker.close()
