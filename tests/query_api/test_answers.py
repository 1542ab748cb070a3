"""All 19 questions on the worked example: the same answers as rdflib, on Oxigraph and on Blazegraph."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import httpx
import pyoxigraph
import pytest
import rdflib
from pyoxigraph import Literal, NamedNode, RdfFormat

from headstream.query_api.ask import ask
from headstream.query_api.binding import bind
from headstream.query_api.catalogue import Answers, Question, catalogue
from headstream.query_api.endpoint import Dialect, SparqlEndpoint
from headstream.query_api.guard import Form
from headstream.query_api.results import Rows, rows_of
from headstream.query_api.store import Graph, Limits, OxigraphStore, QueryStore, Table

BASE = "https://provml.example.org/id/"
XSD = "http://www.w3.org/2001/XMLSchema#"
NUMBERS = {XSD + name for name in ("integer", "double", "decimal", "long", "int", "float")}

# What spec section 8 prints: how many rows, and the first of them (all of them for Q1, Q2, Q4 and Q6).
PRINTED: dict[str, tuple[int, list[str]]] = {
    "Q1": (
        1,
        [
            "ref/gpfs1/data/netherlands.sgy | /data/netherlands.sgy | 6054167.0 | 60735564.0 | "
            "North Sea Basin | F3 | 100.0 | 750.0 | 300.0 | 1250.0 | 1602.0"
        ],
    ),
    "Q2": (
        4,
        [
            "ref/gpfs1/input/train.hdf5 | /input/train.hdf5 | make_tiles | noise_threshold | 0.3",
            "ref/gpfs1/input/train.hdf5 | /input/train.hdf5 | make_tiles | tile_size | 40.0",
            "ref/gpfs1/input/train.hdf5 | /input/train.hdf5 | select_slices | crossline_range | [300, 800]",
            "ref/gpfs1/input/train.hdf5 | /input/train.hdf5 | select_slices | inline_range | [100, 400]",
        ],
    ),
    "Q3": (
        10,
        [
            f"ref/gpfs1/models/model188.hdf5 | /models/model188.hdf5 | 0.0022 | evaluation | {rest}"
            for rest in (
                "epoch | confusion_matrix | [[93, 7], [10, 90]]",
                "epoch | loss | 0.0022",
                "epoch | mean_iou | 0.722",
                "validation | loss | 0.0031",
            )
        ],
    ),
    "Q4": (
        4,
        [
            f"wfe/seismic_train/{run} | dte/seismic_train/{run}/training/0 | {rest}"
            for run, rest in (
                ("run-1", "187.0 | 2.0 | 2.2 | 2.0 | 2.4"),
                ("run-1", "188.0 | 2.0 | 2.0 | 1.9 | 2.1"),
                ("run-2", "0.0 | 2.0 | 2.25 | 2.2 | 2.3"),
                ("run-2", "1.0 | 2.0 | 4.9 | 0.3 | 9.5"),
            )
        ],
    ),
    "Q5": (
        9,
        [
            f"ref/gpfs1/input/train.hdf5 | wfe/seismic_train/run-1 | {epoch}.0 | {seconds} | "
            f"ref/gpfs1/models/model{epoch}.hdf5 | /models/model{epoch}.hdf5 | {rest}"
            for epoch, seconds, rest in (
                (187, 2.2, "confusion_matrix | [[91, 9], [12, 88]]"),
                (187, 2.2, "loss | 0.0029"),
                (187, 2.2, "mean_iou | 0.716"),
                (188, 2.0, "confusion_matrix | [[93, 7], [10, 90]]"),
            )
        ],
    ),
    "Q6": (
        1,
        [
            "ref/gpfs1/input/train.hdf5 | ref/gpfs1/data/netherlands.sgy | /data/netherlands.sgy | "
            "1602.0 | North Sea Basin | F3"
        ],
    ),
    "X01": (4, ["dte/seismic_train/run-1/training/0 | 187.0 | 2019-06-10T11:16:45Z | loss | 0.0029"]),
    "X02": (
        3,
        [
            "wfe/seismic_train/run-2 | seismic_train | dte/seismic_train/run-2/training/0 | training | "
            "2019-06-10T14:33:22Z | n05"
        ],
    ),
    "X03": (
        8,
        [
            "ref/gpfs1/input/train.hdf5 | /input/train.hdf5 | "
            "dte/seismic_create_data/prep-1/make_tiles/1 | make_tiles | seismic_create_data | "
            "https://w3id.org/provml/ns#LearningDataPreparation | ref/gpfs1/work/netherlands_sel1.h5 | "
            "/work/netherlands_sel1.h5 | False"
        ],
    ),
    "X04": (
        10,
        [
            "ref/gpfs1/input/test.hdf5 | /input/test.hdf5 | dataset | seismic_create_data | "
            "wfe/seismic_create_data/prep-1"
        ],
    ),
    "X05": (
        26,
        [
            "wfe/seismic_train/run-1 | ref/gpfs1/models/model187.hdf5 | /models/model187.hdf5 | "
            "evaluation | epoch | confusion_matrix | [[91, 9], [12, 88]]"
        ],
    ),
    "X06": (
        1,
        [
            "ref/gpfs1/models/model188.hdf5 | /models/model188.hdf5 | store/gpfs1 | Shared GPFS | "
            "FileSystem | GPFS | gpfs01.cluster.example.org | None | None"
        ],
    ),
    "X07": (
        2,
        [
            "wfe/seismic_train/run-2 | dte/seismic_train/run-2/batch/1.1 | batch | failed | 0.3 | 3.2 | "
            "CUDA out of memory"
        ],
    ),
    "X08": (
        12,
        [
            "wfe/seismic_create_data/prep-1 | seismic_create_data | make_tiles | 1.0 | 500.0 | "
            "12000000000.0 | 480.0 | 0.0"
        ],
    ),
    "X09": (
        1,
        [
            "wfe/seismic_train/run-1 | learning | 884213 | n01 n02 | "
            "dte/seismic_train/run-1/training/0 | 2019-06-10T11:00:02Z | 2019-06-10T11:20:00Z | "
            "ml_scientist_lee | PyTorch 1.1 convolutional network"
        ],
    ),
    "X10": (
        5,
        [
            "https://w3id.org/provml/ns#Training | dte/seismic_train/run-1/epoch/188 | "
            "confusion_matrix | [[93, 7], [10, 90]]"
        ],
    ),
    "X11": (
        3,
        [
            "engineer_rui | https://w3id.org/provml/ns#LearningDataPreparation | seismic_create_data | "
            "select_slices | 1.0"
        ],
    ),
}
QUESTIONS = list(catalogue())
TABLES = [question for question in QUESTIONS if question.kind is Answers.SELECT]


def by_value(kind: str, text: str, datatype: str = "") -> Any:
    """One value for one meaning: engines differ in how they write numbers and instants."""
    if datatype in NUMBERS:
        return ("number", float(f"{float(text):.12g}"))
    if datatype == XSD + "dateTime":
        return ("instant", datetime.fromisoformat(text).timestamp())
    if datatype == XSD + "boolean":
        return ("boolean", text in ("true", "1"))
    if datatype.endswith("#JSON"):
        return ("json", json.dumps(json.loads(text)))
    return (kind, text)


def expected_term(term: dict[str, str] | None) -> Any:
    return None if term is None else by_value(term["type"], term["value"], term.get("datatype", ""))


def found_term(term: Any) -> Any:
    if term is None:
        return None
    if isinstance(term, NamedNode):
        return ("uri", term.value)
    if isinstance(term, Literal):
        return by_value("literal", term.value, term.datatype.value)
    return ("bnode", term.value)


def bag(columns: Any, rows: Any) -> Counter[Any]:
    """Rows as a bag; the host names that GROUP_CONCAT gives have no order."""
    found: Counter[Any] = Counter()
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        if named.get("hosts"):
            named["hosts"] = frozenset(named["hosts"][1].split())
        found[tuple(named[column] for column in columns)] += 1
    return found


def edges(triples: list[tuple[Any, Any, Any]]) -> set[Any]:
    """Triples with each blank node replaced by what is said of it (they are not nested here)."""
    said: dict[Any, set[Any]] = {}
    for subject, predicate, value in triples:
        if subject[0] == "bnode":
            said.setdefault(subject, set()).add((predicate, value))

    def shown(term: Any) -> Any:
        return frozenset(said[term]) if term in said else term

    return {(shown(subject), predicate, shown(value)) for subject, predicate, value in triples}


def example_values(question: Question) -> dict[str, Any]:
    values: dict[str, Any] = {p.name: p.example for p in question.parameters if p.required}
    return values | ({"measure": ["loss", "mean_iou"]} if question.id == "X01" else {})


def check(store: QueryStore, question: Question, answers: dict[str, Any]) -> None:
    expected = answers[question.id]
    form = Form(question.kind.name)
    text = bind(question, example_values(question))
    found = store.query(text, form=form, limits=Limits(), best_as_written=question.best_as_written)
    if isinstance(found, Table):
        assert list(found.columns) == expected["columns"] == list(question.columns)
        rows = [[found_term(term) for term in row] for row in found.rows]
        wanted = [[expected_term(term) for term in row] for row in expected["rows"]]
        assert bag(question.columns, rows) == bag(question.columns, wanted)
    else:
        assert isinstance(found, Graph)
        triples = [tuple(found_term(term) for term in triple) for triple in found.triples]
        wanted = [tuple(expected_term(term) for term in triple) for triple in expected["triples"]]
        assert edges(triples) == edges(wanted)
    assert not found.truncated


def printed(rows: Rows) -> list[str]:
    def cell(name: str, value: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(float(f"{value:.12g}"))
        if name == "hosts":
            return " ".join(sorted(value.split()))
        return str(value).removeprefix(BASE)

    return [" | ".join(cell(*item) for item in record.items()) for record in rows.records()]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_oxigraph_answers_as_rdflib_did(
    question: Question, example_store: OxigraphStore, answers: dict[str, Any]
) -> None:
    check(example_store, question, answers)


# The example as it would be if one run had been started inside a step of another, and one inside a run.
NESTED = [
    ("wfe/seismic_train/run-1", "dte/seismic_create_data/prep-1/make_tiles/1"),
    ("wfe/seismic_train/run-2", "wfe/seismic_train/run-1"),
]
NESTED_IN = "https://w3id.org/provml/ns#wasNestedIn"


def test_runs_inside_runs_change_no_answer(
    example_graph: pyoxigraph.Store, example_store: OxigraphStore, answers: dict[str, Any]
) -> None:
    for run, around in NESTED:
        triple = (NamedNode(BASE + run), NamedNode(NESTED_IN), NamedNode(BASE + around))
        example_graph.add(pyoxigraph.Quad(*triple))
    for question in QUESTIONS:
        check(example_store, question, answers)


def test_runs_inside_runs_change_no_answer_of_rdflib(
    example_graph: pyoxigraph.Store, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdflib, "NORMALIZE_LITERALS", False)
    text = pyoxigraph.serialize((quad.triple for quad in example_graph), format=RdfFormat.N_TRIPLES)
    assert text is not None
    graph = rdflib.Graph().parse(data=text, format="nt")
    for run, around in NESTED:
        graph.add(tuple(rdflib.URIRef(iri) for iri in (BASE + run, NESTED_IN, BASE + around)))
    for question in TABLES:
        text = bind(question, example_values(question))
        rows = [[_of_rdflib(node) for node in row] for row in graph.query(text)]
        wanted = [[expected_term(term) for term in row] for row in answers[question.id]["rows"]]
        assert bag(question.columns, rows) == bag(question.columns, wanted), question.id


def _of_rdflib(node: Any) -> Any:
    if node is None:
        return None
    kind = "literal" if isinstance(node, rdflib.Literal) else "uri"
    return by_value(kind, str(node), str(getattr(node, "datatype", None) or ""))


@pytest.mark.parametrize("question", TABLES, ids=lambda question: question.id)
def test_the_answers_are_the_rows_that_the_spec_prints(
    question: Question, example_store: OxigraphStore
) -> None:
    rows = ask(example_store, question, example_values(question))
    assert isinstance(rows, Rows)
    count, first = PRINTED[question.id]
    assert len(rows.rows) == count
    assert printed(rows)[: len(first)] == first


def test_blazegraph_answers_as_rdflib_did(
    namespace: Any, example_graph: pyoxigraph.Store, answers: dict[str, Any]
) -> None:
    triples = pyoxigraph.serialize((quad.triple for quad in example_graph), format=RdfFormat.N_TRIPLES)
    loaded = httpx.post(
        namespace.url, content=triples, headers={"Content-Type": "text/plain"}, trust_env=False, timeout=60
    )
    assert loaded.status_code == 200
    store = SparqlEndpoint(namespace.url)
    assert store.dialect is Dialect.BLAZEGRAPH
    for question in QUESTIONS:
        check(store, question, answers)
    # The static order changes no answer of the other questions either, only their time.
    plain = {
        question.id: store.query(bind(question, example_values(question)), form=Form.SELECT, limits=Limits())
        for question in TABLES
        if question.best_as_written
    }
    for question in TABLES:
        if question.best_as_written:
            found = plain[question.id]
            assert isinstance(found, Table)
            wanted = [[expected_term(term) for term in row] for row in answers[question.id]["rows"]]
            rows = [[found_term(term) for term in row] for row in found.rows]
            assert bag(question.columns, rows) == bag(question.columns, wanted)
    nested = "".join(f"<{BASE}{run}> <{NESTED_IN}> <{BASE}{around}> .\n" for run, around in NESTED)
    text = {"Content-Type": "text/plain"}
    loaded = httpx.post(namespace.url, content=nested, headers=text, trust_env=False, timeout=60)
    assert loaded.status_code == 200
    for question in QUESTIONS:
        check(store, question, answers)
    store.close()


def of_one_run(question: Question) -> tuple[dict[str, Any], str] | None:
    """The values that ask a question about one of the runs it knows, where it may be asked of all."""
    parameter = question.parameter("run")
    if parameter is None or parameter.required:
        return None
    run = "run-2" if question.id == "X07" else "run-1"  # Where something failed.
    return example_values(question) | {"run": f"wfe/seismic_train/{run}"}, f"{BASE}wfe/seismic_train/{run}"


def test_asked_about_a_run_a_question_has_just_the_rows_of_that_run(
    namespace: Any, example_graph: pyoxigraph.Store, example_store: OxigraphStore
) -> None:
    triples = pyoxigraph.serialize((quad.triple for quad in example_graph), format=RdfFormat.N_TRIPLES)
    assert triples is not None
    headers = {"Content-Type": "text/plain"}
    httpx.post(
        namespace.url, content=triples, headers=headers, trust_env=False, timeout=60
    ).raise_for_status()
    blazegraph, graph = SparqlEndpoint(namespace.url), rdflib.Graph().parse(data=triples, format="nt")
    asked = [question for question in TABLES if of_one_run(question)]
    assert [question.id for question in asked] == ["Q4", "Q5", "X05", "X07", "X08"]
    for question in asked:
        values, run = of_one_run(question) or ({}, "")
        everything = ask(example_store, question, example_values(question))
        assert isinstance(everything, Rows)
        at = question.columns.index("run")
        mean = question.columns.index("meanSeconds") if question.id == "X07" else None

        def told(rows: Any, mean: int | None = mean) -> list[list[Any]]:
            """Cells by value, but for the mean, which with a run is that of the run."""
            return [[found_cell(cell) for at, cell in enumerate(row) if at != mean] for row in rows]

        columns = [name for at, name in enumerate(question.columns) if at != mean]
        wanted = bag(columns, told(row for row in everything.rows if row[at] == run))
        text = bind(question, values)
        for store in (example_store, blazegraph):
            found = store.query(
                text, form=Form.SELECT, limits=Limits(), best_as_written=question.best_as_written
            )
            assert isinstance(found, Table)
            assert bag(columns, told(rows_of(found).rows)) == wanted, (question.id, store)
        rows = [[_of_rdflib(node) for node in row] for row in graph.query(text)]
        assert len(rows) == sum(wanted.values()) > 0, question.id
    blazegraph.close()


def test_asked_about_a_run_slow_blocks_are_slower_than_the_mean_of_that_run(
    example_store: OxigraphStore,
) -> None:
    rows = ask(example_store, "x07", {"run": "wfe/seismic_train/run-2"})
    assert isinstance(rows, Rows)
    means = [record["meanSeconds"] for record in rows.records()]
    assert means == [pytest.approx((2.2 + 2.3 + 9.5) / 3)] * 2
    assert len(ask(example_store, "x07", {"run": "wfe/seismic_train/run-2", "factor": 3}).rows) == 1  # type: ignore[union-attr]


def found_cell(value: Any) -> Any:
    """A cell of an answer as the API gives it, by value."""
    return ("number", float(f"{value:.12g}")) if isinstance(value, int | float) else ("text", str(value))


def test_without_a_measure_the_evolution_has_all_measures(example_store: OxigraphStore) -> None:
    rows = ask(example_store, "x01", {"run": "wfe/seismic_train/run-1"})
    assert isinstance(rows, Rows)
    found = sorted((record["epoch"], record["measure"]) for record in rows.records())
    measures = ["confusion_matrix", "loss", "mean_iou"]
    assert found == [(epoch, measure) for epoch in (187, 188) for measure in measures]


def test_without_a_workflow_resources_are_those_of_all_workflows(example_store: OxigraphStore) -> None:
    everything = ask(example_store, "x08", {})
    one = ask(example_store, "x08", {"workflow": "seismic_train"})
    assert isinstance(everything, Rows) and isinstance(one, Rows)
    assert len(everything.rows) == 12
    assert one.rows == tuple(row for row in everything.rows if row[1] == "seismic_train")
    named = ask(
        example_store, "x08", {"workflow": ["seismic_train", "seismic_curation", "seismic_create_data"]}
    )
    assert named == everything


def test_without_names_the_preparation_parameters_are_those_of_the_title(
    example_store: OxigraphStore,
) -> None:
    model = {"model": "ref/gpfs1/models/model188.hdf5"}
    assert len(ask(example_store, "q2", model).rows) == 4  # type: ignore[union-attr]
    one = ask(example_store, "q2", {**model, "parameter": "tile_size"})
    assert [record["value"] for record in one.records()] == [40]  # type: ignore[union-attr]
