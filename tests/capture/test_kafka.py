"""A real broker gets everything that was spooled, whether it was there at the time or not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headstream import capture
from headstream.capture import Settings
from headstream.capture.reading import spools
from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.schemas.codec import decode_bag, decode_document
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_count
from headstream.schemas.topics import Topics, run_key

PLAN = {"dataflow_name": "w", "data_transformations": {"t": {}}}


def _topics(bootstrap: str, prefix: str) -> Topics:
    topics = Topics(prefix.rstrip("."))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics([NewTopic(topics.events, 4, 1), NewTopic(topics.definitions, 1, 1)])
    for future in made.values():
        future.result(30)
    return topics


def _all(bootstrap: str, topic: str) -> list[tuple[bytes, bytes, int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "t", "enable.auto.commit": False})
    parts = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    found = []
    for number in parts:
        consumer.assign([TopicPartition(topic, number, 0)])
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
        while high > 0:
            message = consumer.poll(10)
            assert message is not None and message.error() is None
            found.append((message.key(), message.value(), number))
            if message.offset() >= high - 1:
                break
    consumer.close()
    return found


def _bags(bootstrap: str, topics: Topics) -> list[Bag]:
    return [decode_bag(value) for _, value, _ in _all(bootstrap, topics.events)]


def _count(bags: list[Bag]) -> int:
    return sum(event_count(e) for bag in bags for e in bag.events)


def _script(spool: Path, bootstrap: str, topics: Topics, body: str = "", **more: str) -> Any:
    text = f"""
import os, sys
from headstream import capture
with capture.workflow("w", execution="e1", definition={PLAN!r}) as run:
    for turn in run.loop("b", range(300), index_as="i"):
        turn.generated(loss=0.5)
    for n in range(100):
        run.task("t", used={{"n": n}}).begin().end()
{body}
"""
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_BOOTSTRAP": bootstrap,
        "HEADSTREAM_TOPIC_PREFIX": topics.prefix,
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
        **more,
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    return done, time.monotonic() - started


def test_a_script_ships_by_itself_before_it_exits(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    done, _ = _script(tmp_path / "s", kafka.bootstrap, topics)
    assert (done.returncode, done.stderr) == (0, "")
    bags = _bags(kafka.bootstrap, topics)
    assert _count(bags) == 2 + 600 + 200 and spools(tmp_path / "s") == []
    assert [b.sequence for b in bags] == sorted(b.sequence for b in bags)
    keys = {(key, partition) for key, _, partition in _all(kafka.bootstrap, topics.events)}
    assert len(keys) == 1 and next(iter(keys))[0] == run_key("w", "e1")
    # At least once: a shipper that is told to stop while it waits publishes again.
    ((key, value, _),) = set(_all(kafka.bootstrap, topics.definitions))
    document = decode_document(value)
    assert isinstance(document, Document) and key == document.key.encode()
    assert {b.definition for b in bags} == {document.content_hash}


def test_diskless_capture_reaches_the_broker(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    done, _ = _script(tmp_path / "s", kafka.bootstrap, topics, HEADSTREAM_SPOOL="off")
    assert (done.returncode, done.stderr) == (0, "")
    assert _count(_bags(kafka.bootstrap, topics)) == 802


def test_a_broker_that_is_away_costs_nothing_but_the_deadline(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    done, seconds = _script(tmp_path / "s", "127.0.0.1:9", topics, "sys.exit(3)", HEADSTREAM_EXIT_SECONDS="1")
    assert done.returncode == 3 and seconds < 15
    assert done.stderr.count("\n") == 1 and "headstream ship" in done.stderr
    assert len(spools(tmp_path / "s")) == 1
    transport = KafkaTransport(kafka.bootstrap, topics)
    shipped = ship(tmp_path / "s", transport, timeout=60)
    transport.close()
    assert shipped.waiting == 0 and spools(tmp_path / "s") == []
    assert _count(_bags(kafka.bootstrap, topics)) == 802


@pytest.mark.parametrize("shipper", ["process", "thread"])
def test_children_of_a_fork_ship_what_they_say_and_nothing_of_their_parent(
    shipper: str, kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    body = """
    children = []
    for n in range(4):
        pid = os.fork()
        if pid == 0:
            for turn in run.loop("c", range(1000)):
                turn.generated(loss=0.5)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""
    done, _ = _script(tmp_path / "s", kafka.bootstrap, topics, body, HEADSTREAM_SHIPPER=shipper)
    assert (done.returncode, done.stderr) == (0, "")
    transport = KafkaTransport(kafka.bootstrap, topics)
    ship(tmp_path / "s", transport, timeout=60)
    transport.close()
    bags = _bags(kafka.bootstrap, topics)
    tasks = {
        f"{e.prefix}{o}{e.suffix}"
        for bag in bags
        for e in bag.events
        if type(e).__name__ == "IterationBlock" and e.transformation == "c"
        for o in e.ordinals
    }
    assert len(tasks) == 4000 and spools(tmp_path / "s") == []
    # One producer a process; whoever ships it, each of its bags arrives once, and once only.
    sent = [(bag.producer, bag.sequence) for bag in bags]
    assert len(set(sent)) == len(sent) and len({producer for producer, _ in sent}) == 5
    assert _count(bags) == 802 + 8000


def test_a_worker_of_multiprocessing_without_a_disk_ships_before_it_ends(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    body = """
    import multiprocessing
    def work():
        for turn in run.loop("c", range(100)):
            turn.generated(loss=0.5)
    workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
"""
    done, _ = _script(
        tmp_path / "s", kafka.bootstrap, topics, body, HEADSTREAM_SPOOL="off", HEADSTREAM_EXIT_SECONDS="30"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _count(_bags(kafka.bootstrap, topics)) == 802 + 400


def test_a_bag_that_is_too_large_goes_in_pieces(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    topics = _topics(kafka.bootstrap, topic_prefix)
    with capture.workflow("w", settings=Settings(spool=tmp_path / "s", git=False, packages=False)) as run:
        for n in range(30):
            run.task("t", used={"text": str(n) * 100_000}).begin().end()
        for turn in run.loop("b", range(500)):
            turn.generated(loss=0.5)
    transport = KafkaTransport(kafka.bootstrap, topics)
    assert ship(tmp_path / "s", transport, timeout=60).waiting == 0
    transport.close()
    assert _count(_bags(kafka.bootstrap, topics)) == 2 + 60 + 1000
    assert capture.losses() == {}


def test_a_topic_that_comes_later_gets_everything(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    with capture.workflow("w", settings=Settings(spool=tmp_path / "s", git=False, packages=False)):
        pass
    topics = Topics(topic_prefix.rstrip("."))
    transport = KafkaTransport(
        kafka.bootstrap,
        topics,
        options={"topic.metadata.propagation.max.ms": 500, "topic.metadata.refresh.interval.ms": 500},
    )
    assert ship(tmp_path / "s", transport, timeout=3).waiting == 1
    _topics(kafka.bootstrap, topic_prefix)
    deadline = time.monotonic() + 60
    while transport.flush(0.5) and time.monotonic() < deadline:
        pass
    assert _count(_bags(kafka.bootstrap, topics)) == 2
    transport.close()
