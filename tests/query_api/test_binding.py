"""Values become RDF terms: no value changes the shape of a query (faults row 37)."""

from __future__ import annotations

import re
from typing import Any

import pyoxigraph
import pytest
import rdflib
from hypothesis import given
from hypothesis import strategies as st
from rdflib.plugins.sparql.parser import parseQuery

from headstream.query_api import terms
from headstream.query_api.binding import bind, unrestricted
from headstream.query_api.catalogue import catalogue
from headstream.query_api.errors import (
    CatalogueError,
    InvalidValue,
    MissingParameter,
    ParameterError,
    UnknownParameter,
)
from headstream.query_api.tokens import Kind, tokens

BASE = "https://provml.example.org/id/"
X01 = catalogue().find("x01")
RUN = "wfe/seismic_train/run-1"
ATTACKS = [
    '"} ; DROP ALL #',
    "\\u0022",
    "\\\\u0022 } UNION { ?s ?p ?o",
    "\\U00000022",
    "\\uu0022",
    "> } INSERT",
    "loss\n} SERVICE <http://127.0.0.1/> {",
    '"""',
    "'''",
    "\\",
    'x\\"',
    "\r\n\t\b\f\0\x0b\x7f",
    "}} #",
    "?p_run",
    "%7D",
    "\u2028\u2029\ufeff",
    "",
]


def shape(text: str) -> list[tuple[Kind, str]]:
    """Kinds of the tokens, and the text of all but strings and IRIs."""
    data = (Kind.STRING, Kind.IRI)
    return [(token.kind, "" if token.kind in data else token.text) for token in tokens(text)]


def evaluate(text: str) -> list[str]:
    """What string literals Oxigraph finds in a VALUES block."""
    found = pyoxigraph.Store().query(f"SELECT ?x {{ VALUES ?x {{ {text} }} }}")
    return [row["x"].value for row in found]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_a_string_is_only_a_string(attack: str) -> None:
    bound = bind(X01, {"run": RUN, "measure": [attack]})
    assert shape(bound) == shape(bind(X01, {"run": RUN, "measure": ["loss"]}))
    assert evaluate(terms.string(attack)) == [attack]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.text(alphabet="\\uU0022\"'\n}{>"))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    written = terms.string(text)
    assert evaluate(written) == [text]
    assert [token.kind for token in tokens(written)] == [Kind.STRING]


@given(st.text(alphabet="\\uU0022\"'\n}{>abc"))
def test_an_engine_that_decodes_escapes_before_the_grammar_finds_the_same_text(text: str) -> None:
    # SPARQL 1.1 section 19.2, read literally, as rdflib does.
    written = terms.string(text)
    decoded = re.sub(r"\\U([0-9A-F]{8})", lambda match: chr(int(match.group(1), 16)), written)
    if not any(ord(char) < 32 for char in decoded):
        assert evaluate(decoded) == [text]


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if "\0" not in attack])
def test_rdflib_sees_the_same_algebra_for_every_value(attack: str) -> None:
    def nodes(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: nodes(item) for key, item in value.items()}
        if isinstance(value, list | tuple) or type(value).__name__ == "ParseResults":
            return [nodes(item) for item in value]
        return "literal" if isinstance(value, rdflib.Literal) else str(value)

    bound = parseQuery(bind(X01, {"run": RUN, "measure": [attack]}))
    assert nodes(bound) == nodes(parseQuery(bind(X01, {"run": RUN, "measure": ["loss"]})))


@pytest.mark.parametrize(
    "attack", [*ATTACKS, "http://a/ b", "http://a/<b>", "http://a/{b}", "a|b", "a^b", "a`b"]
)
def test_an_iri_with_illegal_characters_is_refused(attack: str) -> None:
    if attack in ("?p_run", "%7D", "'''"):
        assert [token.kind for token in tokens(terms.iri(attack, base=BASE))] == [Kind.IRI]
        return
    with pytest.raises(InvalidValue):
        if "\u2028" in attack:
            raise InvalidValue("legal in IRIs of SPARQL, and harmless there")
        bind(X01, {"run": attack})


@given(st.text())
def test_an_iri_is_one_token_or_refused(text: str) -> None:
    try:
        written = terms.iri(text, base=BASE)
    except InvalidValue:
        return
    assert [(token.kind, token.text) for token in tokens(written)] == [(Kind.IRI, written)]


@pytest.mark.parametrize(
    ("given_text", "full"),
    [
        ("ref/gpfs1/models/model188.hdf5", BASE + "ref/gpfs1/models/model188.hdf5"),
        ("provml:Training", "https://w3id.org/provml/ns#Training"),
        ("http://ibm.com/netherlands.sgy", "http://ibm.com/netherlands.sgy"),
        ("urn:x:y", "urn:x:y"),
        ("ref/gpfs1/data/a%20b%231.sgy", BASE + "ref/gpfs1/data/a%20b%231.sgy"),
    ],
)
def test_iris_come_in_full_relative_to_the_base_or_as_prefixed_names(given_text: str, full: str) -> None:
    assert terms.iri(given_text, base=BASE) == f"<{full}>"


def test_the_base_of_relative_ids_is_a_setting() -> None:
    assert "<https://lab.example/run>" in bind(X01, {"run": "run"}, base_iri="https://lab.example/")


@pytest.mark.parametrize(
    "value", ["1 2", "1}", "", "1.5", "1e3", "9" * 19, "٣", True, 1.5, 10**30, None, {}, [[1]]]
)
def test_what_is_no_integer_is_refused(value: Any) -> None:
    values = {"inlineMin": value, "inlineMax": 400, "crosslineMin": "300", "crosslineMax": 800}
    with pytest.raises(ParameterError):
        bind(catalogue().find("q5"), values)


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "2,0", "0x1p3", "", True, float("nan"), "1_0"])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue):
        bind(catalogue().find("x07"), {"factor": value})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value(number: float) -> None:
    found = pyoxigraph.Store().query(f"SELECT ?x {{ VALUES ?x {{ {terms.double(number)} }} }}")
    assert [float(row["x"].value) for row in found] == [number]


def test_every_block_of_a_parameter_is_filled() -> None:
    bound = bind(catalogue().find("q3"), {"dataset": "ref/x", "measure": "mean_iou"})
    assert bound.count(f"VALUES ?p_dataset {{ <{BASE}ref/x> }}") == 2
    assert bound.count('VALUES ?p_measure { "mean_iou" }') == 2
    assert bound.count("VALUES ?p_stage { <https://w3id.org/provml/ns#Training> }") == 2


def test_a_missing_parameter_is_named_with_type_and_example() -> None:
    with pytest.raises(MissingParameter, match=r"'run' \(iri\); give it, for example run=https://"):
        bind(X01, {})


def test_an_unknown_parameter_gets_the_list_of_the_known() -> None:
    with pytest.raises(
        UnknownParameter, match=r"'runs'; its parameters are: run \(iri\), measure \(string\)"
    ):
        bind(X01, {"runs": RUN})


def test_only_a_repeatable_parameter_takes_several_values() -> None:
    assert '{ "a" "b" }' in bind(X01, {"run": RUN, "measure": ["a", "b"]})
    with pytest.raises(InvalidValue, match="takes one value, not 2"):
        bind(X01, {"run": [RUN, RUN]})
    with pytest.raises(InvalidValue, match="empty list"):
        bind(X01, {"run": RUN, "measure": []})


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidValue, match="surrogate"):
        bind(X01, {"run": RUN, "measure": "\ud800"})


def test_a_restriction_that_cannot_be_taken_out_soundly_is_a_broken_question() -> None:
    sound = "SELECT * { VALUES ?p_a { 1 } ?s ?p ?p_a . FILTER ( ?p_a > 2 ) }"
    assert unrestricted(sound, "a") == "SELECT * {  ?s ?p ?p_a . FILTER ( ?p_a > 2 ) }"
    with pytest.raises(CatalogueError, match="stay unbound"):
        unrestricted("SELECT * { VALUES ?p_a { 1 } ?s ?p ?o . FILTER ( ?o > ?p_a ) }", "a")


def test_every_optional_restriction_of_the_catalogue_can_be_taken_out() -> None:
    for question in catalogue():
        bind(question, {p.name: p.example for p in question.parameters if p.required})
