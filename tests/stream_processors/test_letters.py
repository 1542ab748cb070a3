"""Letters of a real topic: listed, sent again once the cause is mended, or dropped; none is lost."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from io import BytesIO

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from headstream.schemas import registry
from headstream.schemas.codec import MARKER, encode_bag
from headstream.schemas.dead_letters import DROPPED, REDRIVEN, RESENT, WAITING
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, RunStarted, StepEnded, StepRef
from headstream.schemas.facts import Fact, Identified, Origin
from headstream.schemas.values import AttributeValue, Reference
from headstream.schemas.vocabulary import FINISHED
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.statements import render
from headstream.stream_processors.errors import RedriveFailed
from headstream.stream_processors.letters import LetterTopic
from headstream.stream_processors.tracker import describe, track

BASE = "https://provml.example.org/id/"
NOWHERE = Origin(topic="", partition=0, offset=0)
DEFINITION = parse_definition(
    {"dataflow_name": "fit", "data_transformations": {"train": {"description": "the one that takes long"}}}
)


def bag(execution: str, *, outcome: str = FINISHED, values: tuple[AttributeValue, ...] = ()) -> Bag:
    ended = StepEnded(step=StepRef("train", "1"), started=1, ended=2, outcome=outcome, values=values)
    return Bag(
        workflow="fit",
        execution=execution,
        definition=DEFINITION.content_hash,
        events=(RunStarted(started=1), ended),
    )


def future_schema() -> str:
    """A bag as some later release may write it: with one more field."""
    raw = json.loads(registry.current("bag").text)
    raw["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})
    return json.dumps(raw)


def of_the_future(sent: Bag) -> bytes:
    """The bytes of a bag by that schema; nothing is learnt here."""
    whole = BytesIO(encode_bag(sent)[10:])
    record = schemaless_reader(whole, registry.current("bag").parsed, None, return_record_name=True)
    parsed = parse_schema(json.loads(future_schema()))
    out = BytesIO()
    schemaless_writer(out, parsed, {**record, "colour": "red"})
    mark = registry._schema("bag", future_schema()).fingerprint
    return MARKER + mark + out.getvalue()


def hash_of(facts: Sequence[Fact] | set[Fact]) -> str:
    return graph_hash([render(sorted(facts), BASE)])


def facts_of(found: list[Identified]) -> set[Fact]:
    return {fact for item in found for fact in item.facts}


def wanted(*bags: Bag) -> set[Fact]:
    facts = {fact for sent in bags for fact in track(sent, DEFINITION, NOWHERE).identified.facts}
    return facts | set(describe(document(DEFINITION), NOWHERE).facts)


UPGRADED = """\
import sys
from headstream.schemas import registry
registry.learn(sys.argv[1])
from headstream.stream_processors.__main__ import main
sys.argv[1:] = []
main()
"""


def test_what_a_later_release_wrote_is_sent_again_after_the_upgrade_and_completes_the_graph(stream) -> None:
    known, later = bag("r1"), bag("r2", values=(AttributeValue("x", "a secret of the payload"),))
    cut = bag("r3", values=(AttributeValue("x", "a secret of the payload"),))
    not_an_iri = AttributeValue("about", Reference(text="http://x/a b|c", kind="kg"))
    refused = bag("r4", values=(not_an_iri,))
    stream.document(document(DEFINITION))
    stream.bag(known)
    stream.send(stream.settings.topics.events, b"fit/r2", of_the_future(later))
    stream.send(stream.settings.topics.events, b"fit/r3", encode_bag(cut)[:-2])
    stream.bag(refused)
    stream.flush()
    worker = stream.worker()
    stream.letters(3)
    topic = LetterTopic(stream.settings)
    kept = {item.letter.key: item for item in topic.kept()}
    reasons = {item.letter.key: (item.letter.reason, item.letter.error) for item in kept.values()}
    assert reasons == {
        b"fit/r2": ("unknown-schema", "UnknownSchema"),
        b"fit/r3": ("undecodable", "MalformedMessage"),
        b"fit/r4": ("invalid-event", "InvalidIdentifier"),
    }
    assert topic.letter(kept[b"fit/r2"].place.partition, kept[b"fit/r2"].place.offset).value == of_the_future(
        later
    )
    worker.send_signal(signal.SIGTERM)
    worker.wait(10)

    stream.command = [sys.executable, "-c", UPGRADED, future_schema()]
    stream.worker()
    assert topic.redrive([kept[b"fit/r2"]]) == 1
    complete = wanted(known, later)
    found = stream.identified(lambda items: complete <= facts_of(items))
    of_r4 = facts_of([item for item in found if item.execution == "r4"])
    assert hash_of(facts_of(found) - of_r4) == hash_of(complete)
    states = {item.letter.key: item.state for item in topic.kept()}
    assert states == {b"fit/r2": REDRIVEN, b"fit/r3": WAITING, b"fit/r4": WAITING}
    assert "a secret of the payload" not in stream.log()


def test_a_letter_that_is_refused_again_says_so_and_what_was_dropped_is_not_offered(stream) -> None:
    stream.send(stream.settings.topics.events, b"fit/a", b"garbage")
    stream.send(stream.settings.topics.events, b"fit/b", b"other garbage")
    stream.flush()
    stream.worker()
    stream.letters(2)
    topic = LetterTopic(stream.settings)
    first, second = sorted(topic.kept(), key=lambda item: item.letter.key)
    topic.drop([second])
    assert topic.redrive([first]) == 1
    stream.letters(5)  # two letters, two settlements, and the letter that came again
    states = {(item.letter.key, item.letter.attempt): item.state for item in topic.kept()}
    assert states == {(b"fit/a", 1): REDRIVEN, (b"fit/b", 1): DROPPED, (b"fit/a", 2): WAITING}
    assert "garbage" not in stream.log()


class Dies(LetterTopic):
    """Its process ends between the two steps of a redrive."""

    def _settle(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_a_redrive_that_dies_half_way_offers_the_letter_again_and_loses_none(stream) -> None:
    sent = bag("r1", outcome="nonsense")
    stream.document(document(DEFINITION))
    stream.bag(sent)
    stream.flush()
    stream.worker()
    stream.letters(1)
    (kept,) = LetterTopic(stream.settings).kept()
    with pytest.raises(KeyboardInterrupt):
        Dies(stream.settings).redrive([kept])
    topic = LetterTopic(stream.settings)
    stream.letters(2)
    first, again = topic.kept()
    assert (first.state, again.state, again.letter.attempt) == (WAITING, WAITING, 2)
    assert topic.redrive([first, again]) == 2
    stream.letters(6)
    states = [(item.letter.attempt, item.state) for item in topic.kept()]
    assert sorted(states) == [(1, REDRIVEN), (2, REDRIVEN), (2, WAITING), (3, WAITING)]


def test_a_letter_that_the_broker_does_not_take_again_still_waits(stream) -> None:
    stream.send(stream.settings.topics.events, b"fit/a", b"garbage")
    stream.flush()
    process = stream.worker()
    stream.letters(1)
    process.kill()
    process.wait(10)
    names = stream.settings.topics
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    admin.delete_topics([names.events])[names.events].result(10)
    # No room for the letter: a topic of one byte a message refuses as a full or forbidden one does.
    small = NewTopic(names.events, 1, 1, config={"max.message.bytes": "1"})
    stream.await_(lambda: _made(admin, small))
    topic = LetterTopic(stream.settings)
    with pytest.raises(RedriveFailed, match="still waits"):
        topic.redrive(topic.kept())
    (kept,) = topic.kept()
    assert kept.state == WAITING


def _made(admin: AdminClient, topic: NewTopic) -> bool:
    try:
        admin.create_topics([topic])[topic.topic].result(10)
    except KafkaException:  # It is still being deleted.
        return False
    return True


def test_a_parked_bag_is_settled_by_its_definition_and_the_graph_is_as_if_it_had_come_first(stream) -> None:
    sent = bag("r1")
    stream.worker()
    stream.bag(sent)
    stream.flush()
    stream.letters(1)
    topic = LetterTopic(stream.settings)
    (kept,) = topic.kept()
    assert (kept.state, kept.definition) == (WAITING, DEFINITION.content_hash)
    stream.document(document(DEFINITION))
    stream.flush()
    found = stream.identified(lambda items: wanted(sent) <= facts_of(items))
    assert hash_of(facts_of(found)) == hash_of(wanted(sent))
    assert {item.state for item in topic.kept()} == {RESENT}


def test_what_somebody_else_wrote_into_the_topic_is_counted_and_harms_nothing(stream) -> None:
    stream.send(stream.settings.topics.dead_letters, b"k", b"no letter of ours")
    stream.flush()
    topic = LetterTopic(stream.settings)
    assert topic.kept() == [] and topic.unreadable == 1
