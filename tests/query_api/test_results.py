"""Terms become plain values, and plain values become text that holds together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, Triple

from headstream.query_api.negotiation import CSV, JSON, ROWS, TABLE, choose
from headstream.query_api.results import Rows, as_csv, as_json, as_n_triples, as_table, as_turtle, plain
from headstream.query_api.runs import execution_of, status
from headstream.query_api.store import Graph
from headstream.schemas import identifiers

XSD = "http://www.w3.org/2001/XMLSchema#"
RDF_JSON = "http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON"


@pytest.mark.parametrize(
    ("text", "datatype", "value"),
    [
        ("42", XSD + "integer", 42),
        ("9223372036854775807", XSD + "long", 9223372036854775807),
        ("1.0E-5", XSD + "double", 1e-5),
        ("NaN", XSD + "double", "NaN"),
        ("INF", XSD + "double", "INF"),
        ("-INF", XSD + "double", "-INF"),
        ("true", XSD + "boolean", True),
        ("[1,NaN]", RDF_JSON, [1, "NaN"]),
        ("{broken", RDF_JSON, "{broken"),
        ("x", XSD + "integer", "x"),
        ("2019-06-10T11:00:00.000Z", XSD + "dateTime", "2019-06-10T11:00:00Z"),
        ("2019-06-10T11:00:00.120Z", XSD + "dateTime", "2019-06-10T11:00:00.12Z"),
        ("2019-06-10T11:00:00.123+02:00", XSD + "dateTime", "2019-06-10T11:00:00.123+02:00"),
        ("2019-06-10T11:00:00Z", XSD + "dateTime", "2019-06-10T11:00:00Z"),
        ("text", XSD + "string", "text"),
    ],
)
def test_a_literal_becomes_the_value_that_json_can_hold(text: str, datatype: str, value: Any) -> None:
    found = plain(Literal(text, datatype=NamedNode(datatype)))
    assert found == value and type(found) is type(value)
    json.dumps(found, allow_nan=False)


def test_iris_blank_nodes_and_nothing_are_text_and_none() -> None:
    assert (plain(NamedNode("urn:a")), plain(BlankNode("b")), plain(None)) == ("urn:a", "_:b", None)


ROWS_ = Rows(columns=("a", "b"), rows=(('x,"y"\n', None), (1.5, [1, True])), truncated=True)


def test_csv_and_json_hold_what_a_cell_holds() -> None:
    assert as_csv(ROWS_) == 'a,b\r\n"x,""y""\n",\r\n1.5,"[1,true]"\r\n'
    assert json.loads(as_json(ROWS_))["rows"] == [{"a": 'x,"y"\n', "b": None}, {"a": 1.5, "b": [1, True]}]


def test_a_table_keeps_control_characters_off_the_terminal_and_says_that_it_is_cut() -> None:
    text = as_table(
        Rows(columns=("a",), rows=(("\x1b[31m\n",), (identifiers.DEFAULT_BASE + "wf/x",)), truncated=True)
    )
    assert "\x1b" not in text and "\\x1b[31m\\x0a" in text and "\nwf/x\n" in text
    assert text.endswith("(2 rows, truncated: there are more)\n")


def test_graphs_are_sorted_without_repeats_and_marked_when_cut() -> None:
    triple = Triple(NamedNode("urn:b"), NamedNode("urn:p"), Literal("a\nb"))
    other = Triple(NamedNode("urn:a"), NamedNode("urn:p"), Literal("x"))
    graph = Graph((triple, other, triple), truncated=True)
    first, second, mark = as_n_triples(graph).splitlines()
    assert first.startswith("<urn:a>") and second.startswith("<urn:b>") and mark.startswith("# truncated")
    assert as_turtle(graph).count("<urn:b>") == 1


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("text/csv;q=0.1, text/plain", TABLE),
        ("application/json;q=0, */*", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
    ],
)
def test_the_accept_header_chooses(accept: str | None, chosen: Any) -> None:
    assert choose(ROWS, name=None, accept=accept) is chosen


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((None, None, None), "GENERATED"),
        (("t", None, None), "RUNNING"),
        (("t", "t", "FINISHED"), "FINISHED"),
        (("t", "t", "ERRORED"), "ERRORED"),
        (("t", "t", None), "FINISHED"),
        (("t", None, "ERRORED"), "ERRORED"),
    ],
)
def test_the_status_of_a_run_is_derived(facts: tuple[Any, Any, Any], expected: str) -> None:
    assert status(*facts) == expected


@pytest.mark.parametrize("execution", ["run-1", "a/b c", "", "~", "..", "é"])
def test_the_execution_id_is_read_back_from_the_iri(execution: str) -> None:
    base = identifiers.DEFAULT_BASE
    assert execution_of(base + identifiers.run("w", execution), base) == execution
