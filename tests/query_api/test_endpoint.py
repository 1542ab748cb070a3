"""The client of a remote store: complete answers or errors, and nothing of the store's insides."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from headstream.query_api.catalogue import catalogue
from headstream.query_api.endpoint import Dialect, SparqlEndpoint, guess_dialect
from headstream.query_api.errors import (
    IncompleteAnswer,
    StoreError,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
)
from headstream.query_api.guard import Form, check
from headstream.query_api.hints import for_blazegraph, for_values
from headstream.query_api.store import Graph, Limits, Table, Truth

ROWS = [{"x": {"type": "literal", "value": str(i)}} for i in range(50)]
TABLE = json.dumps({"head": {"vars": ["x"]}, "results": {"bindings": ROWS}}).encode()
N_TRIPLES = b"<urn:a> <urn:b> <urn:c> .\n<urn:a> <urn:b> <urn:d> .\n"
SELECT = "SELECT ?x { ?x ?y ?z }"
NAMESPACE = "/blazegraph/namespace/kb/sparql"
Serving = Callable[..., Any]


def ask(url: str, form: Form = Form.SELECT, dialect: Dialect | None = None, **limits: Any) -> Any:
    store = SparqlEndpoint(url, dialect=dialect)
    try:
        return store.query(SELECT, form=form, limits=Limits(**limits))
    finally:
        store.close()


@pytest.mark.parametrize("kept", [len(TABLE) - 1, len(TABLE) - 2, len(TABLE) // 2, 30, 0])
def test_an_answer_cut_off_with_status_200_is_an_error(serving: Serving, kept: int) -> None:
    with serving(TABLE[:kept]) as (url, _), pytest.raises(IncompleteAnswer, match="cut off"):
        ask(url)


def test_a_connection_that_ends_before_its_promised_length_is_an_error(serving: Serving) -> None:
    with serving(TABLE, promised=len(TABLE) + 10) as (url, _), pytest.raises(IncompleteAnswer):
        ask(url, seconds=3)


def test_triples_cut_in_a_line_are_an_error(serving: Serving) -> None:
    cut = serving(N_TRIPLES[:-3], content_type="application/n-triples")
    with cut as (url, _), pytest.raises(IncompleteAnswer):
        ask(url, Form.CONSTRUCT)
    with serving(N_TRIPLES, content_type="application/n-triples") as (url, _):
        found = ask(url, Form.CONSTRUCT)
    assert isinstance(found, Graph) and len(found.triples) == 2


def test_blazegraph_is_asked_for_graphs_in_a_form_whose_end_can_be_seen(serving: Serving) -> None:
    term = {"type": "uri", "value": "urn:a"}
    binding = {"subject": term, "predicate": term, "object": term}
    head = {"vars": ["subject", "predicate", "object", "context"]}
    body = json.dumps({"head": head, "results": {"bindings": [binding]}}).encode()
    with serving(body) as (url, seen):
        found = ask(url + NAMESPACE, Form.CONSTRUCT)
    assert isinstance(found, Graph) and len(found.triples) == 1
    assert seen[0][1]["Accept"] == "application/sparql-results+json"
    with serving(body[:-1]) as (url, _), pytest.raises(IncompleteAnswer):
        ask(url + NAMESPACE, Form.CONSTRUCT)


def test_a_truth_needs_its_closing_brace(serving: Serving) -> None:
    body = b'{"head": {}, "boolean": true}'
    with serving(body) as (url, _):
        assert ask(url, Form.ASK) == Truth(True)
    with serving(body[:-1]) as (url, _), pytest.raises(IncompleteAnswer):
        ask(url, Form.ASK)


def test_a_stack_trace_of_the_store_is_never_passed_on(serving: Serving) -> None:
    trace = b"SPARQL-QUERY: x\njava.lang.RuntimeException: secret canary\n\tat com.bigdata.Foo(Foo.java:1)"
    failing = serving(trace, status=500, content_type="text/plain")
    with failing as (url, _), pytest.raises(StoreRefused) as caught:
        ask(url)
    for hidden in ("canary", "java", "bigdata"):
        assert hidden not in str(caught.value)


def test_a_time_out_that_the_store_reports_is_a_time_out(serving: Serving) -> None:
    trace = b"java.util.concurrent.ExecutionException: org.openrdf.query.QueryInterruptedException"
    with serving(trace, status=500, content_type="text/plain") as (url, _), pytest.raises(StoreTimeout):
        ask(url)


def test_a_page_that_is_no_answer_is_an_error(serving: Serving) -> None:
    with (
        serving(b"<html>", content_type="text/html") as (url, _),
        pytest.raises(StoreError, match="text/html"),
    ):
        ask(url)


def test_a_store_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        ask("http://someone:hunter2@127.0.0.1:9/sparql")
    assert "hunter2" not in str(caught.value) and "127.0.0.1:9" in str(caught.value)


def test_more_rows_than_allowed_are_cut_and_marked(serving: Serving) -> None:
    with serving(TABLE) as (url, _):
        found = ask(url, rows=7)
        assert isinstance(found, Table) and (len(found.rows), found.truncated) == (7, True)
        exact = ask(url, rows=50)
        assert isinstance(exact, Table) and (len(exact.rows), exact.truncated) == (50, False)


def test_more_bytes_than_allowed_are_cut_and_marked(serving: Serving) -> None:
    with serving(TABLE) as (url, _):
        found = ask(url, bytes=1000)
    assert isinstance(found, Table) and found.truncated and 0 < len(found.rows) < 50


def test_the_rows_that_are_allowed_do_not_wait_for_those_that_are_not(serving: Serving) -> None:
    unended = serving(TABLE[:-2], promised=len(TABLE), more=threading.Event())
    with unended as (url, seen):
        found = ask(url + NAMESPACE, rows=7, seconds=5)
        assert isinstance(found, Table) and (len(found.rows), found.truncated) == (7, True)
    assert len(seen) == 2 and "cancelQuery" in seen[1][0]  # Nor does the store go on.


def test_an_answer_whose_end_does_not_come_is_a_time_out(serving: Serving) -> None:
    unended = serving(TABLE[:-2], promised=len(TABLE), more=threading.Event())
    with unended as (url, _), pytest.raises(StoreTimeout):
        ask(url, seconds=0.5)


def test_at_the_deadline_the_query_is_cancelled_in_the_store(serving: Serving) -> None:
    with serving(TABLE, wait=threading.Event()) as (url, seen):
        begun = time.monotonic()
        with pytest.raises(StoreTimeout):
            ask(url + NAMESPACE, seconds=0.5)
        assert time.monotonic() - begun < 1.5
    (path, headers, form), (cancel, _, _) = seen
    assert headers["X-BIGDATA-READ-ONLY"] == "yes" and headers["X-BIGDATA-MAX-QUERY-MILLIS"] == "1500"
    query_id = dict(part.split("=") for part in form.decode().split("&"))["queryId"]
    assert path == NAMESPACE and "cancelQuery" in cancel and f"queryId={query_id}" in cancel


def test_only_blazegraph_gets_what_only_blazegraph_knows(serving: Serving) -> None:
    with serving(TABLE) as (url, seen):
        ask(url + "/sparql")
    assert guess_dialect("http://h/sparql") is Dialect.SPARQL
    assert not any(name.startswith("X-BIGDATA") for name in seen[0][1]) and b"queryId" not in seen[0][2]


def test_the_hint_stands_first_in_the_outer_group_and_leaves_legal_sparql() -> None:
    for question in catalogue():
        hinted = for_blazegraph(for_values(question.text, []))
        assert hinted.count("hint:Query hint:optimizer") == 1 and "#blazegraph" not in hinted
        assert check(hinted).name == question.kind.name
        assert hinted.index("hint:Query") < hinted.index("provml:", hinted.index("WHERE"))


def running_queries(base: str) -> int:
    page = httpx.get(f"{base}/status", trust_env=False, timeout=10).text
    return int(page.partition('running-query-count">')[2].partition("<")[0])


def until_idle(base: str) -> None:
    until = time.monotonic() + 10
    while running_queries(base):
        assert time.monotonic() < until, "the query still runs"
        time.sleep(0.05)


@pytest.fixture
def crowded(namespace: Any) -> Iterator[tuple[SparqlEndpoint, str]]:
    """A real Blazegraph of 2,000 triples, whose product with itself is endless, and its base."""
    lines = "".join(f"<urn:{i}> <urn:p> <urn:o{i}> .\n" for i in range(2_000))
    headers = {"Content-Type": "text/plain"}
    assert httpx.post(namespace.url, content=lines, headers=headers, trust_env=False).status_code == 200
    store = SparqlEndpoint(namespace.url)
    yield store, namespace.base
    store.close()


def test_a_cartesian_product_ends_at_the_deadline_in_blazegraph_too(crowded: Any) -> None:
    store, base = crowded
    query = "SELECT (COUNT(*) AS ?n) WHERE { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }"
    begun = time.monotonic()
    with pytest.raises(StoreTimeout):
        store.query(query, form=Form.SELECT, limits=Limits(seconds=2))
    assert time.monotonic() - begun < 3
    until_idle(base)
    write = "INSERT DATA { <urn:x> <urn:y> <urn:z> }"
    with pytest.raises(StoreRefused):
        store.query(write, form=Form.SELECT, limits=Limits(seconds=5))


def test_blazegraph_stops_when_the_rows_that_are_allowed_are_there(crowded: Any) -> None:
    store, base = crowded
    query = "SELECT ?a ?d ?g WHERE { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }"
    found = store.query(query, form=Form.SELECT, limits=Limits(seconds=30, rows=1000))
    assert (len(found.rows), found.truncated) == (1000, True)
    until_idle(base)


@pytest.mark.parametrize(
    ("location", "url", "dialect"),
    [
        ("blazegraph:http://h/x", "http://h/x", Dialect.BLAZEGRAPH),
        ("graph-store:http://h/namespace/x", "http://h/namespace/x", Dialect.SPARQL),
        (
            "http://h/blazegraph/namespace/kb/sparql",
            "http://h/blazegraph/namespace/kb/sparql",
            Dialect.BLAZEGRAPH,
        ),
    ],
)
def test_a_store_is_named_as_for_the_sink(location: str, url: str, dialect: Dialect) -> None:
    endpoint = SparqlEndpoint(location)
    assert (endpoint.url, endpoint.dialect) == (url, dialect)
    endpoint.close()
