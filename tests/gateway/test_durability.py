"""What is answered is durable: in Kafka, or in the spool while the broker is away, whatever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture.gateway.provlake import Translator, read_log
from headstream.capture.gateway.scope import note
from headstream.capture.reading import read, spools
from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.transports.memory import MemoryTransport
from headstream.gateway.errors import NotKept
from headstream.gateway.filed_letters import FiledLetters
from headstream.gateway.keeping import Keeper, Parcel, Through
from headstream.gateway.metrics import Metrics
from headstream.gateway.remembering import Notes
from headstream.gateway.spooling import SpoolTransport
from headstream.schemas.codec import decode_bag, decode_document, encode_document
from headstream.schemas.dead_letters import DROPPED, GATEWAY, from_headers
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import Document, document
from headstream.schemas.events import Bag, RunEnded, RunStarted
from headstream.schemas.facts import DeadLetter, Origin
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports
from headstream.sinks.dead_letters import FileDeadLetters, MemoryDeadLetters, Settlements, read_letters
from headstream.sinks.errors import DeadLettersUnavailable

from .conftest import Gateway

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
MESSAGES = list(read_log((EXAMPLE / "events.jsonl").read_text("utf-8").splitlines()))


def begin(run: str) -> dict[str, object]:
    body = {"wf_execution": run, "startTime": 1.5}
    return {"prov_obj": body, "dataflow_name": "W", "act_type": "workflow"}


def spooled(root: Path) -> list[Bag]:
    return [each for path in spools(root) for each in read(path) if isinstance(each, Bag)]


def test_what_was_answered_is_in_the_spool_of_a_gateway_that_is_killed_at_once(gateway: Gateway) -> None:
    gateway.start()
    for number in range(20):
        assert gateway.post([begin(f"r{number}")]) == []
    gateway.kill()
    assert {bag.execution for bag in spooled(gateway.data / "spool")} == {f"r{n}" for n in range(20)}


def test_a_gateway_that_is_told_to_stop_ends_well_and_leaves_whole_spools(gateway: Gateway) -> None:
    gateway.env["HEADSTREAM_LOG_FORMAT"] = "json"
    gateway.start()
    gateway.post([begin("r"), {}])
    gateway.stop()
    said = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert [line["message"] for line in said if line["logger"].startswith("headstream.gateway")] == [
        "gateway begins",
        "gateway ends",
    ]
    (path,) = spools(gateway.data / "spool")
    assert "left" in (path / "owner").read_text()


def test_a_spool_without_room_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    settings = CaptureSettings(spool=tmp_path / "spool", spool_bytes=300 << 10)
    transport = SpoolTransport(settings, "test")
    small = Bag(workflow="W", execution="r", events=(RunStarted(started=1),))
    transport.send(small)
    assert transport.flush(0) == 0
    large = RunEnded(started=1, ended=2, outcome="FINISHED", output="x" * 400_000)
    transport.send(Bag(workflow="W", execution="r", events=(large,)))
    assert transport.flush(0) == 1
    transport.close()
    assert spooled(tmp_path / "spool")[0].events == small.events


def test_a_folder_in_which_no_spool_can_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    transport = SpoolTransport(CaptureSettings(spool=tmp_path / "spool"), "test")
    with pytest.raises(NotKept):
        transport.send(Bag(workflow="W", execution="r", events=(RunStarted(started=1),)))
    assert transport.unready() is not None


@given(st.integers(0, len(MESSAGES)), st.integers(0, 10**9))
def test_notes_give_the_scope_again_wherever_a_gateway_is_killed(cut: int, seed: int) -> None:
    whole, before = Translator(), Translator()
    expected = [whole.translate(message) for message in MESSAGES]
    kept: dict[tuple[str, str], list[object]] = {}
    for message in MESSAGES[:cut]:
        said = before.translate(message)
        for event in said.events:
            noted = note(event)
            if noted is not None:
                kept.setdefault((said.workflow, said.execution), []).append(json.loads(json.dumps(noted)))
    after = Translator(recall=lambda *run: kept.get(run, []))
    assert [after.translate(message) for message in MESSAGES[cut:]] == expected[cut:]


def test_notes_survive_a_torn_line_and_are_deleted_when_nobody_has_heard_of_the_run(tmp_path: Path) -> None:
    notes, translator = Notes(tmp_path), Translator()
    said = [translator.translate(message) for message in MESSAGES]
    assert notes.keep(said[:20]) == 0
    for path in tmp_path.iterdir():
        with path.open("ab") as file:
            file.write(b'["torn')
    assert notes.keep(said[20:]) == 0
    told = [n for each in said for event in each.events if (n := note(event)) is not None]
    runs = {(each.workflow, each.execution) for each in said}
    recalled = [found for run in runs for found in notes.recall(*run)]
    assert sorted(map(json.dumps, recalled)) == sorted(map(json.dumps, told))
    assert notes.forget_older(60.0) == 0
    assert notes.forget_older(60.0, now=9e9) == len(runs)
    assert list(notes.recall(*runs.pop())) == []


def test_notes_of_an_earlier_version_with_a_line_for_each_are_read_as_those_of_a_bag(tmp_path: Path) -> None:
    notes, translator = Notes(tmp_path), Translator()
    said = [translator.translate(message) for message in MESSAGES]
    assert notes.keep(said) == 0
    run = (said[0].workflow, said[0].execution)
    now = list(notes.recall(*run))
    assert len(now) > 1
    for path in tmp_path.iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines() if line]
        path.write_text("".join(f"\n{json.dumps(note)}\n" for line in lines for note in line))
    assert list(notes.recall(*run)) == now


@pytest.fixture(scope="module")
def broker(artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaService]:
    """A broker of this module's own, which it stops and starts."""
    service = KafkaService(tmp_path_factory.mktemp("kafka"), *free_ports(2))
    service.start()
    yield service
    service.stop()


def start_beside(broker: KafkaService, gateway: Gateway, topic_prefix: str) -> str:
    """Start the gateway with a broker; the prefix of its topics."""
    prefix = topic_prefix.rstrip(".")
    make_topics(broker.bootstrap, prefix)
    gateway.env |= {
        "HEADSTREAM_BOOTSTRAP": broker.bootstrap,
        "HEADSTREAM_TOPIC_PREFIX": prefix,
        "HEADSTREAM_GATEWAY_ACK_SECONDS": "2",
    }
    gateway.start()
    return prefix


@pytest.mark.services
def test_kafka_has_what_was_answered_and_the_spool_while_the_broker_is_away(
    broker: KafkaService, gateway: Gateway, topic_prefix: str
) -> None:
    prefix = start_beside(broker, gateway, topic_prefix)
    plan = {"dataflow_name": "W", "description": "by the gateway"}
    assert gateway.ask("POST", "/prospective-provenance", plan).status == 201
    assert len(gateway.post([begin("r1"), {}])) == 1
    assert gateway.counted("headstream_gateway_events_total", where="kafka") == 1
    (bag,) = [decode_bag(each.value()) for each in messages(broker.bootstrap, f"{prefix}.events")]
    (published,) = [decode_document(m.value()) for m in messages(broker.bootstrap, f"{prefix}.definitions")]
    assert (bag.execution, bag.definition) == ("r1", published.content_hash)
    (letter,) = messages(broker.bootstrap, f"{prefix}.dead-letters")
    found = from_headers(letter.headers(), key=letter.key(), value=letter.value())
    assert (found.stage, found.reason, found.value) == ("gateway", "bad-message", b"{}")

    other = document(parse_definition({**plan, "description": "by headstream define"}))
    publish(broker.bootstrap, f"{prefix}.definitions", other)
    gateway.until(
        lambda: gateway.post([begin("r1")]) == [] and named(broker, prefix) == other.content_hash,
        "a bag names the definition that somebody else has published",
    )

    broker.stop()
    kept = gateway.counted("headstream_gateway_events_total", where="spool")
    assert gateway.post([begin("r2")]) == []
    assert gateway.counted("headstream_gateway_events_total", where="spool") == kept + 1
    assert gateway.counted("headstream_gateway_broker_away") == 1
    assert [bag.execution for bag in spooled(gateway.data / "spool")] == ["r2"]
    gateway.kill()

    broker.start()
    gateway.start()
    gateway.until(lambda: not spools_left(gateway), "what was spooled is in Kafka")
    assert gateway.post([begin("r3")]) == []
    runs = {decode_bag(each.value()).execution for each in messages(broker.bootstrap, f"{prefix}.events")}
    assert runs == {"r1", "r2", "r3"}
    gateway.stop()


@pytest.mark.services
def test_after_an_outage_a_gateway_goes_back_to_kafka_by_itself_and_brings_it_what_it_kept(
    broker: KafkaService, gateway: Gateway, topic_prefix: str
) -> None:
    prefix = start_beside(broker, gateway, topic_prefix)
    assert gateway.post([begin("before")]) == []
    process = gateway.process

    broker.stop()
    assert len(gateway.post([begin("outage"), {"refused": 1}])) == 1
    assert len(gateway.post([begin("spooled alone"), {"refused": 2}])) == 1
    assert gateway.counted("headstream_gateway_broker_away") == 1
    filed = [each.value for each in read_letters(gateway.data / "gateway-dead-letters")]
    assert filed == [b'{"refused": 1}', b'{"refused": 2}']

    broker.start()
    acknowledged = gateway.counted("headstream_gateway_events_total", where="kafka")
    gateway.until(
        lambda: (
            gateway.post([begin("after")]) == []
            and gateway.counted("headstream_gateway_events_total", where="kafka") > acknowledged
        ),
        "what comes after the outage is acknowledged by Kafka",
    )
    assert gateway.counted("headstream_gateway_broker_away") == 0
    gateway.until(lambda: not spools(gateway.data / "spool"), "the spools of the outage are brought and gone")
    runs = {decode_bag(each.value()).execution for each in messages(broker.bootstrap, f"{prefix}.events")}
    assert runs == {"before", "outage", "spooled alone", "after"}
    gateway.until(lambda: len(letters(broker, prefix)) >= len(filed), "the filed letters are in their topic")
    settled = Settlements(gateway.data / "gateway-dead-letters-settled")
    gateway.until(lambda: len(settled.read()) == len(filed), "it is noted that they are")
    gateway.stop()
    assert gateway.process is process, "it was never started again"

    # What was brought is brought once: another start finds nothing to do, but for what comes new.
    gateway.start()
    assert len(gateway.post([{"refused": 3}])) == 1
    assert letters(broker, prefix) == [*filed, b'{"refused": 3}']
    gateway.stop()


def letters(broker: KafkaService, prefix: str) -> list[bytes]:
    return [each.value() for each in messages(broker.bootstrap, f"{prefix}.dead-letters")]


class Topic:
    """A topic of dead letters that may die after it has taken so many of them."""

    def __init__(self, most: int = 10**9) -> None:
        self.taken: list[DeadLetter] = []
        self.most = most

    def put(self, given: Sequence[DeadLetter]) -> None:
        if len(self.taken) + len(given) > self.most:
            raise DeadLettersUnavailable("the double has taken enough")
        self.taken += given

    def close(self) -> None:
        return None


def test_filed_letters_are_sent_when_the_broker_is_there_and_none_is_sent_twice_or_lost(
    tmp_path: Path,
) -> None:
    there = [False]
    file, topic = FileDeadLetters(tmp_path / "letters"), Topic(most=120)
    settlements = Settlements(tmp_path / "settled")
    filed = FiledLetters(file.path, settlements, lambda: topic, lambda: there[0])
    given = [letter(n) for n in range(250)]
    file.put(given)
    assert (filed.bring(), topic.taken) == (0, [])
    there[0] = True
    assert filed.bring() == 0, "the topic broke down in the middle"
    assert topic.taken == given[:100]
    topic.most = 10**9
    assert filed.bring() == 150
    assert topic.taken == given
    assert filed.bring() == 0
    file.put([letter(250)])
    again = FiledLetters(file.path, settlements, lambda: topic, lambda: True)  # After a restart.
    assert again.bring() == 1
    assert topic.taken == [*given, letter(250)]
    file.close()


def test_a_filed_letter_that_was_dropped_is_not_sent(tmp_path: Path) -> None:
    file, topic = FileDeadLetters(tmp_path / "letters"), Topic()
    file.put([letter(0), letter(1)])
    settlements = Settlements(tmp_path / "settled")
    (first, _), _ = file.numbered()
    settlements.put([first], DROPPED, 1)
    assert FiledLetters(file.path, settlements, lambda: topic, lambda: True).bring() == 1
    assert topic.taken == [letter(1)]
    file.close()


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        origin=Origin(topic="gateway:provlake", partition=0, offset=number),
        key=b"W/r",
        value=b"{}",
        stage=GATEWAY,
        reason="bad-message",
        error="Rejected",
        message="m",
        at=1,
    )


def spools_left(gateway: Gateway) -> list[Bag]:
    return spooled(gateway.data / "spool")


def publish(bootstrap: str, topic: str, published: Document) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, encode_document(published), published.key)
    assert producer.flush(60) == 0


def named(broker: KafkaService, prefix: str) -> str | None:
    """The definition that the last bag names."""
    return decode_bag(messages(broker.bootstrap, f"{prefix}.events")[-1].value()).definition


def make_topics(bootstrap: str, prefix: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [f"{prefix}.{name}" for name in ("events", "definitions", "dead-letters")]
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(60)


def messages(bootstrap: str, topic: str) -> list:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
    try:
        part = TopicPartition(topic, 0, 0)
        _, end = reader.get_watermark_offsets(part, timeout=60)
        reader.assign([part])
        found = []
        while len(found) < end:
            message = reader.poll(60)
            assert message is not None and message.error() is None
            found.append(message)
        return found
    finally:
        reader.close()


def test_a_keeper_that_is_closed_keeps_first_what_has_come_in_its_order() -> None:
    transport = MemoryTransport()
    keeper = Keeper(Through("spool", transport, MemoryDeadLetters(), seconds=1.0), Metrics())
    bags = [Bag(workflow="W", execution=f"r{n}", events=(RunStarted(started=n),)) for n in range(300)]
    kept = [keeper.keep(Parcel(bags=(bag,))) for bag in bags]
    kept[0].cancel()  # As a server does that ends before its answer: the others must not pay.
    keeper.start()
    keeper.close()
    assert all(each.done() and each.exception() is None for each in kept)
    assert transport.bags == bags
    assert transport.closed


def test_a_document_is_there_for_good_before_a_bag_that_names_it() -> None:
    transport = MemoryTransport(up=False)
    way = Through("kafka", transport, MemoryDeadLetters(), seconds=0.0)
    plan = document(parse_definition({"dataflow_name": "W"}))
    bag = Bag(workflow="W", execution="r", events=(RunStarted(started=1),), definition=plan.content_hash)
    with pytest.raises(NotKept):
        way.keep([Parcel(documents=(plan,), bags=(bag,))])
    transport.up = True
    transport.flush(0)
    assert (transport.documents, transport.bags) == ([plan], [])
