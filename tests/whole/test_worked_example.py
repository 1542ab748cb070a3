"""The 63 messages of the specification give exactly its graph, in both stores, through the real pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pyshacl
import pytest
import rdflib

from headstream.capture.gateway.provlake import read_log, translate_all
from headstream.capture.settings import Settings
from headstream.capture.transports.kafka import KafkaTransport
from headstream.embedded import Pipeline as Embedded
from headstream.embedded import Shelf
from headstream.schemas.definition import parse_definition, parse_store
from headstream.schemas.documents import Document, DomainData, document
from headstream.schemas.events import Bag
from headstream.sinks.dead_letters import FileDeadLetters
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores.oxigraph import OxigraphStore

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
DEFINITIONS = [
    parse_definition(json.loads(line)) for line in (EXAMPLE / "definitions.jsonl").read_text().splitlines()
]
STORES = [parse_store(each) for each in json.loads((EXAMPLE / "stores.json").read_text())]
TRIPLES = 984


def expected() -> bytes:
    """The graph of the specification, as N-Triples."""
    graph = ox.parse((EXAMPLE / "example.ttl").read_bytes(), format=ox.RdfFormat.TURTLE)
    return bytes(ox.serialize((quad.triple for quad in graph), format=ox.RdfFormat.N_TRIPLES) or b"")


def documents() -> list[Document]:
    og = "http://example.org/og#"
    domain = b"".join(line + b"\n" for line in expected().splitlines() if og.encode() in line)
    contents = [*DEFINITIONS, *STORES, DomainData(name="survey", ntriples=domain.decode())]
    return [document(each) for each in contents]


def bags() -> Iterator[Bag]:
    messages = read_log((EXAMPLE / "events.jsonl").read_text().splitlines())
    return translate_all(messages, DEFINITIONS, STORES, bag_size=7)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[tuple[Embedded, OxigraphStore]]:
    store = OxigraphStore(tmp_path / "store")
    pipeline = Embedded(store, Shelf(tmp_path / "documents"), FileDeadLetters(tmp_path / "letters"))
    yield pipeline, store
    pipeline.close()


def test_embedded_gives_the_graph_of_the_specification(embedded: tuple[Embedded, OxigraphStore]) -> None:
    pipeline, store = embedded
    for each in documents():
        pipeline.publish(each)
    for bag in bags():
        pipeline.send(bag)
    assert pipeline.flush(10) == 0
    assert store.size() == TRIPLES
    assert graph_hash(store.dump()) == graph_hash([expected()])


def test_a_definition_that_comes_late_completes_the_graph(embedded: tuple[Embedded, OxigraphStore]) -> None:
    pipeline, store = embedded
    for bag in bags():
        pipeline.send(bag)
    assert pipeline.flush(10) == 0
    for each in documents():
        pipeline.publish(each)
    assert pipeline.flush(10) == 0
    assert graph_hash(store.dump()) == graph_hash([expected()])


def test_full_mode_gives_the_graph_of_the_specification(pipeline: Any) -> None:
    pipeline.start("sink")
    pipeline.start("tracker")
    transport = KafkaTransport.from_settings(Settings.from_env(pipeline.env))
    for each in documents():
        transport.publish(each)
    assert transport.flush(20) == 0
    for bag in bags():
        transport.send(bag)
    assert transport.flush(20) == 0
    transport.close()
    pipeline.wait_for_hash(graph_hash([expected()]), 90)
    assert pipeline.size() == TRIPLES


def test_shacl_finds_no_violation_in_the_graph(embedded: tuple[Embedded, OxigraphStore]) -> None:
    pipeline, store = embedded
    for each in documents():
        pipeline.publish(each)
    for bag in bags():
        pipeline.send(bag)
    pipeline.flush(10)
    conforms, _, text = validate(b"".join(store.dump()))
    assert conforms, text


def test_shacl_would_find_a_violation() -> None:
    broken = expected().replace(b'"FINISHED"', b'"DONE"')
    conforms, _, _ = validate(broken)
    assert not conforms


def test_shacl_takes_runs_inside_runs_and_refuses_a_circle_of_them() -> None:
    base = "https://provml.example.org/id/"
    nested_in = "<https://w3id.org/provml/ns#wasNestedIn>"
    train, step = "wfe/seismic_train/run-1", "dte/seismic_create_data/prep-1/make_tiles/1"
    inside = f"<{base}{train}> {nested_in} <{base}{step}> .\n".encode()
    conforms, _, text = validate(expected() + inside)
    assert conforms, text
    back = f"<{base}wfe/seismic_create_data/prep-1> {nested_in} <{base}{train}> .\n".encode()
    conforms, _, text = validate(expected() + inside + back)
    assert not conforms and "nesting of runs must not be circular" in text


def validate(ntriples: bytes) -> Any:
    ontology = files("headstream.schemas") / "ontology"
    return pyshacl.validate(
        rdflib.Graph().parse(data=ntriples, format="nt"),
        shacl_graph=rdflib.Graph().parse(data=(ontology / "shapes.ttl").read_text(), format="turtle"),
        ont_graph=rdflib.Graph().parse(data=(ontology / "provml.ttl").read_text(), format="turtle"),
        advanced=True,
        allow_warnings=True,
    )
