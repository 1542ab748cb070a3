"""The HTTP face: questions, raw SPARQL, runs; limits, problems, and no way to write."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pyoxigraph
import pytest

from headstream.query_api.app import create_app
from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.settings import Settings
from headstream.query_api.store import OxigraphStore

Q3 = "/api/v1/questions/q3?dataset=ref/gpfs1/input/train.hdf5"
SPARQL = "/api/v1/sparql"
QUERY = {"Content-Type": "application/sparql-query"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
UPDATE = "INSERT DATA { <urn:x> <urn:y> <urn:z> }"
READ = "SELECT * { ?s ?p ?o }"
PROBLEM = "application/problem+json"

# Faults row 39: method, path, headers, body.
SMUGGLES: list[tuple[str, str, dict[str, str], str]] = [
    ("POST", f"{SPARQL}?update=INSERT%20DATA%20%7B%7D", QUERY, READ),
    ("POST", f"{SPARQL}?%75pdate=INSERT%20DATA%20%7B%7D", QUERY, READ),
    ("POST", f"{SPARQL}?query=ASK%20%7B%7D", QUERY, READ),
    ("POST", f"{SPARQL}?uri=file:///etc/passwd", QUERY, READ),
    ("GET", f"{SPARQL}?query=ASK%20%7B%7D", {}, ""),
    ("GET", f"{SPARQL}?update=DROP%20ALL", {}, ""),
    ("PUT", SPARQL, QUERY, READ),
    ("DELETE", SPARQL, {}, ""),
    ("POST", SPARQL, {"Content-Type": "application/sparql-update"}, UPDATE),
    ("POST", SPARQL, {"Content-Type": "application/sparql-update; charset=utf-8"}, UPDATE),
    ("POST", SPARQL, {}, UPDATE),
    ("POST", SPARQL, {"Content-Type": "text/plain"}, UPDATE),
    ("POST", SPARQL, {"Content-Type": "text/turtle"}, "<urn:x> <urn:y> <urn:z> ."),
    ("POST", SPARQL, {"Content-Type": "multipart/form-data; boundary=x"}, "--x--"),
    ("POST", SPARQL, QUERY, UPDATE),
    ("POST", SPARQL, QUERY, f"{READ} ; {UPDATE}"),
    ("POST", SPARQL, {**QUERY, "Content-Encoding": "gzip"}, READ),
    ("POST", SPARQL, {"Content-Type": "application/sparql-query; charset=utf-7"}, READ),
    ("POST", SPARQL, FORM, f"query={READ}&update={UPDATE}"),
    ("POST", SPARQL, FORM, f"query={READ}&%75pdate={UPDATE}"),
    ("POST", SPARQL, FORM, f"update={UPDATE}"),
    ("POST", SPARQL, FORM, f"query={READ}&query={UPDATE}"),
    ("POST", SPARQL, FORM, f"query={READ}&qu%65ry={UPDATE}"),
    ("POST", SPARQL, FORM, f"query={READ}&using-graph-uri=urn:x"),
    ("POST", SPARQL, FORM, f"query={READ}&default-graph-uri=file:///etc/passwd"),
    ("POST", SPARQL, FORM, f"query={UPDATE}"),
    ("POST", SPARQL, FORM, ""),
    ("POST", SPARQL, JSON, json.dumps({"query": READ, "update": UPDATE})),
    ("POST", SPARQL, JSON, '{"query": "ASK {}", "query": "DROP ALL"}'),
    ("POST", SPARQL, JSON, '{"query": ["ASK {}"]}'),
    ("POST", SPARQL, JSON, "[" * 100_000),
    ("POST", SPARQL, JSON, "not json"),
    ("POST", SPARQL, JSON, json.dumps({"query": UPDATE})),
    ("GET", f"{Q3}&update=DROP%20ALL", {}, ""),
    ("GET", f"{Q3}&dataset=ref/other", {}, ""),
    ("POST", Q3, JSON, "{}"),
    ("POST", "/api/v1/questions/q3", FORM, "dataset=ref/x"),
    ("POST", "/api/v1/questions/q3", JSON, '{"dataset": "ref/x", "dataset": "ref/y"}'),
]


@pytest.mark.parametrize(("method", "path", "headers", "body"), SMUGGLES)
def test_no_update_can_be_smuggled(
    method: str, path: str, headers: dict[str, str], body: str, client: Any, example_graph: pyoxigraph.Store
) -> None:
    before = len(example_graph)
    answer = client.request(method, path, headers=headers, content=body)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == answer.status_code and answer.json()["detail"]
    assert len(example_graph) == before


def test_no_update_reaches_blazegraph(namespace: Any, client_of: Callable[..., Any]) -> None:
    def count() -> str:
        query = {"query": "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }"}
        return httpx.post(namespace.url, data=query, headers={"Accept": "text/csv"}, trust_env=False).text

    store = SparqlEndpoint(namespace.url)
    client = client_of(store)
    before = count()
    for method, path, headers, body in SMUGGLES:
        assert 400 <= client.request(method, path, headers=headers, content=body).status_code < 500
    assert count() == before
    store.close()


def test_a_question_answers_with_typed_values(client: Any) -> None:
    found = client.get(Q3).json()
    assert (found["question"], found["truncated"], len(found["rows"])) == ("Q3", False, 10)
    values = {
        (row["kind"], row["name"]): row["value"] for row in found["rows"] if row["block"] != "validation"
    }
    assert values["evaluation", "loss"] == 0.0022
    assert values["learning hyperparameter", "batch_size"] == 60
    assert values["evaluation", "confusion_matrix"] == [[93, 7], [10, 90]]


@pytest.mark.parametrize("path", [Q3, Q3.replace("q3", "Q3")])
def test_ids_are_found_in_any_case(client: Any, path: str) -> None:
    assert client.get(path).json()["question"] == "Q3"


def test_a_question_may_be_posted_as_json(client: Any) -> None:
    body = {"inlineMin": 100, "inlineMax": 400, "crosslineMin": 300, "crosslineMax": "800"}
    assert len(client.post("/api/v1/questions/q6", json=body).json()["rows"]) == 1
    assert len(client.post("/api/v1/questions/x08").json()["rows"]) == 12
    measures = {"run": "wfe/seismic_train/run-1", "measure": ["loss", "mean_iou"]}
    assert len(client.post("/api/v1/questions/x01", json=measures).json()["rows"]) == 4


def test_formats_come_by_name_or_by_accept_header(client: Any) -> None:
    text = client.get(f"{Q3}&format=csv")
    assert text.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(text.text)))) == 10
    assert "(10 rows)" in client.get(Q3, headers={"Accept": "text/plain, application/json;q=0.5"}).text
    assert client.get(f"{Q3}&format=xml").status_code == 406
    assert client.get(Q3, headers={"Accept": "image/png"}).status_code == 406
    graph = "/api/v1/questions/e01?run=wfe/seismic_train/run-1"
    assert client.get(graph).headers["content-type"].startswith("text/turtle")
    assert len(client.get(f"{graph}&format=nt").text.splitlines()) == 85


def test_problems_say_what_to_do(client: Any) -> None:
    missing = client.get("/api/v1/questions/q3")
    assert (missing.status_code, missing.json()["code"]) == (422, "MissingParameter")
    assert "dataset=https://" in missing.json()["what_to_do"]
    assert "Q1" in client.get("/api/v1/questions/nope").json()["what_to_do"]
    assert client.get("/nowhere").headers["content-type"] == PROBLEM


def test_raw_sparql_answers_in_the_form_asked_for(client: Any) -> None:
    def ask(query: str, accept: str | None = None) -> httpx.Response:
        headers = {**QUERY, **({"Accept": accept} if accept else {})}
        return client.post(SPARQL, content=query, headers=headers)

    table = ask("SELECT ?n { ?w a <https://w3id.org/provml/ns#Project> ; ?p ?n FILTER(isLiteral(?n)) }")
    assert table.json()["results"]["bindings"] == [
        {"n": {"type": "literal", "value": "seismic_stratigraphy"}}
    ]
    assert ask("ASK {}").json() == {"head": {}, "boolean": True}
    assert ask("ASK {}", "text/csv").status_code == 406
    assert ask("SELECT (1 AS ?x) {}", "text/csv").text == "x\r\n1\r\n"
    triples = "CONSTRUCT { ?s a ?c } WHERE { ?s a ?c }"
    assert ask(triples).headers["content-type"].startswith("text/turtle")
    assert ask(triples, "application/n-triples").text.endswith(" .\n")
    assert client.post(SPARQL, data={"query": "ASK {}"}).json()["boolean"] is True
    assert client.post(SPARQL, json={"query": "ASK {}"}).json()["boolean"] is True
    assert ask("# " + "x" * 300_000).status_code == 413


def test_a_large_answer_is_cut_and_marked_within_bounded_memory(client_of: Callable[..., Any]) -> None:
    client = client_of(OxigraphStore(pyoxigraph.Store()), max_rows=1_000)
    numbers = " ".join(map(str, range(1_000)))
    query = f"SELECT * {{ VALUES ?a {{ {numbers} }} VALUES ?b {{ {numbers} }} }}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = client.post(SPARQL, content=query, headers=QUERY)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    assert len(answer.json()["results"]["bindings"]) == 1_000
    assert answer.headers["x-headstream-truncated"] == "true"
    assert 'truncated_total{question="sparql"} 1.0' in client.get("/metrics").text


def test_a_slow_query_ends_at_its_deadline(client_of: Callable[..., Any]) -> None:
    client = client_of(OxigraphStore(pyoxigraph.Store()), timeout_seconds=0.3)
    numbers = " ".join(map(str, range(300)))
    blocks = " ".join(f"VALUES ?{name} {{ {numbers} }}" for name in "abc")
    begun = time.monotonic()
    answer = client.post(SPARQL, content=f"ASK {{ {blocks} FILTER(?a + ?b + ?c < 0) }}", headers=QUERY)
    assert answer.status_code == 504 and time.monotonic() - begun < 1.3


def test_more_questions_than_allowed_are_told_to_come_again(
    client_of: Callable[..., Any], serving: Callable[..., Any]
) -> None:
    with serving(b'{"head": {}, "boolean": true}', wait=threading.Event()) as (url, seen):
        store = SparqlEndpoint(url)
        app = create_app(Settings(max_concurrent=1, timeout_seconds=3), store)

        async def both() -> list[int]:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                first = asyncio.create_task(client.post(SPARQL, json={"query": "ASK {}"}))
                while not seen:
                    await asyncio.sleep(0.01)
                second = await client.post(SPARQL, json={"query": "ASK {}"})
                assert second.headers["retry-after"] == "1"
                return [(await first).status_code, second.status_code]

        assert asyncio.run(both()) == [504, 503]
        store.close()


@pytest.mark.parametrize("cut", [1, 20])
def test_a_cut_answer_of_the_store_is_502(client_of: Any, serving: Callable[..., Any], cut: int) -> None:
    body = json.dumps(
        {"head": {"vars": ["s"]}, "results": {"bindings": [{"s": {"type": "uri", "value": "u:a"}}]}}
    )
    with serving(body.encode()[:-cut]) as (url, _):
        store = SparqlEndpoint(url)
        answer = client_of(store).post(SPARQL, content=READ, headers=QUERY)
        store.close()
    assert (answer.status_code, answer.json()["code"]) == (502, "IncompleteAnswer")
    assert "u:a" not in answer.text


def test_runs_have_a_derived_status(client: Any) -> None:
    runs = {run["execution"]: run for run in client.get("/api/v1/runs").json()["runs"]}
    assert {name: run["status"] for name, run in runs.items()} == {
        "cur-1": "FINISHED",
        "prep-1": "FINISHED",
        "run-1": "FINISHED",
        "run-2": "RUNNING",
    }
    assert runs["run-1"]["ended"] == "2019-06-10T11:21:40Z" and runs["run-2"]["ended"] is None
    only = client.get("/api/v1/runs?workflow=seismic_train&status=RUNNING").json()["runs"]
    assert [run["execution"] for run in only] == ["run-2"]
    assert client.get("/api/v1/runs?status=BORED").status_code == 422


def test_a_run_has_its_facts_and_steps(client: Any) -> None:
    run = client.get("/api/v1/runs/seismic_train/run-2").json()
    assert (run["status"], run["facts"]["provml:hostName"]) == ("RUNNING", ["n05"])
    assert {"transformation": "batch", "steps": 5, "started": 5, "ended": 4, "failed": 1} in run["steps"]
    assert client.get("/api/v1/runs/seismic_train/run-9").status_code == 404
    assert "'a/b'" in client.get("/api/v1/runs/a%2Fb/run-9").json()["detail"]


def test_health_and_readiness_are_told_apart(client: Any, client_of: Callable[..., Any]) -> None:
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    away = SparqlEndpoint("http://127.0.0.1:9/sparql")
    lonely = client_of(away)
    assert lonely.get("/healthz").status_code == 200
    assert (lonely.get("/readyz").status_code, lonely.get(Q3).status_code) == (503, 503)
    away.close()


def test_the_api_describes_itself(client: Any) -> None:
    described = client.get("/openapi.json").json()
    q5 = described["paths"]["/api/v1/questions/q5"]
    types = {p["name"]: (p["schema"]["type"], p["required"]) for p in q5["get"]["parameters"]}
    assert types["inlineMin"] == ("integer", True) and types["inner"] == ("string", False)
    schema = q5["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["inlineMin", "inlineMax", "crosslineMin", "crosslineMax"]
    assert len([path for path in described["paths"] if path.startswith("/api/v1/questions/")]) == 19
    assert len(client.get("/api/v1/questions").json()) == 19
    references = json.dumps(described).count("#/components/schemas/Problem")
    assert references and "Problem" in described["components"]["schemas"]


def test_requests_are_counted_by_route(client: Any) -> None:
    client.get(Q3)
    text = client.get("/metrics").text
    assert 'requests_total{method="GET",route="/api/v1/questions/q3",status="200"} 1.0' in text
    assert 'question_seconds_count{question="Q3"} 1.0' in text
