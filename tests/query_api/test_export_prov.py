"""PROV-N and PROV-JSON are read back by the prov library, and give back every triple of the run."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.resources import files
from typing import Any

import prov.constants as names
import pyoxigraph
import pytest
import rdflib
from prov.identifier import QualifiedName
from prov.model import Literal as ProvLiteral
from prov.model import ProvActivity, ProvAgent, ProvDocument, ProvEntity, ProvRecord
from pyoxigraph import Literal, NamedNode, RdfFormat

from headstream.query_api.export import prov_document as mapping
from headstream.query_api.export.nodes import TYPE, canonical
from headstream.query_api.store import OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.vocabulary import PREFIXES, expand

FORMATS = {"prov-n": "provn", "prov-json": "json"}
PROV = PREFIXES["prov"]
XSD = PREFIXES["xsd"]
Triple = tuple[str, str, NamedNode | Literal]


def read(data: bytes, form: str) -> ProvDocument:
    found = ProvDocument.deserialize(content=data.decode(), format=FORMATS[form])
    assert isinstance(found, ProvDocument)
    return found


def run_of(exported: Any, store: OxigraphStore, run: str) -> set[Triple]:
    turtle = pyoxigraph.parse(exported(store, run, "turtle"), format=RdfFormat.TURTLE)
    return {(quad.subject.value, quad.predicate.value, canonical(quad.object)) for quad in turtle}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("run", ["cur-1", "prep-1", "run-1", "run-2"])
def test_the_document_gives_back_every_triple_of_the_run(
    run: str, form: str, example_store: OxigraphStore, exported: Any
) -> None:
    document = read(exported(example_store, run, form), form)
    assert set(triples(document)) == run_of(exported, example_store, run)


@pytest.mark.parametrize("form", FORMATS)
def test_the_library_reads_back_the_elements_and_relations_by_number_and_name(
    form: str, example_store: OxigraphStore, exported: Any
) -> None:
    document = read(exported(example_store, "run-1", form), form)
    graph = run_of(exported, example_store, "run-1")
    subjects = {subject for subject, _, _ in graph}
    counted = Counter(predicate for _, predicate, _ in graph)
    executions = {s for s, p, o in graph if p == TYPE and getattr(o, "value", "") in mapping.ACTIVITIES}
    persons = {s for s, p, o in graph if p == TYPE and getattr(o, "value", "") in mapping.AGENTS}
    assert ids(document, ProvActivity) == executions and len(executions) == 9
    assert ids(document, ProvAgent) == persons and len(persons) == 1
    assert ids(document, ProvEntity) == subjects - executions - persons
    relations = Counter(record.get_type() for record in document.get_records() if record.is_relation())
    for kind, predicate in (
        (names.PROV_USAGE, "prov:used"),
        (names.PROV_GENERATION, "prov:wasGeneratedBy"),
        (names.PROV_DERIVATION, "prov:wasDerivedFrom"),
        (names.PROV_MEMBERSHIP, "prov:hadMember"),
    ):
        assert relations[kind] == counted[expand(predicate)] > 0, predicate


def test_both_forms_are_the_same_document(example_store: OxigraphStore, exported: Any) -> None:
    one, other = (read(exported(example_store, "run-2", form), form) for form in FORMATS)
    assert one == other


def test_a_plan_is_that_of_the_association(example_store: OxigraphStore, exported: Any) -> None:
    document = read(exported(example_store, "run-1", "prov-json"), "prov-json")
    found = {
        record.get_attribute(names.PROV_ATTR_ACTIVITY).pop().uri: record
        for record in document.get_records()
        if record.get_type() == names.PROV_ASSOCIATION
    }
    training = found[DEFAULT_BASE + "dte/seismic_train/run-1/training/0"]
    assert (
        training.get_attribute(names.PROV_ATTR_PLAN).pop().uri == DEFAULT_BASE + "dt/seismic_train/training"
    )
    assert training.get_attribute(names.PROV_ATTR_AGENT).pop().uri == DEFAULT_BASE + "person/ml_scientist_lee"


def test_what_we_say_of_prov_is_what_the_ontology_says() -> None:
    text = (files("headstream.schemas") / "ontology" / "provml.ttl").read_text()
    ontology = rdflib.Graph().parse(data=text, format="turtle")

    def under(name: str, relation: rdflib.URIRef) -> set[str]:
        return {str(each) for each in ontology.subjects(relation, rdflib.URIRef(PROV + name))}

    # Plans are told by the association, and characteristics, stores and attributions by what they are.
    influenced = under("wasInfluencedBy", rdflib.RDFS.subPropertyOf)
    assert influenced - set(mapping.PLANS) == mapping.INFLUENCED_BY
    assert under("influenced", rdflib.RDFS.subPropertyOf) == mapping.INFLUENCED
    for ours, theirs in mapping.PROV_TYPES.items():
        assert ours in under(theirs, rdflib.RDFS.subClassOf)


def test_without_the_library_the_format_says_how_to_get_it() -> None:
    script = """
import io, sys
sys.modules["prov"] = sys.modules["prov.model"] = None
from headstream.query_api.export.formats import PROV_N, TURTLE
from headstream.query_api.errors import FormatNotInstalled
TURTLE.writer([], lambda text: None, base_iri="https://x.org/")
try:
    PROV_N.writer([], lambda text: None, base_iri="https://x.org/")
except FormatNotInstalled as missing:
    print(missing)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'headstream[export]'" in done.stdout


# ------------------------------------------- the way back, by the mapping that the page of exports gives


def ids(document: ProvDocument, kind: type) -> set[str]:
    return {record.identifier.uri for record in document.get_records(kind)}  # type: ignore[union-attr]


def triples(document: ProvDocument) -> list[Triple]:
    runs = {
        record.identifier.uri
        for record in document.get_records(ProvActivity)
        if any(each.uri == expand("provml:WorkflowExecution") for each in record.get_asserted_types())
    }
    found: list[Triple] = []
    for record in document.get_records():
        found += _element(record) if record.is_element() else _relation(record, runs)
    return found


def _element(record: ProvRecord) -> list[Triple]:
    iri = record.identifier.uri  # type: ignore[union-attr]
    found: list[Triple] = []
    for name, value in record.attributes:
        if name.uri == PROV + "label" or (name.uri == PROV + "type" and value.uri.startswith(PROV)):
            continue
        predicate = {
            PROV + "type": TYPE,
            PROV + "startTime": mapping.STARTED,
            PROV + "endTime": mapping.ENDED,
        }.get(name.uri, name.uri)
        found.append((iri, predicate, _term(value)))
    return found


def _relation(record: ProvRecord, runs: set[str]) -> list[Triple]:
    formal = [value.uri if value is not None else None for _, value in record.formal_attributes]
    kinds = {
        names.PROV_USAGE: "used",
        names.PROV_GENERATION: "wasGeneratedBy",
        names.PROV_DERIVATION: "wasDerivedFrom",
    }
    kinds |= {names.PROV_MEMBERSHIP: "hadMember", names.PROV_ATTRIBUTION: "wasAttributedTo"}
    kinds |= {names.PROV_SPECIALIZATION: "specializationOf"}
    kind = record.get_type()
    if kind == names.PROV_ASSOCIATION:
        activity, agent, plan = formal
        plans = mapping.PLANS[0 if activity in runs else 1]
        pairs = [(plans, plan), (mapping.ASSOCIATED, agent)]
        return [(str(activity), predicate, NamedNode(iri)) for predicate, iri in pairs if iri is not None]
    if kind == names.PROV_INFLUENCE:
        effect, cause = formal
        (predicate,) = (each.uri for each in record.get_asserted_types())
        if predicate in mapping.INFLUENCED:
            effect, cause = cause, effect
        return [(str(effect), predicate, NamedNode(str(cause)))]
    return [(str(formal[0]), PROV + kinds[kind], NamedNode(str(formal[1])))]


def _term(value: Any) -> NamedNode | Literal:
    if isinstance(value, QualifiedName):
        return NamedNode(value.uri)
    if isinstance(value, ProvLiteral):
        if value.langtag:
            return Literal(value.value, language=value.langtag)
        return canonical(Literal(value.value, datatype=NamedNode(value.datatype.uri)))  # type: ignore[return-value,union-attr]
    if isinstance(value, str):
        return Literal(value)
    if isinstance(value, float):
        return canonical(Literal(repr(value), datatype=NamedNode(XSD + "double")))  # type: ignore[return-value]
    if isinstance(value, bool | int):
        return Literal(value)
    return canonical(Literal(value.isoformat(), datatype=NamedNode(XSD + "dateTime")))  # type: ignore[return-value]
