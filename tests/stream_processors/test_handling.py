"""What becomes of one message, without Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from headstream.schemas.codec import decode_bag, decode_identified, encode_bag, encode_document
from headstream.schemas.dead_letters import attempts, definition_of, from_headers, redrive_headers, to_headers
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import Document, document
from headstream.schemas.errors import MalformedMessage
from headstream.schemas.events import Bag, RunStarted, StepRef, StepStarted
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.stream_processors import dead_letters
from headstream.stream_processors.dead_letters import Outgoing, Sender, outgoing
from headstream.stream_processors.handling import (
    Incoming,
    Letter,
    halves,
    handle_bag,
    handle_document,
    messages,
    open_bag,
)
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.replay import replay_records
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.tracker import describe, track

ORIGIN = Origin(topic="t.events", partition=1, offset=7)
text = st.text(max_size=20)
letters = st.builds(
    DeadLetter,
    origin=st.builds(
        Origin, topic=st.text("abc.-", min_size=1), partition=st.integers(0, 9), offset=st.integers(0)
    ),
    key=st.binary(max_size=5),
    value=st.binary(max_size=5),
    stage=st.just("tracker"),
    reason=st.sampled_from(["undecodable", "definition-missing"]),
    error=st.text("abc", max_size=5),
    message=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    at=st.integers(0, 2**60),
    attempt=st.integers(1, 5),
)


def definition(workflow: str):
    return parse_definition({"dataflow_name": workflow, "data_transformations": {"train": {}}})


DEFINITION = definition("w")
BAG = Bag(
    workflow="w",
    execution="1",
    definition=DEFINITION.content_hash,
    events=(
        RunStarted(started=1),
        StepStarted(step=StepRef("train", "1"), started=2),
        StepStarted(step=StepRef("train", "2"), started=3),
    ),
)


def incoming(value: bytes | None, **more) -> Incoming:
    return Incoming(origin=ORIGIN, key=b"w/1", value=value, **more)


@given(letters)
def test_a_dead_letter_comes_back_from_its_message(letter: DeadLetter) -> None:
    assert from_headers(to_headers(letter), key=letter.key or None, value=letter.value) == letter
    assert attempts(redrive_headers(letter)) == letter.attempt


def test_headers_survive_what_cannot_be_encoded_and_what_is_too_long() -> None:
    letter = replace(
        open_bag(incoming(b"x"), now=1).letter,
        message="\ud800" + "x" * 10_000,  # type: ignore[union-attr]
    )
    assert len(from_headers(to_headers(letter), key=None, value=None).message) == 2000


@pytest.mark.parametrize("headers", [None, [], [("headstream.topic", b"t")]])
def test_a_message_without_the_headers_of_a_dead_letter_is_refused_by_name(headers) -> None:
    with pytest.raises(MalformedMessage, match="without the header"):
        from_headers(headers, key=None, value=None)


def test_only_a_parked_bag_waits_for_a_definition() -> None:
    parked = handle_bag(incoming(encode_bag(BAG)), BAG, None, track=track, now=1)
    (letter,) = parked.letters
    assert definition_of(letter.headers) == DEFINITION.content_hash
    assert letter.letter.value == encode_bag(BAG)
    assert parked.identified == (track(BAG, None, ORIGIN).identified,)
    assert not handle_bag(incoming(b""), BAG, DEFINITION, track=track, now=1).letters
    assert not handle_bag(incoming(b""), replace(BAG, definition=None), None, track=track, now=1).letters


def test_a_second_refusal_says_that_it_is_the_second() -> None:
    first = open_bag(incoming(b"garbage"), now=1)
    assert isinstance(first, Letter)
    again = open_bag(incoming(b"garbage", headers=tuple(redrive_headers(first.letter))), now=2)
    assert isinstance(again, Letter)
    assert (first.letter.attempt, again.letter.attempt) == (1, 2)


def test_a_fault_of_the_tracker_costs_the_event_and_not_its_bag() -> None:
    def faulty(bag, definition, origin):
        if any(isinstance(e, StepStarted) and e.step.task == "1" for e in bag.events):
            raise ZeroDivisionError("a bug")
        return track(bag, definition, origin)

    handled = handle_bag(incoming(encode_bag(BAG)), BAG, DEFINITION, track=faulty, now=1)
    (letter,) = handled.letters
    assert decode_bag(letter.letter.value).events == BAG.events[1:2]
    assert (letter.letter.reason, letter.letter.error) == ("tracker-failed", "ZeroDivisionError")
    good = track(replace(BAG, events=(BAG.events[0], BAG.events[2])), DEFINITION, ORIGIN).identified
    assert {fact for item in handled.identified for fact in item.facts} == set(good.facts)


def test_a_tombstone_of_a_document_says_nothing() -> None:
    handled, version = handle_document(incoming(None), describe=describe, now=1)
    assert (handled.identified, handled.letters, version) == ((), (), None)


def test_a_document_that_breaks_a_rule_is_kept_with_its_reason() -> None:
    bad = encode_document(Document(kind="definition", name="w", body="{}"))
    handled, version = handle_document(incoming(bad), describe=describe, now=1)
    assert version is None
    assert [item.letter.reason for item in handled.letters] == ["invalid-document"]


def test_a_definition_is_known_by_the_hash_of_its_body_as_well() -> None:
    loose = Document(
        kind="definition", name="w", body='{"data_transformations":{"train":{}},"dataflow_name":"w"}'
    )
    _, version = handle_document(incoming(encode_document(loose)), describe=describe, now=1)
    assert version is not None
    assert version.hashes == {loose.content_hash, DEFINITION.content_hash}


fact = st.tuples(text, text, st.just("string"), text)


@given(st.lists(st.lists(fact, max_size=4), max_size=8))
def test_facts_too_large_for_one_message_arrive_whole_in_several(events) -> None:
    whole = Identified(
        workflow="w",
        execution="1",
        origin=ORIGIN,
        facts=tuple(fact for event in events for fact in event),
        counts=tuple(map(len, events)),
        event_times=tuple(range(len(events))),
    )
    if len(whole.facts) > 1:
        left, right = halves(whole)
        assert left.facts + right.facts == whole.facts
        assert abs(len(left.facts) - len(right.facts)) <= 1
    parts = [decode_identified(data) for data in messages(whole, largest=200)]
    assert tuple(fact for part in parts for fact in part.facts) == whole.facts
    spent = dict.fromkeys(range(len(events)), 0)
    for part in parts:
        for time, count in zip(part.event_times, part.counts, strict=True):
            spent[time] += count
    assert list(spent.values()) == list(map(len, events))


def test_what_could_not_be_written_is_sent_again_and_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_FIRST_PAUSE", 0.0)
    tries: dict[bytes | None, int] = {}

    async def produce(message: Outgoing):
        tries[message.key] = tries.get(message.key, 0) + 1
        if message.key == b"begun" and tries[message.key] < 3:
            raise ConnectionError
        answer = asyncio.get_running_loop().create_future()
        if message.key == b"answered" and tries[message.key] < 2:
            answer.set_exception(TimeoutError())
        else:
            answer.set_result(None)
        return answer

    metrics = Metrics(CollectorRegistry())
    batch = [Outgoing(topic="t", key=key, value=b"") for key in (b"good", b"begun", b"answered")]
    asyncio.run(Sender(produce, metrics).send(batch))
    assert tries == {b"good": 1, b"begun": 3, b"answered": 2}


def test_a_letter_goes_to_the_dead_letters_and_facts_to_the_identified() -> None:
    handled = handle_bag(incoming(encode_bag(BAG)), BAG, None, track=track, now=1)
    out = outgoing(handled, b"w/1", identified="i", dead_letters="d")
    assert [(m.topic, m.key, m.headers is None) for m in out] == [("i", b"w/1", True), ("d", b"w/1", False)]


@given(st.permutations([0, 1, 2, 3]))
def test_records_give_the_same_facts_in_any_order(order) -> None:
    other = definition("v")
    other_bag = replace(BAG, workflow="v", definition=other.content_hash)
    records = [document(DEFINITION), document(other), BAG, other_bag]
    written: list[Identified] = []
    done = replay_records([records[i] for i in order], written.extend)
    expected = [
        track(BAG, DEFINITION, ORIGIN).identified,
        track(other_bag, other, ORIGIN).identified,
        describe(document(DEFINITION), ORIGIN),
        describe(document(other), ORIGIN),
    ]
    facts = {fact for item in written for fact in item.facts}
    assert facts == {fact for item in expected for fact in item.facts}
    assert (done.bags, done.documents, done.refused) == (2, 2, {})
    assert done.facts == sum(len(item.facts) for item in written)


def test_a_replayed_bag_whose_definition_is_nowhere_is_counted() -> None:
    written: list[Identified] = []
    done = replay_records([BAG], written.extend)
    assert done.refused == {"definition-missing": 1}
    assert {f for i in written for f in i.facts} == set(track(BAG, None, ORIGIN).identified.facts)


def test_a_replay_of_one_workflow_leaves_the_others_out() -> None:
    written: list[Identified] = []
    other = definition("v")
    done = replay_records(
        [document(other), document(DEFINITION), replace(BAG, workflow="v"), BAG],
        written.extend,
        selection=Selection(workflow="w"),
    )
    assert {item.workflow for item in written} == {"w"}
    assert done.bags == 1
