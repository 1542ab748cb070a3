"""A prospective document is read strictly and known by its content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstream.schemas.definition import parse_definition, parse_store, store_document, to_document
from headstream.schemas.documents import Document, DomainData, Person, content, document
from headstream.schemas.errors import InvalidDefinition

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
DOCUMENTS = [json.loads(line) for line in (EXAMPLE / "definitions.jsonl").read_text().splitlines()]
STORES = json.loads((EXAMPLE / "stores.json").read_text())


@pytest.mark.parametrize("body", DOCUMENTS, ids=lambda d: d["dataflow_name"])
def test_a_definition_has_one_hash_however_it_is_written(body: dict[str, Any]) -> None:
    definition = parse_definition(body)
    backwards = json.loads(json.dumps(body), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert parse_definition(yaml.safe_load(yaml.safe_dump(backwards))).content_hash == definition.content_hash
    assert parse_definition(to_document(definition)) == definition
    assert document(definition).content_hash == definition.content_hash


def test_every_document_comes_back_as_what_it_says() -> None:
    everything = [
        *map(parse_definition, DOCUMENTS),
        *map(parse_store, STORES),
        Person(id="lee", name="Lee", persona="MLScientistOrEngineer"),
        DomainData(name="survey", ntriples="<http://x/s> <http://x/p> <http://x/o> .\n"),
    ]
    for each in everything:
        assert content(document(each)) == each


@pytest.mark.parametrize("body", STORES, ids=lambda s: s["id"])
def test_a_store_comes_back_from_its_normal_form(body: dict[str, Any]) -> None:
    store = parse_store(body)
    assert parse_store(store_document(store)) == store


def planned(**transformations: Any) -> dict[str, Any]:
    return {"dataflow_name": "w", "data_transformations": transformations}


def outputs(*attributes: dict[str, Any]) -> dict[str, Any]:
    return {"output_datasets": [{"attributes": list(attributes)}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the document must be a mapping of keys to values, found list"),
        ({}, "`dataflow_name` is missing"),
        ({"dataflow_name": 3}, "`dataflow_name` must be text, found 3"),
        ({"dataflow_name": "w", "workflowtype": "Experiment"}, "unknown key 'workflowtype'; known are"),
        ({"dataflow_name": "w", "workflow_type": "Study"}, "`workflow_type` is 'Study', but must be one of"),
        (planned(train={"type": "LearningStage"}), "train: `stage_type`"),
        (planned(train={"stage_type": "Training"}), "goes with `type: LearningStage`"),
        (planned(epoch={"parent": "training"}), "parent 'training' is not defined; defined are epoch"),
        (planned(a={"parent": "b"}, b={"parent": "a"}), "circular nesting"),
        (planned(a=outputs({"name": "x", "ml_semantics": "modell"})), "output_datasets[0].x: `ml_semantics`"),
        (planned(a=outputs({"name": "x"}, {"name": "x"})), "two attributes are called 'x'"),
        (planned(a=outputs({"name": "x", "describes": "y"})), "describes 'y', which is no attribute"),
        (planned(a=outputs({"semantics": "PARAMETER"})), "`name` is missing"),
        (planned(a={"output_datasets": {"attributes": []}}), "output_datasets must be a list"),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused_with_the_key_and_the_rule(body: Any, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        parse_definition(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"id": "s"}, "no kind of store"),
        ({"id": "s", "type": "Floppy"}, "no kind of store"),
        ({"type": "GPFS"}, "`id` is missing"),
        ({"id": "s", "type": "GPFS", "mount": ["/x"]}, "unknown key 'mount'"),
    ],
)
def test_a_store_without_a_kind_is_refused(body: Any, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        parse_store(body)


def test_a_store_product_says_its_kind() -> None:
    assert parse_store({"id": "m", "type": "MongoDB"}).type == "DocumentDBMS"


def test_a_document_that_cannot_be_read_is_refused() -> None:
    for bad in (
        Document(kind="definition", name="w", body="{"),
        Document(kind="planet", name="w", body="{}"),
        Document(kind="person", name="p", body='{"id":"p","persona":"Wizard"}'),
    ):
        with pytest.raises(InvalidDefinition):
            content(bad)
