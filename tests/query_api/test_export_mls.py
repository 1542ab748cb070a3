"""The ML Schema view of a learning run uses the terms of that ontology as the ontology means them."""

from __future__ import annotations

from typing import Any

import pyoxigraph
import pytest
from pyoxigraph import Literal, NamedNode, RdfFormat

from headstream.query_api.errors import NotAcceptable
from headstream.query_api.export.ml_schema import equivalences
from headstream.query_api.guard import Form, check
from headstream.query_api.store import OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.vocabulary import PREFIXES

MLS = PREFIXES["mls"]
# The classes and properties of ML Schema 1.0 (W3C Machine Learning Schema Community Group).
CLASSES = frozenset(
    [
        "Algorithm",
        "Data",
        "DataCharacteristic",
        "Dataset",
        "DatasetCharacteristic",
        "EvaluationMeasure",
        "EvaluationProcedure",
        "EvaluationSpecification",
        "Experiment",
        "Feature",
        "FeatureCharacteristic",
        "HyperParameter",
        "HyperParameterSetting",
        "Implementation",
        "ImplementationCharacteristic",
        "InformationEntity",
        "Model",
        "ModelCharacteristic",
        "ModelEvaluation",
        "Process",
        "Quality",
        "Run",
        "Software",
        "Study",
        "Task",
    ]
)
PROPERTIES = frozenset(
    [
        "achieves",
        "definedOn",
        "defines",
        "executes",
        "hasHyperParameter",
        "hasInput",
        "hasOutput",
        "hasPart",
        "hasQuality",
        "hasValue",
        "implements",
        "realizes",
        "specifiedBy",
    ]
)
# Its restrictions, as (class, property, class of at least one value; None is a literal).
RESTRICTIONS: list[tuple[str, str, str | None]] = [
    ("Study", "hasPart", "Experiment"),
    ("Experiment", "hasPart", "Run"),
    ("Run", "hasInput", "Dataset"),
    ("Run", "hasInput", "HyperParameterSetting"),
    ("Run", "hasOutput", "Model"),
    ("Run", "hasOutput", "ModelEvaluation"),
    ("Run", "executes", "Implementation"),
    ("Run", "achieves", "Task"),
    ("Task", "definedOn", "Dataset"),
    ("Implementation", "implements", "Algorithm"),
    ("Implementation", "hasHyperParameter", "HyperParameter"),
    ("HyperParameterSetting", "specifiedBy", "HyperParameter"),
    ("HyperParameterSetting", "hasValue", None),
    ("Model", "hasQuality", "ModelCharacteristic"),
    ("ModelEvaluation", "specifiedBy", "EvaluationMeasure"),
    ("ModelEvaluation", "hasValue", None),
]
TYPE = NamedNode(PREFIXES["rdf"] + "type")


@pytest.fixture
def view(example_store: OxigraphStore, exported: Any) -> pyoxigraph.Store:
    graph = pyoxigraph.Store()
    graph.load(exported(example_store, "run-1", "mls"), format=RdfFormat.TURTLE)
    return graph


def of_class(view: pyoxigraph.Store, name: str) -> list[NamedNode]:
    found = [quad.subject for quad in view.quads_for_pattern(None, TYPE, NamedNode(MLS + name))]
    return [each for each in found if isinstance(each, NamedNode)]


def test_every_term_is_one_of_ml_schema(view: pyoxigraph.Store) -> None:
    used = {quad.predicate.value for quad in view}
    assert {each.removeprefix(MLS) for each in used if each.startswith(MLS)} <= PROPERTIES - {"realizes"}
    types = {quad.object.value for quad in view.quads_for_pattern(None, TYPE, None)}  # type: ignore[union-attr]
    assert types <= {MLS + name for name in CLASSES}


@pytest.mark.parametrize(("kind", "relation", "other"), RESTRICTIONS)
def test_every_individual_keeps_what_the_ontology_demands_of_its_class(
    kind: str, relation: str, other: str | None, view: pyoxigraph.Store
) -> None:
    individuals = of_class(view, kind)
    assert individuals
    for each in individuals:
        values = [quad.object for quad in view.quads_for_pattern(each, NamedNode(MLS + relation), None)]
        if other is None:
            assert len(values) == 1 and isinstance(values[0], Literal), each
        else:
            assert set(values) & set(of_class(view, other)), each


def test_everything_that_is_pointed_at_has_a_class(view: pyoxigraph.Store) -> None:
    typed = {quad.subject for quad in view.quads_for_pattern(None, TYPE, None)}
    for quad in view:
        if quad.predicate.value.startswith(MLS) and isinstance(quad.object, NamedNode):
            assert quad.object in typed, quad


def test_the_numbers_of_the_run_are_in_the_view(view: pyoxigraph.Store) -> None:
    counted = {name: len(of_class(view, name)) for name in CLASSES}
    assert {name: count for name, count in counted.items() if count} == {
        "Run": 1, "Experiment": 1, "Study": 1, "Implementation": 1, "Algorithm": 1, "Task": 1,
        "Dataset": 2, "DatasetCharacteristic": 1, "HyperParameter": 3, "HyperParameterSetting": 3,
        "Model": 2, "ModelCharacteristic": 4, "ModelEvaluation": 12, "EvaluationMeasure": 6,
    }  # fmt: skip
    loss = NamedNode(DEFAULT_BASE + "val/seismic_train/run-1/epoch/188/out/loss")
    (value,) = view.quads_for_pattern(loss, NamedNode(MLS + "hasValue"), None)
    assert value.object == Literal(0.0022)


def test_a_run_that_learns_nothing_has_no_such_view(example_store: OxigraphStore, exported: Any) -> None:
    with pytest.raises(NotAcceptable, match="cur-1 is no learning run"):
        exported(example_store, "cur-1", "mls")


def test_the_equivalences_are_plain_constructs_that_any_store_can_run() -> None:
    assert len(equivalences()) == 5
    assert {check(text) for text in equivalences()} == {Form.CONSTRUCT}
