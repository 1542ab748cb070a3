"""OpenLineage events of a run: valid by the schema of which its client's classes are made, and in order."""

from __future__ import annotations

import importlib
import json
import pkgutil
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import attr
import jsonschema
import pyoxigraph
import pytest
from openlineage.client import generated
from openlineage.client.generated.base import RunEvent
from pyoxigraph import Literal, NamedNode, Quad

from headstream.query_api.export.openlineage import run_id
from headstream.query_api.store import OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.vocabulary import expand

FORMATS = jsonschema.FormatChecker(["uuid"])
FORMATS.checks("date-time", ValueError)(lambda text: bool(datetime.fromisoformat(text).tzinfo))
FORMATS.checks("uri")(lambda text: bool(urlsplit(text).scheme))
# What the client's classes check by code, the schema says by a format.
FORMATTED = {
    "runId": "uuid",
    "eventTime": "date-time",
    **dict.fromkeys(("producer", "schemaURL", "_producer", "_schemaURL"), "uri"),
}


@cache
def schema_of(kind: Any) -> dict[str, Any]:
    """JSON Schema of a type hint; the client generates its classes from that of the specification."""
    if attr.has(kind):
        hints = typing.get_type_hints(kind)
        fields = attr.fields(kind)
        properties = {each.name: dict(schema_of(hints[each.name])) for each in fields}
        for name, form in FORMATTED.items():
            if name in properties:
                properties[name]["format"] = form
        needed = [each.name for each in fields if each.default is attr.NOTHING]
        needed += [
            name for name in ("producer", "schemaURL", "_producer", "_schemaURL") if name in properties
        ]
        return {"type": "object", "properties": properties, "required": sorted(set(needed))}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (each for each in arguments if each is not type(None))
        return schema_of(inner)
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [each.value for each in kind]}
    plain = {str: "string", int: "integer", bool: "boolean", float: "number"}
    return {"type": plain[kind]} if kind in plain else {}


@cache
def facet_classes() -> dict[str, Any]:
    """Every facet class that the client has, by the end of its schema's URL."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for each in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(each, type) and attr.has(each) and hasattr(each, "_get_schema"):
                found[each._get_schema()] = each
    return found


def facets(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict) and "_schemaURL" in inner:
                yield key, inner
            yield from facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets(inner)


def events_of(exported: Any, store: OxigraphStore, run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(store, run, "openlineage").splitlines()]


@pytest.mark.parametrize("run", ["cur-1", "prep-1", "run-1", "run-2"])
def test_every_event_and_facet_is_valid_by_the_schema(
    run: str, example_store: OxigraphStore, exported: Any
) -> None:
    schema, classes = schema_of(RunEvent), facet_classes()
    standard = set()
    for event in events_of(exported, example_store, run):
        jsonschema.validate(event, schema, format_checker=FORMATS)
        assert event["schemaURL"] == RunEvent._get_schema()
        for name, facet in facets(event):
            kind = classes[facet["_schemaURL"]]  # A schema that this client does not know is a KeyError.
            jsonschema.validate(facet, schema_of(kind), format_checker=FORMATS)
            if not name.startswith("headstream_"):
                standard.add(name)
                unknown = facet.keys() - {each.name for each in attr.fields(kind)}
                assert not unknown, (name, unknown)
    assert {"jobType", "parent", "dataSource"} <= standard


def test_the_check_of_the_schema_can_fail(example_store: OxigraphStore, exported: Any) -> None:
    event = events_of(exported, example_store, "run-1")[0]
    for broken in (
        {**event, "eventType": "ENDED"},
        {**event, "run": {**event["run"], "runId": "run-1"}},
        {key: value for key, value in event.items() if key != "job"},
        {**event, "inputs": [{"name": "no namespace"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema_of(RunEvent), format_checker=FORMATS)


def test_every_execution_starts_once_and_ends_once_in_order(
    example_store: OxigraphStore, exported: Any
) -> None:
    events = events_of(exported, example_store, "run-1")
    times = [datetime.fromisoformat(event["eventTime"]) for event in events]
    assert times == sorted(times)
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event["run"]["runId"], []).append(event["eventType"])
        parent = event["run"]["facets"].get("parent")
        if parent is not None:
            assert kinds[parent["run"]["runId"]] == ["START"], "within the life of its parent"
    assert len(kinds) == 9 and all(each == ["START", "COMPLETE"] for each in kinds.values())
    assert events[0]["job"]["name"] == events[-1]["job"]["name"] == "seismic_train"


def test_what_fails_and_what_is_still_running_is_told(example_store: OxigraphStore, exported: Any) -> None:
    by_step: dict[str, list[dict[str, Any]]] = {}
    for event in events_of(exported, example_store, "run-2"):
        iri = event["run"]["facets"]["headstream_execution"]["iri"]
        by_step.setdefault(iri.removeprefix(DEFAULT_BASE), []).append(event)
    failed = by_step["dte/seismic_train/run-2/batch/1.1"]
    assert [event["eventType"] for event in failed] == ["START", "FAIL"]
    assert failed[1]["run"]["facets"]["errorMessage"]["message"] == "CUDA out of memory"
    for running in ("wfe/seismic_train/run-2", "dte/seismic_train/run-2/batch/1.2"):
        assert [event["eventType"] for event in by_step[running]] == ["START"]


def test_datasets_parameters_and_results_are_in_the_events(
    example_store: OxigraphStore, exported: Any
) -> None:
    events = events_of(exported, example_store, "run-1")
    whole = events[-1]
    assert [(each["namespace"], each["name"]) for each in whole["inputs"]] == [
        ("file://gpfs01.cluster.example.org", "/input/train.hdf5"),
        ("file://gpfs01.cluster.example.org", "/input/valid.hdf5"),
    ]
    assert [each["name"] for each in whole["outputs"]] == ["/models/model187.hdf5", "/models/model188.hdf5"]
    training = next(event for event in events if event["job"]["name"] == "seismic_train.training")
    said = training["run"]["facets"]["executionParameters"]["parameters"]
    parameters = {each["key"]: each["value"] for each in said}
    assert parameters["batch_size"] == "60" and parameters["learning_rates"] == "[0.01, 0.001]"
    epoch = [event for event in events if event["job"]["name"] == "seismic_train.epoch"][-1]
    made = {each["name"]: each for each in epoch["run"]["facets"]["headstream_generated"]["values"]}
    assert made["loss"]["value"] == 0.0022 and "ModelEvaluation" in made["loss"]["classes"]


def test_sizes_checksums_and_custom_metadata_are_kept_as_facets(
    example_graph: pyoxigraph.Store, exported: Any
) -> None:
    def say(iri: str, predicate: str, literal: Literal) -> None:
        example_graph.add(Quad(NamedNode(DEFAULT_BASE + iri), NamedNode(expand(predicate)), literal))

    json_type = NamedNode(expand("rdf:JSON"))
    say("ref/gpfs1/models/model188.hdf5", "provml:sizeBytes", Literal(1234))
    say("ref/gpfs1/models/model188.hdf5", "provml:checksum", Literal("sha256:ab12"))
    say(
        "wfe/seismic_train/run-1",
        "provml:customMetadata",
        Literal('{"git":{"commit":"ab"}}', datatype=json_type),
    )
    whole = events_of(exported, OxigraphStore(example_graph), "run-1")[-1]
    model = whole["outputs"][1]
    assert model["outputFacets"]["outputStatistics"]["size"] == 1234
    assert model["facets"]["version"]["datasetVersion"] == "sha256:ab12"
    assert whole["run"]["facets"]["headstream_customMetadata"]["metadata"] == {"git": {"commit": "ab"}}


def test_facets_that_came_with_events_of_others_are_given_back(
    example_graph: pyoxigraph.Store, exported: Any
) -> None:
    base = {"_producer": "https://example.org/spark", "_schemaURL": "https://example.org/facet.json"}
    mine, theirs = {**base, "lines": 7}, {**base, "plan": "scan"}
    said = {
        "wfe/seismic_train/run-1": {"run": {"spark_plan": theirs, "broken": 1}, "job": {"sql": mine}},
        "ref/gpfs1/input/train.hdf5": {"namespace": "hdfs://nn", "name": "/t", "facets": {"schema": mine}},
    }
    for iri, kept in said.items():
        text = Literal(json.dumps({"openlineage": kept}), datatype=NamedNode(expand("rdf:JSON")))
        example_graph.add(
            Quad(NamedNode(DEFAULT_BASE + iri), NamedNode(expand("provml:customMetadata")), text)
        )
    event = events_of(exported, OxigraphStore(example_graph), "run-1")[0]
    assert event["run"]["facets"]["spark_plan"] == theirs and "broken" not in event["run"]["facets"]
    assert "headstream_customMetadata" not in event["run"]["facets"]
    assert event["job"]["facets"]["sql"] == mine and "jobType" in event["job"]["facets"]
    dataset = event["inputs"][0]
    assert (dataset["namespace"], dataset["name"]) == ("hdfs://nn", "/t")
    assert dataset["facets"]["schema"] == mine and "dataSource" in dataset["facets"]


def test_the_id_of_a_run_is_a_function_of_its_iri() -> None:
    assert run_id("https://x.org/a") == run_id("https://x.org/a") != run_id("https://x.org/b")
