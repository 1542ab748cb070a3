"""Exports over HTTP: formats by name and by Accept, problems, and the same bytes from both stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pyoxigraph
import pytest
from pyoxigraph import NamedNode, Quad, RdfFormat

from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.export.formats import FORMATS
from headstream.query_api.store import OxigraphStore
from headstream.schemas import identifiers
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.vocabulary import expand

RUN = "/api/v1/runs/seismic_train/run-1/export"
NAMES = [each.name for each in FORMATS]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_exported_by_the_name_of_a_format(
    name: str, client: Any, example_store: OxigraphStore, exported: Any
) -> None:
    answer = client.get(f"{RUN}?format={name}")
    chosen = next(each for each in FORMATS if each.name == name)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == chosen.format.media_type
    assert answer.headers["content-disposition"].endswith(f'seismic_train_run-1{chosen.suffix}"')
    assert answer.headers["X-Headstream-Truncated"] == "false"
    assert int(answer.headers["X-Headstream-Triples"]) == 450
    assert answer.content == exported(example_store, "run-1", name)


@pytest.mark.parametrize(
    ("accept", "begins"),
    [
        ("*/*", b"@base"),
        ("text/turtle", b"@base"),
        ("application/ld+json", b'{"@context"'),
        ("text/provenance-notation", b"document"),
        ("application/provenance+json", b"{"),
        ("application/zip", b"PK"),
        ("application/x-ndjson;q=0.9, text/html", b'{"eventTime"'),
    ],
)
def test_accept_chooses_the_format(accept: str, begins: bytes, client: Any) -> None:
    answer = client.get(RUN, headers={"Accept": accept})
    assert answer.status_code == 200 and answer.content.startswith(begins)


def test_the_lineage_comes_when_asked_for(client: Any) -> None:
    with_lineage = client.get(f"{RUN}?lineage=true")
    assert b"extract_raw_data" in with_lineage.content
    assert b"dte/seismic_curation" not in client.get(f"{RUN}?lineage=false").content


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/api/v1/runs/seismic_train/run-7/export", 404, "UnknownRun", "seismic_train/run-1"),
        (f"{RUN}?format=excel", 406, "NotAcceptable", "ro-crate"),
        (f"{RUN}?format=turtle&format=mls", 400, "RequestRefused", "once"),
        (f"{RUN}?lineage=perhaps", 422, "InvalidValue", ""),
        (f"{RUN}?license=https://spdx.org/licenses/MIT", 422, "InvalidValue", "ro-crate"),
        (f"{RUN}?format=ro-crate&license=MIT", 422, "InvalidValue", "spdx.org"),
        (f"{RUN}?format=ro-crate&license=https://x/%22%3E", 422, "InvalidValue", "percent-encode"),
        ("/api/v1/runs/seismic_curation/cur-1/export?format=mls", 406, "NotAcceptable", "workflow_type"),
        (f"{RUN}/more", 404, "UnknownRun", "WORKFLOW/EXECUTION"),
    ],
)
def test_what_cannot_be_exported_is_a_problem(
    path: str, status: int, code: str, words: str, client: Any
) -> None:
    answer = client.get(path)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code and words in answer.json()["what_to_do"]


def test_a_run_beyond_the_limit_is_refused_and_counted(
    client_of: Callable[..., Any], example_store: OxigraphStore
) -> None:
    client = client_of(example_store, max_export_triples=100)
    answer = client.get(RUN)
    assert answer.status_code == 422 and answer.json()["code"] == "ExportTooLarge"
    assert "HEADSTREAM_API_MAX_EXPORT_TRIPLES" in answer.json()["what_to_do"]
    metrics = client.get("/metrics").text
    assert 'headstream_api_refused_total{reason="ExportTooLarge"} 1.0' in metrics
    assert 'headstream_api_question_seconds_count{question="export"} 1.0' in metrics


def test_an_export_wants_the_token_as_every_answer_does(
    client_of: Callable[..., Any], example_store: OxigraphStore
) -> None:
    client = client_of(example_store, token="secret")
    assert client.get(RUN).status_code == 401
    assert client.get(RUN, headers={"Authorization": "Bearer secret"}).status_code == 200


def test_names_with_slashes_are_told_apart_by_their_encoding(
    client_of: Callable[..., Any], example_graph: pyoxigraph.Store
) -> None:
    for workflow, execution in (("a/b", "x"), ("w", "x/export"), ("w", "export")):
        run = NamedNode(DEFAULT_BASE + identifiers.run(workflow, execution))
        plan = NamedNode(DEFAULT_BASE + identifiers.workflow(workflow))
        example_graph.add(
            Quad(run, NamedNode(expand("rdf:type")), NamedNode(expand("provml:WorkflowExecution")))
        )
        example_graph.add(Quad(run, NamedNode(expand("provml:wasDerivedFromWorkflow")), plan))
        example_graph.add(Quad(plan, NamedNode(expand("provml:name")), pyoxigraph.Literal(workflow)))
    client = client_of(OxigraphStore(example_graph))
    assert b"<wfe/a%2Fb/x> a" in client.get("/api/v1/runs/a%2Fb/x/export").content
    assert b"<wfe/w/x%2Fexport> a" in client.get("/api/v1/runs/w/x%2Fexport/export").content
    assert client.get("/api/v1/runs/w/x%2Fexport").json()["execution"] == "x/export"
    assert client.get("/api/v1/runs/w/export").json()["execution"] == "export"
    assert b"<wfe/w/export> a" in client.get("/api/v1/runs/w/export/export").content


def test_blazegraph_and_oxigraph_give_the_same_bytes(
    namespace: Any, example_graph: pyoxigraph.Store, example_store: OxigraphStore, exported: Any
) -> None:
    # As the sink writes them: the text of the example, in which numbers and instants are not canonical.
    data = pyoxigraph.serialize((quad.triple for quad in example_graph), format=RdfFormat.N_TRIPLES)
    assert data is not None
    text = data.decode().replace('"2.0"^^', '"2.00"^^').replace(':00Z"^^', ':00.000Z"^^')
    assert text != data.decode()
    headers = {"Content-Type": "text/plain"}
    httpx.post(
        namespace.url, content=text.encode(), headers=headers, trust_env=False, timeout=60
    ).raise_for_status()
    blazegraph = SparqlEndpoint(namespace.url)
    try:
        for name in NAMES:
            assert exported(blazegraph, "run-1", name) == exported(example_store, "run-1", name), name
        whole = exported(blazegraph, "seismic_train/run-2", "turtle", lineage=True)
        assert whole == exported(example_store, "run-2", "turtle", lineage=True)
    finally:
        blazegraph.close()
