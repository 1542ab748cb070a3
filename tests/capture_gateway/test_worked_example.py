"""The 63 recorded messages of the worked example become exactly its graph (spec section 8)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest

from headstream.capture.gateway.provlake import Rejected, read_log, translate_all
from headstream.schemas.codec import (
    decode_bag,
    decode_document,
    decode_identified,
    encode_bag,
    encode_document,
    encode_identified,
)
from headstream.schemas.definition import Definition, Store, parse_definition, parse_store
from headstream.schemas.documents import DomainData, document
from headstream.schemas.events import Bag
from headstream.schemas.facts import Identified, Origin
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.statements import render
from headstream.stream_processors.tracker import describe, track

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
ORIGIN = Origin(topic="example", partition=0, offset=0)


def definitions() -> list[Definition]:
    lines = (EXAMPLE / "definitions.jsonl").read_text("utf-8").splitlines()
    return [parse_definition(json.loads(line)) for line in lines]


def stores() -> list[Store]:
    return [parse_store(store) for store in json.loads((EXAMPLE / "stores.json").read_text("utf-8"))]


def messages() -> list[Any]:
    return list(read_log((EXAMPLE / "events.jsonl").read_text("utf-8").splitlines()))


def domain_data() -> DomainData:
    """The copy of the domain knowledge graph, as in the last line of example.ttl."""
    return DomainData(name="survey", ntriples=(EXAMPLE / "domain.nt").read_text("utf-8"))


def refuse(rejected: Rejected) -> None:
    raise AssertionError(rejected)


def streamed(bags: Iterable[Bag]) -> list[Identified]:
    """What the tracker makes of bags and documents that have been over the wire."""
    known = {definition.content_hash: definition for definition in definitions()}
    contents: list[Definition | Store | DomainData] = [*known.values(), *stores(), domain_data()]
    documents = [decode_document(encode_document(document(content))) for content in contents]
    found = [describe(each, ORIGIN) for each in documents]
    for bag in bags:
        received = decode_bag(encode_bag(bag))
        assert received == bag
        tracked = track(received, known[str(received.definition)], ORIGIN)
        assert tracked.rejected == ()
        found.append(decode_identified(encode_identified(tracked.identified)))
    return found


def by_value(data: bytes, format: ox.RdfFormat) -> set[ox.Quad]:
    """Triples as Oxigraph stores them: numbers and times by value, not by their spelling."""
    store = ox.Store()
    store.load(data, format=format)
    return set(store)


EXPECTED = by_value((EXAMPLE / "example.ttl").read_bytes(), ox.RdfFormat.TURTLE)


def graph(identified: Iterable[Identified]) -> set[ox.Quad]:
    text = b"".join(render(each.facts, DEFAULT_BASE) for each in identified)
    return by_value(text, ox.RdfFormat.N_TRIPLES)


@pytest.mark.parametrize("bag_size", [1, 7, 50])
def test_the_recorded_messages_give_the_984_triples_of_the_example(bag_size: int) -> None:
    bags = translate_all(messages(), definitions(), stores(), bag_size=bag_size, on_rejected=refuse)
    found = graph(streamed(bags))
    assert sorted(map(str, EXPECTED - found)) == []
    assert sorted(map(str, found - EXPECTED)) == []
    assert len(found) == 984


def test_messages_that_come_twice_add_nothing() -> None:
    twice = [message for message in messages() for _ in range(2)]
    assert graph(streamed(translate_all(twice, definitions(), stores(), on_rejected=refuse))) == EXPECTED


def test_a_log_that_is_ingested_again_from_the_start_adds_nothing() -> None:
    again = messages() + messages()
    assert graph(streamed(translate_all(again, definitions(), stores(), on_rejected=refuse))) == EXPECTED


def test_bags_may_reach_the_tracker_in_any_order() -> None:
    bags = list(translate_all(messages(), definitions(), stores(), bag_size=1, on_rejected=refuse))
    random.Random(5).shuffle(bags)
    assert graph(streamed(bags)) == EXPECTED
