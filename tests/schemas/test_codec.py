"""What goes over the wire comes back equal, and what is not whole is refused by name."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from headstream.schemas import bag_bytes, bags, registry
from headstream.schemas.codec import (
    decode_bag,
    decode_dead_letter,
    decode_document,
    decode_identified,
    encode_bag,
    encode_dead_letter,
    encode_document,
    encode_identified,
)
from headstream.schemas.documents import Document
from headstream.schemas.errors import MalformedMessage, SchemaError, UnknownFraming, UnknownSchema
from headstream.schemas.events import (
    Bag,
    Column,
    Context,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    ParentRun,
    PartTotals,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.records import bag_to_record, event_from_record, event_to_record
from headstream.schemas.values import (
    AttributeValue,
    DictValue,
    Instant,
    Json,
    ListValue,
    Reference,
    Value,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
maybe = st.none() | text
# Lengths of one byte, of two (from 64), and beyond the table of them; within ASCII and not.
words = text | st.text("xé", min_size=50, max_size=600) | st.integers(50, 600).map("x".__mul__)
longs = st.integers(-(2**63), 2**63 - 1)
references = st.builds(
    Reference,
    text=text,
    store=maybe,
    version=maybe,
    checksum=maybe,
    size_bytes=st.none() | st.integers(0, 2**63 - 1),
    modified=st.none() | longs,
)
scalars = (
    st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | text
    | st.builds(Json, text)
    | st.builds(Instant, longs)
    | references
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: (
        st.builds(ListValue, st.lists(inner, max_size=3).map(tuple))
        | st.builds(DictValue, st.lists(st.tuples(text, inner), max_size=3).map(tuple))
    ),
    max_leaves=5,
)
attributes = st.lists(st.builds(AttributeValue, text, values, maybe, maybe), max_size=3).map(tuple)
steps = st.builds(StepRef, text, text)
holdings = st.lists(st.builds(Holding, maybe, st.none() | references), max_size=2).map(tuple)
enclosings = st.lists(st.builds(Enclosing, steps, holdings), max_size=2).map(tuple)
scopes = st.builds(Scope, holdings, holdings, enclosings)
contexts = st.none() | st.builds(Context, cluster=maybe, hosts=st.lists(text, max_size=2).map(tuple))
times = st.none() | longs


@st.composite
def blocks(draw: st.DrawFn) -> IterationBlock:
    rows = draw(st.integers(0, 4))
    column = lambda kind: draw(st.lists(kind, min_size=rows, max_size=rows).map(tuple))  # noqa: E731
    kinds = [st.floats(allow_nan=False), longs, values]
    return IterationBlock(
        transformation=draw(text),
        parent=draw(st.none() | steps),
        prefix=draw(text),
        index_attribute=draw(maybe),
        ordinals=column(longs),
        index=column(longs),
        started=column(longs),
        ended=column(longs),
        columns=tuple(Column(f"c{i}", column(kind)) for i, kind in enumerate(kinds)),
        enclosing=draw(enclosings),
        apart=draw(st.booleans()),
    )


common = {"step": steps, "parent": st.none() | steps, "cycle": st.booleans(), "iteration": times,
          "registered": times, "started": times, "person": maybe, "values": attributes, "scope": scopes,
          "context": contexts}  # fmt: skip
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(RunStarted, started=times, registered=times, person=maybe, context=contexts,
              parent=st.none() | st.builds(ParentRun, text, text, st.none() | steps)),
    st.builds(RunEnded, started=times, ended=longs, outcome=text, values=attributes, context=contexts),
    st.builds(StepStarted, **common),
    st.builds(StepEnded, ended=longs, outcome=text, error=maybe, output=maybe, apart=st.booleans(),
              parts=st.lists(st.builds(PartTotals, text, longs, longs, longs, longs), max_size=2).map(tuple),
              **common),
    st.builds(ValuesAdded, step=steps, direction=st.sampled_from(["in", "out"]), values=attributes,
              at=times, scope=scopes),
    blocks(),
)  # fmt: skip


@given(st.lists(events, max_size=3).map(tuple), text, maybe)
def test_a_bag_comes_back_equal(events: tuple[Event, ...], name: str, definition: str | None) -> None:
    bag = Bag(workflow=name, execution="e", events=events, definition=definition, producer="p", sequence=3)
    assert decode_bag(encode_bag(bag)) == bag


def test_special_floats_and_integers_of_any_size_come_back_exactly() -> None:
    special = (math.nan, math.inf, -math.inf, -0.0, 2**63, -(2**63), 2**200, True)
    values = tuple(AttributeValue(str(i), v) for i, v in enumerate(special))
    event = ValuesAdded(step=StepRef("t", "0"), direction="in", values=values)
    (back,) = decode_bag(encode_bag(Bag(workflow="w", execution="e", events=(event,)))).events
    assert isinstance(back, ValuesAdded)
    assert [repr(v.value) for v in back.values] == [repr(v) for v in special]


BAG = encode_bag(
    Bag(workflow="w", execution="e", events=(StepEnded(step=StepRef("t", "0"), ended=1, outcome="FINISHED"),))
)


@given(st.integers(0, len(BAG) - 1))
def test_a_truncated_message_is_refused_and_never_half_read(length: int) -> None:
    with pytest.raises(SchemaError):
        decode_bag(BAG[:length])


@given(st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(tail: bytes) -> None:
    with pytest.raises(MalformedMessage, match="follow the end"):
        decode_bag(BAG + tail)


@given(st.binary(max_size=60))
def test_garbage_is_refused_with_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(UnknownFraming):
        decode_bag(b"\x01" + data)
    with pytest.raises(SchemaError):
        decode_bag(BAG[:10] + data + b"\xff")


def test_a_run_without_a_parent_is_read_alike_before_and_after_there_were_parents() -> None:
    now = json.loads((files("headstream.schemas") / "avro" / "bag.avsc").read_text("utf-8"))
    before = json.loads(json.dumps(now))
    events = next(field for field in before["fields"] if field["name"] == "events")["type"]["items"]
    parent = events[0]["fields"].pop()
    assert parent["name"] == "parent" and parent["default"] is None
    # The step of a parent was the first to be defined; without it the next one is.
    step = next(field for field in parent["type"][1]["fields"] if field["name"] == "step")["type"][1]
    next(field for field in events[2]["fields"] if field["name"] == "step")["type"] = step
    old, new = parse_schema(before), parse_schema(now)
    started = RunStarted(started=1, person="ana", parent=ParentRun("w", "e", StepRef("t", "0")))
    for writer, reader, event in ((old, new, replace(started, parent=None)), (new, old, started)):
        out = BytesIO()
        schemaless_writer(
            out, writer, {"workflow": "w", "execution": "e", "events": [event_to_record(event)]}
        )
        out.seek(0)
        ((name, body),) = schemaless_reader(out, writer, reader, return_record_name=True)["events"]
        assert event_from_record(name, {"parent": None, **body}) == replace(started, parent=None)


def test_an_unknown_fingerprint_says_what_to_do() -> None:
    with pytest.raises(UnknownSchema, match="upgrade this reader"):
        decode_bag(BAG[:2] + b"12345678" + BAG[10:])


def test_a_document_and_a_dead_letter_come_back_equal() -> None:
    document = Document(kind="store", name="gpfs1", body="{}")
    assert decode_document(encode_document(document)) == document
    letter = DeadLetter(
        origin=Origin(topic="t", partition=1, offset=2), key=b"k", value=b"\x00", stage="tracker",
        reason="malformed", error="MalformedMessage", message="m", at=5,
    )  # fmt: skip
    assert decode_dead_letter(encode_dead_letter(letter)) == letter


FACTS = Identified(
    workflow="w", execution="e", origin=Origin(topic="t", partition=0, offset=9),
    facts=(("wf/w", "rdf:type", "term", "provml:Workflow"), ("wf/w", "provml:name", "string", "w")),
    counts=(1, 1), event_times=(0, 7),
)  # fmt: skip


def test_identified_facts_come_back_equal() -> None:
    assert decode_identified(encode_identified(FACTS)) == FACTS


def test_identified_columns_that_disagree_are_refused() -> None:
    record = {
        "workflow": "w", "execution": "e", "origin": {"topic": "t", "partition": 0, "offset": 0},
        "counts": [1], "event_times": [0], "subjects": ["s"], "predicates": [], "kinds": [], "objects": [],
    }  # fmt: skip
    out = BytesIO()
    schemaless_writer(out, registry.current("identified").parsed, record)
    with pytest.raises(MalformedMessage, match="agree in length"):
        decode_identified(b"\xc3\x01" + registry.current("identified").fingerprint + out.getvalue())


def test_the_quick_reader_and_writer_are_those_of_the_schema_which_is_written() -> None:
    assert registry.current("bag").fingerprint == bags.FINGERPRINT


@given(st.lists(events.filter(lambda event: not isinstance(event, IterationBlock)), max_size=4).map(tuple))
def test_both_readers_say_the_same_of_a_whole_bag(given: tuple[Event, ...]) -> None:
    data = encode_bag(Bag(workflow="w", execution="e", events=given))
    with suppress(bags.Unread):  # A number of more than 62 bits is left to fastavro.
        assert bags.read_bag(data, 10) == by_fastavro(data)


@given(st.integers(10, len(BAG) - 1), st.integers(0, 255))
def test_both_readers_say_the_same_of_broken_bytes(at: int, byte: int) -> None:
    data = BAG[:at] + bytes([byte]) + BAG[at + 1 :]
    with suppress(bags.Unread):
        assert bags.read_bag(data, 10) == by_fastavro(data)


@given(st.lists(events.filter(lambda event: not isinstance(event, IterationBlock)), max_size=4).map(tuple))
def test_a_bag_is_written_as_fastavro_writes_it(given: tuple[Event, ...]) -> None:
    bag = Bag(workflow="w", execution="e", events=given, definition="d", producer="p", sequence=7)
    assert bag_bytes.write_bag(bag) == written_by_fastavro(bag)


@given(st.integers(0, 63).flatmap(lambda bits: st.integers(-(2**bits), 2**bits - 1)), words)
def test_every_number_and_text_is_written_as_fastavro_writes_it(number: int, word: str) -> None:
    event = StepEnded(step=StepRef(word, word), ended=number, outcome=word, started=number)
    bag = Bag(workflow=word, execution="e", events=(event, event), sequence=number)
    assert bag_bytes.write_bag(bag) == written_by_fastavro(bag)


@pytest.mark.parametrize(
    "event",
    [
        RunStarted(started=2**63),
        RunStarted(started=1, person="\ud800"),
        ValuesAdded(step=None, direction="sideways", values=()),
    ],
)
def test_what_breaks_the_schema_is_refused_as_fastavro_refuses_it(event: Event) -> None:
    bag = Bag(workflow="w", execution="e", events=(event,))
    with pytest.raises(Exception) as refused:
        written_by_fastavro(bag)
    with pytest.raises(refused.type):
        encode_bag(bag)


def written_by_fastavro(bag: Bag) -> bytes:
    out = BytesIO()
    schemaless_writer(out, registry.current("bag").parsed, bag_to_record(bag))
    return out.getvalue()


def by_fastavro(data: bytes) -> Bag:
    stream = BytesIO(data)
    stream.seek(10)
    record = schemaless_reader(stream, registry.current("bag").parsed, None, return_record_name=True)
    assert stream.tell() == len(data)
    said = [event_from_record(name, body) for name, body in record.pop("events")]
    return Bag(**record, events=tuple(said))


@given(st.lists(st.tuples(*[words] * 4), max_size=8), longs)
def test_facts_are_written_as_fastavro_writes_them(facts: list[Any], when: int) -> None:
    identified = replace(FACTS, facts=tuple(facts), counts=(len(facts),), event_times=(when,))
    names = ("subjects", "predicates", "kinds", "objects")
    columns = {name: [fact[i] for fact in facts] for i, name in enumerate(names)}
    out = BytesIO()
    schemaless_writer(
        out,
        registry.current("identified").parsed,
        {
            "workflow": "w", "execution": "e", "origin": {"topic": "t", "partition": 0, "offset": 9},
            "counts": [len(facts)], "event_times": [when], **columns,
        },
    )  # fmt: skip
    assert encode_identified(identified)[10:] == out.getvalue()
