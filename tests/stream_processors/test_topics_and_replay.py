"""Topics, definitions, parked bags and replay on a real broker, without a worker."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import CollectorRegistry
from tests.stream_processors.conftest import Stream

from headstream.schemas.codec import decode_identified, encode_bag
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import Document, document
from headstream.schemas.events import Bag, RunStarted, StepRef, StepStarted
from headstream.schemas.facts import Identified, Origin
from headstream.schemas.topics import Topics
from headstream.stream_processors import topics
from headstream.stream_processors.agents import BagWork
from headstream.stream_processors.dead_letters import Outgoing, Sender
from headstream.stream_processors.definitions import DefinitionReader
from headstream.stream_processors.errors import (
    DefinitionsUnavailable,
    InvalidSelection,
    RetentionExpired,
    TopicsUnusable,
)
from headstream.stream_processors.handling import Incoming, handle_bag
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.parked import Redrive
from headstream.stream_processors.replay import replay_topics
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.tracker import track

ORIGIN = Origin(topic="t", partition=0, offset=0)
DEFINITION = parse_definition(
    {"dataflow_name": "w", "data_transformations": {"train": {"type": "FeatureExtraction"}}}
)


def bag(execution: str, definition: str | None = DEFINITION.content_hash) -> Bag:
    return Bag(
        workflow="w",
        execution=execution,
        definition=definition,
        events=(RunStarted(started=1), StepStarted(step=StepRef("train", "1"), started=2)),
    )


def facts(found: list[Identified]) -> set:
    return {fact for item in found for fact in item.facts}


def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


class Answered:
    """A producer that keeps what it is given; `before` runs before the broker's answer."""

    def __init__(self, before=lambda message: None) -> None:
        self.sent: list[Outgoing] = []
        self._before = before

    async def __call__(self, message: Outgoing):
        self._before(message)
        self.sent.append(message)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@pytest.fixture
def reader(stream):
    made = DefinitionReader(stream.settings, metrics())
    made.start(30)
    yield made
    made.stop()


def test_topics_are_made_once_and_then_there_is_nothing_to_say(kafka, topic_prefix: str) -> None:
    settings = Settings(bootstrap=kafka.bootstrap, topics=Topics(topic_prefix), partitions=3)
    assert len(topics.check(settings)) == 4
    assert len(topics.create(settings)) == 4
    assert topics.create(settings) == []
    assert topics.check(settings) == []


def test_a_topic_that_would_lose_messages_is_named(kafka, topic_prefix: str) -> None:
    names = Topics(topic_prefix)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    made = admin.create_topics(
        [
            NewTopic(names.definitions, num_partitions=2, replication_factor=1),
            NewTopic(names.events, 2, 1, config={"retention.ms": "86400000", "retention.bytes": "1000"}),
            NewTopic(names.dead_letters, 2, 1, config={"min.insync.replicas": "2"}),
            NewTopic(names.identified, 1, 1, config={"max.message.bytes": "1000"}),
        ],
        operation_timeout=20,
    )
    for future in made.values():
        future.result()
    settings = Settings(bootstrap=kafka.bootstrap, topics=names, partitions=2, replication=3)
    said = ""

    def known() -> bool:  # The broker learns of them a moment after the controller has made them.
        nonlocal said
        said = "\n".join(topics.check(settings))
        return "does not exist" not in said

    Stream.await_(known, 20)
    assert f"{names.definitions} has cleanup.policy=delete, but needs compact" in said
    assert f"{names.definitions} has 2 partitions" in said
    assert f"{names.events} keeps messages for 1 days only" in said
    assert f"{names.events} is cut at 1000 bytes" in said
    assert f"{names.dead_letters} takes messages of 1048588 bytes at most" in said
    assert f"{names.dead_letters} keeps messages for 7 days only" in said
    assert f"{names.dead_letters} wants 2 replicas in sync (min.insync.replicas) and has 1" in said
    assert f"{names.identified} takes messages of 1000 bytes at most" in said
    assert f"{names.identified} has 1 partitions, not 2" in said
    assert said.count(" has 1 replicas, not 3") == 4
    assert len(said.splitlines()) == 13


def test_topics_of_three_replicas_want_two_of_them_in_sync() -> None:
    wanted = {plan.config["min.insync.replicas"] for plan in topics.plans(Settings(replication=3))}
    assert wanted == {"2"}
    assert {plan.config["min.insync.replicas"] for plan in topics.plans(Settings())} == {"1"}


def test_a_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_TIMEOUT", 0.5)
    with pytest.raises(TopicsUnusable, match=r"127\.0\.0\.1:1 .*HEADSTREAM_BOOTSTRAP"):
        topics.create(Settings(bootstrap="127.0.0.1:1"))


def test_every_definition_is_known_before_the_work_begins(stream) -> None:
    for number in range(300):
        stream.document(document(replace(DEFINITION, description=str(number))))
    stream.send(stream.settings.topics.definitions, b"bad", b"garbage")
    stream.document(Document(kind="definition", name="x", body="{}"))
    stream.send(stream.settings.topics.definitions, b"gone", None)
    stream.flush()
    made = DefinitionReader(stream.settings, metrics())
    made.start(30)
    try:
        for number in range(300):
            wanted = replace(DEFINITION, description=str(number))
            assert made.get(wanted.content_hash) == wanted
    finally:
        made.stop()


def test_a_definition_that_is_acknowledged_is_known_after_catching_up(stream, reader) -> None:
    for number in range(20):
        later = replace(DEFINITION, description=str(number))
        stream.document(document(later))
        stream.flush()
        assert reader.catch_up(10)
        assert reader.get(later.content_hash) == later


def test_an_unknown_definition_is_waited_for_once(stream, reader) -> None:
    async def waits() -> tuple[float, float]:
        times = [time.monotonic()]
        for _ in range(2):
            await reader.expect({"nowhere"})
            times.append(time.monotonic())
        return times[1] - times[0], times[2] - times[1]

    first, second = asyncio.run(waits())
    assert stream.settings.definition_wait <= first < stream.settings.definition_wait + 5
    assert second < 0.1


def test_a_worker_does_not_begin_without_the_definitions(kafka, topic_prefix: str) -> None:
    made = DefinitionReader(Settings(bootstrap=kafka.bootstrap, topics=Topics(topic_prefix)), metrics())
    with pytest.raises(DefinitionsUnavailable, match="was not read to its end"):
        made.start(1)


def test_a_definition_that_comes_while_its_bag_is_being_parked_is_not_missed(stream, reader) -> None:
    """The letter is acknowledged after the definition, so the scan for it may be over already."""
    sent = bag("1")

    def publish(message: Outgoing) -> None:
        if message.topic == stream.settings.topics.dead_letters:
            stream.document(document(DEFINITION))
            stream.flush()

    producer = Answered(before=publish)
    settings = replace(stream.settings, definition_wait=0.0)
    work = BagWork(settings, reader, Sender(producer, metrics()), metrics(), track)
    asyncio.run(work.finish([Incoming(origin=ORIGIN, key=b"w/1", value=encode_bag(sent))]))
    found = [decode_identified(m.value) for m in producer.sent if m.topic == settings.topics.identified]
    assert facts(found) >= set(track(sent, DEFINITION, ORIGIN).identified.facts)


def test_only_the_bags_that_wait_for_the_definition_are_sent_again(stream) -> None:
    names = stream.settings.topics
    waiting = [bag(str(number)) for number in range(250)]
    others = [bag("other", definition="f" * 64)]
    for item in waiting + others:
        incoming = Incoming(origin=ORIGIN, key=b"w/1", value=encode_bag(item))
        (letter,) = handle_bag(incoming, item, None, track=track, now=1).letters
        stream.producer.produce(
            names.dead_letters, key=b"w/1", value=letter.letter.value, headers=letter.headers
        )
    stream.send(names.dead_letters, b"k", b"somebody else's")
    stream.flush()
    producer = Answered()
    redrive = Redrive(stream.settings, Sender(producer, metrics()), metrics())
    hashes = frozenset({DEFINITION.content_hash})
    assert asyncio.run(redrive.send_again(hashes)) == 250
    assert {m.value for m in producer.sent} == {encode_bag(item) for item in waiting}
    assert {(m.topic, m.key) for m in producer.sent} == {(names.events, b"w/1")}
    assert asyncio.run(redrive.send_again(hashes)) == 0  # the definition is published for each run
    assert asyncio.run(redrive.send_again(frozenset({"f" * 64}) | hashes)) == 1


def test_a_replay_reads_definitions_first_and_stops_at_the_present_end(stream) -> None:
    for number in range(50):
        stream.bag(bag(str(number)))
    stream.send(stream.settings.topics.events, b"k", b"garbage")
    stream.document(document(DEFINITION))
    stream.flush()
    written: list[Identified] = []
    seen: list[tuple[int, int]] = []
    done = replay_topics(
        stream.settings, write=written.extend, progress=lambda now, total: seen.append((now, total))
    )
    assert (done.bags, done.events, done.documents, done.refused) == (50, 100, 1, {"undecodable": 1})
    expected = [track(bag(str(number)), DEFINITION, ORIGIN).identified for number in range(50)]
    assert facts(expected) <= facts(written)
    assert seen[-1] == (52, 52)
    one: list[Identified] = []
    assert (
        replay_topics(
            stream.settings, write=one.extend, selection=Selection(workflow="w", execution="7")
        ).bags
        == 1
    )
    assert {item.execution for item in one} == {"", "7"}


def test_a_replay_of_nothing_writes_nothing(stream) -> None:
    done = replay_topics(stream.settings, write=lambda found: pytest.fail("written"))
    assert done.facts == 0


def test_a_replay_after_retention_names_the_first_missing_offset(stream) -> None:
    names = stream.settings.topics
    stream.document(document(DEFINITION))
    for number in range(10):
        stream.producer.produce(names.events, key=b"k", value=encode_bag(bag(str(number))), partition=0)
    stream.flush()
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    for future in admin.delete_records([TopicPartition(names.events, 0, 4)]).values():
        future.result()
    written: list[Identified] = []
    with pytest.raises(
        RetentionExpired, match=r"\[0\] begins at offset 4: 0 to 3 are gone .*first missing offset 0"
    ):
        replay_topics(stream.settings, write=written.extend)
    assert written == []
    done = replay_topics(stream.settings, write=written.extend, allow_missing=True)
    assert (done.bags, dict(done.first_kept)) == (6, {0: 4})


def test_a_selection_behind_what_retention_deleted_is_not_concerned(stream) -> None:
    names = stream.settings.topics
    stream.document(document(DEFINITION))
    day = 24 * 3600 * 1000
    for number in range(10):
        stream.producer.produce(
            names.events,
            key=b"k",
            value=encode_bag(bag(str(number))),
            partition=0,
            timestamp=(100 + number) * day,
        )
    stream.flush()
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    for future in admin.delete_records([TopicPartition(names.events, 0, 4)]).values():
        future.result()
    written: list[Identified] = []

    def replayed(**chosen) -> int:
        return replay_topics(stream.settings, write=written.extend, selection=Selection(**chosen)).bags

    assert replayed(first={0: 4}) == 6
    assert replayed(first={0: 5}, last={0: 7}) == 2
    with pytest.raises(RetentionExpired, match="3 to 3 are gone"):
        replayed(first={0: 3})
    # Kafka's time stands for the events' where none is left: a day for clocks that differ.
    micro = day * 1000
    with pytest.raises(RetentionExpired, match="0 to 3 are gone"):
        replayed(since=105 * micro)
    assert replayed(since=105 * micro + 1000) == 0, "all happened in 1970, and offset 4 is told too old"
    with pytest.raises(InvalidSelection, match="ends at offset 10"):
        replayed(last={0: 11})
    with pytest.raises(InvalidSelection, match="has the partitions 0, 1"):
        replayed(first={7: 0})


def test_a_hole_in_the_topic_is_named_and_never_passed_over(stream) -> None:
    names = stream.settings.topics
    producer = Producer({"bootstrap.servers": stream.settings.bootstrap, "transactional.id": names.events})
    producer.init_transactions(30)
    for number in range(2):  # The marker that ends a transaction takes an offset and is no message.
        producer.begin_transaction()
        producer.produce(names.events, key=b"k", value=encode_bag(bag(str(number), None)), partition=1)
        producer.commit_transaction(30)
    written: list[Identified] = []
    with pytest.raises(RetentionExpired, match=r"\[1\] has no offset 1 to 1"):
        replay_topics(stream.settings, write=written.extend)
    assert replay_topics(stream.settings, write=written.extend, allow_missing=True).bags == 2
