"""What belongs to a run: its export answers its questions, and all exports together are the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pyoxigraph
import pyshacl
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat

from headstream.query_api.ask import ask
from headstream.query_api.errors import ExportTooLarge, UnknownRun
from headstream.query_api.export import subgraph
from headstream.query_api.export.naming import Name, named, spelled_out
from headstream.query_api.export.nodes import Node, canonical, node
from headstream.query_api.export.rdf import write_json_ld, write_turtle
from headstream.query_api.results import Rows
from headstream.query_api.store import OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE

RUNS = ("seismic_curation/cur-1", "seismic_create_data/prep-1", "seismic_train/run-1", "seismic_train/run-2")
FORMATS = {"turtle": RdfFormat.TURTLE, "json-ld": RdfFormat.JSON_LD}
MODEL = {"model": "ref/gpfs1/models/model188.hdf5"}
SLICES = {"inlineMin": "100", "inlineMax": "400", "crosslineMin": "300", "crosslineMax": "800"}
# About one run: the answer of the whole graph, less the rows about other runs, is the answer of its export.
OF_THE_RUN: list[tuple[str, dict[str, str]]] = [
    ("q3", {"dataset": "ref/gpfs1/input/train.hdf5"}),
    ("q4", {"dataset": "ref/gpfs1/input/train.hdf5"}),
    ("x01", {"run": "wfe/seismic_train/run-1"}),
    ("x05", {"dataset": "ref/gpfs1/input/train.hdf5"}),
    ("x06", {"artefact": "ref/gpfs1/models/model188.hdf5"}),
    ("x07", {}),
    ("x08", {"workflow": "seismic_train"}),
    ("x09", MODEL),
    ("x10", MODEL),
    ("e01", {"run": "wfe/seismic_train/run-1"}),
    ("e02", {"run": "wfe/seismic_train/run-1"}),
]
# Questions that go back to the raw files, so to what other runs did.
OF_THE_LINEAGE: list[tuple[str, dict[str, str]]] = [
    ("q1", MODEL),
    ("q2", MODEL),
    ("q5", SLICES),
    ("q6", SLICES),
    ("x03", MODEL),
]


def loaded(data: bytes, form: str) -> OxigraphStore:
    store = pyoxigraph.Store()
    store.load(data, format=FORMATS[form])
    return OxigraphStore(store)


def rows(store: OxigraphStore, question: str, values: dict[str, str]) -> list[str]:
    found = ask(store, question, values)
    if isinstance(found, Rows):
        return sorted(str(row) for row in found.rows if "run-2" not in str(row))
    return sorted(map(str, found.triples))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("question", "values"), OF_THE_RUN, ids=[each for each, _ in OF_THE_RUN])
def test_an_export_alone_answers_the_questions_of_its_run(
    question: str, values: dict[str, str], form: str, example_store: OxigraphStore, exported: Any
) -> None:
    alone = loaded(exported(example_store, "run-1", form), form)
    answer = rows(alone, question, values)
    # What is slow is measured against the mean of all runs, so a run alone has its own.
    asked = [] if question == "x07" else rows(example_store, question, values)
    assert answer == asked and (answer or question == "x07")


@pytest.mark.parametrize(("question", "values"), OF_THE_LINEAGE, ids=[each for each, _ in OF_THE_LINEAGE])
def test_with_the_lineage_it_answers_what_goes_back_to_the_raw_files(
    question: str, values: dict[str, str], example_store: OxigraphStore, exported: Any
) -> None:
    alone = loaded(exported(example_store, "run-1", "turtle", lineage=True), "turtle")
    answer = rows(alone, question, values)
    assert answer == rows(example_store, question, values) and answer


def test_what_is_running_is_still_running_in_the_export(example_store: OxigraphStore, exported: Any) -> None:
    alone = loaded(exported(example_store, "run-2", "turtle"), "turtle")
    assert ask(alone, "x02", {}) == ask(example_store, "x02", {})
    failed = ask(alone, "x07", {})
    assert isinstance(failed, Rows) and "CUDA out of memory" in str(failed.rows)


@pytest.mark.parametrize("form", FORMATS)
def test_the_exports_of_all_runs_together_are_the_graph(
    form: str, example_graph: pyoxigraph.Store, example_store: OxigraphStore, exported: Any
) -> None:
    together = pyoxigraph.Store()
    for run in RUNS:
        together.load(exported(example_store, run, form), format=FORMATS[form])
    assert set(together) == set(example_graph)


def test_an_export_has_its_own_project_and_no_workflow_or_step_of_others(
    example_store: OxigraphStore, exported: Any
) -> None:
    graph = pyoxigraph.Store()
    graph.load(exported(example_store, "run-1", "turtle"), format=RdfFormat.TURTLE)
    subjects = {quad.subject.value.removeprefix(DEFAULT_BASE) for quad in graph}
    assert "prj/seismic_stratigraphy" in subjects
    assert not [
        each
        for each in subjects
        if each.startswith(("wfe/", "dte/", "wf/", "dt/")) and "seismic_train" not in each
    ]
    assert not [each for each in subjects if "run-2" in each]
    # Who made what it used is known, though that step belongs to another run.
    made = NamedNode("http://www.w3.org/ns/prov#wasGeneratedBy")
    train = NamedNode(DEFAULT_BASE + "ref/gpfs1/input/train.hdf5")
    assert [quad.object.value for quad in graph.quads_for_pattern(train, made, None)] == [
        DEFAULT_BASE + "dte/seismic_create_data/prep-1/make_tiles/1"
    ]


def test_an_export_keeps_the_shapes_of_the_data_model(example_store: OxigraphStore, exported: Any) -> None:
    ontology = files("headstream.schemas") / "ontology"
    data = rdflib.Graph().parse(
        data=exported(example_store, "run-1", "turtle", lineage=True), format="turtle"
    )
    conforms, _, text = pyshacl.validate(
        data,
        shacl_graph=rdflib.Graph().parse(data=(ontology / "shapes.ttl").read_text(), format="turtle"),
        ont_graph=rdflib.Graph().parse(data=(ontology / "provml.ttl").read_text(), format="turtle"),
        advanced=True,
        allow_warnings=True,
    )
    assert conforms, text


def test_order_of_insertion_and_size_of_batches_change_no_byte(
    example_graph: pyoxigraph.Store, exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quads = sorted(example_graph, key=str)
    forwards, backwards = pyoxigraph.Store(), pyoxigraph.Store()
    forwards.extend(quads)
    for quad in reversed(quads):
        backwards.add(quad)
    once = exported(OxigraphStore(forwards), "run-1", "turtle", lineage=True)
    monkeypatch.setattr(subgraph, "BATCH", 7)
    assert exported(OxigraphStore(backwards), "run-1", "turtle", lineage=True) == once


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("run-1", "seismic_train/run-1"),
        ("seismic_train/run-1", "seismic_train/run-1"),
        ("wfe/seismic_train/run-1", "seismic_train/run-1"),
        (DEFAULT_BASE + "wfe/seismic_train/run-1", "seismic_train/run-1"),
    ],
)
def test_a_run_is_named_in_every_way_in_which_people_write_it(
    text: str, run: str, example_store: OxigraphStore
) -> None:
    assert str(subgraph.find(example_store, text, base_iri=DEFAULT_BASE, seconds=60.0)) == run


@pytest.mark.parametrize("text", ["run-7", "seismic_train/run-7", "seismic_tran/run-1"])
def test_a_name_that_no_run_has_is_answered_with_those_that_look_like_it(
    text: str, example_store: OxigraphStore, exported: Any
) -> None:
    with pytest.raises(UnknownRun, match=r"did you mean .*seismic_train/run-1"):
        exported(example_store, text, "turtle")


def test_an_execution_id_of_two_workflows_wants_the_workflow() -> None:
    with pytest.raises(UnknownRun, match="several runs: a/1, b/1; give WORKFLOW/EXECUTION"):
        named("1", [Name("a", "1"), Name("b", "1")])
    assert spelled_out("a%2Fb/1%202", base_iri=DEFAULT_BASE) == Name("a/b", "1 2")
    with pytest.raises(UnknownRun, match="no run at all"):
        named("1", [])


def test_a_run_beyond_the_limit_is_refused_whole(example_store: OxigraphStore, exported: Any) -> None:
    with pytest.raises(ExportTooLarge, match="more than 100 triples"):
        exported(example_store, "run-1", "turtle", max_triples=100)


class Counting(OxigraphStore):
    """Remembers how many rows the longest answer had."""

    longest = 0

    def query(self, text: str, **options: Any) -> Any:
        answer = super().query(text, **options)
        self.longest = max(self.longest, len(getattr(answer, "rows", ())))
        return answer


def test_no_query_of_a_limited_export_reads_more_than_the_export_may_have(
    example_graph: pyoxigraph.Store, exported: Any
) -> None:
    whole, limited = Counting(example_graph), Counting(example_graph)
    exported(whole, "run-1", "turtle")
    with pytest.raises(ExportTooLarge, match="more than 50 triples"):
        exported(limited, "run-1", "turtle", max_triples=50)
    assert limited.longest <= 51 < whole.longest


def test_a_run_of_just_as_many_triples_as_an_export_may_have_is_exported(
    example_graph: pyoxigraph.Store, exported: Any
) -> None:
    """All described in one query, so that its rows are bounded as tightly as they can be."""
    run = DEFAULT_BASE + "wfe/w/r"
    edges = [
        ("http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "https://w3id.org/provml/ns#WorkflowExecution"),
        *((f"http://e.org/{number}", "http://e.org/o") for number in range(9)),
    ]
    store = pyoxigraph.Store()
    store.extend(Quad(NamedNode(run), NamedNode(predicate), NamedNode(value)) for predicate, value in edges)
    assert exported(OxigraphStore(store), run, "turtle", max_triples=10)
    with pytest.raises(ExportTooLarge, match="more than 9 triples"):
        exported(OxigraphStore(store), run, "turtle", max_triples=9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("0.00001", "double"), ("1e-05", "double")),
        (("5", "double"), ("5.0", "double")),
        (("INF", "double"), ("inf", "double")),
        (("+007", "integer"), ("7", "integer")),
        (("1", "boolean"), ("true", "boolean")),
        (("2020-01-01T00:00:00.100Z", "dateTime"), ("2020-01-01T00:00:00.1Z", "dateTime")),
        (("2020-01-01T00:00:00.000Z", "dateTime"), ("2020-01-01T00:00:00+00:00", "dateTime")),
        (("1.50", "decimal"), ("1.5", "decimal")),
        (("-0.0", "decimal"), ("0", "decimal")),
        (("+100.", "decimal"), ("0100", "decimal")),
    ],
)
def test_a_value_has_one_text_however_a_store_writes_it(one: tuple[str, str], other: tuple[str, str]) -> None:
    xsd = "http://www.w3.org/2001/XMLSchema#"
    first, second = (Literal(text, datatype=NamedNode(xsd + name)) for text, name in (one, other))
    assert canonical(first) == canonical(second)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=40))
def test_a_decimal_of_any_length_keeps_its_value(number: Decimal) -> None:
    datatype = NamedNode("http://www.w3.org/2001/XMLSchema#decimal")
    told = canonical(Literal(f"{number:f}", datatype=datatype))
    assert isinstance(told, Literal) and Decimal(told.value) == number


@pytest.mark.parametrize("text", ["1e3", "NaN", "1_0", "", "."])
def test_what_is_no_decimal_is_kept_as_it_is(text: str) -> None:
    term = Literal(text, datatype=NamedNode("http://www.w3.org/2001/XMLSchema#decimal"))
    assert canonical(term) == term


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
PARTS = (
    "a",
    "b0",
    "%2F",
    "%C3%A9",
    "/",
    "//",
    ".",
    "..",
    ":",
    ";v=",
    "'",
    "(,)",
    "*!@",
    "é",
    "~",
    "=",
    "?q",
    "_-",
)
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)


def parsed(nodes: list[Node], write: Callable[..., None], form: RdfFormat) -> set[Quad]:
    out: list[str] = []
    write(nodes, out.append, base_iri=DEFAULT_BASE)
    return set(pyoxigraph.parse("".join(out).encode(), format=form))


@st.composite
def described(draw: st.DrawFn) -> Node:
    def iri() -> str:
        return DEFAULT_BASE + draw(PATHS)

    def term() -> NamedNode | Literal:
        return draw(
            st.one_of(
                st.builds(lambda path: NamedNode(DEFAULT_BASE + path), PATHS),
                st.builds(Literal, TEXTS),
                st.builds(lambda text: Literal(text, language="de"), TEXTS),
                st.builds(Literal, st.integers()),
                st.builds(Literal, st.floats()),
                st.builds(Literal, st.booleans()),
            )
        )

    names = st.sampled_from(
        ["http://www.w3.org/ns/prov#value", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "urn:x:y#z-1"]
    )
    edges: list[Any] = []
    for predicate in draw(st.lists(names, min_size=1, max_size=4)):
        edges.append((predicate, NamedNode(iri()) if predicate.endswith("type") else term()))
    return node(iri(), edges)


@settings(max_examples=60, deadline=None)
@given(st.lists(described(), min_size=1, max_size=4))
def test_turtle_and_json_ld_give_back_any_node(nodes: list[Node]) -> None:
    expected = {
        Quad(NamedNode(each.iri), NamedNode(predicate), term)
        for each in nodes
        for predicate, term in each.edges
    }
    assert parsed(nodes, write_turtle, RdfFormat.TURTLE) == expected
    assert parsed(nodes, write_json_ld, RdfFormat.JSON_LD) == expected


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib, of itself
def test_rdflib_reads_turtle_and_json_ld_as_the_same_graph(
    example_store: OxigraphStore, exported: Any
) -> None:
    def triples(form: str) -> Iterator[tuple[str, ...]]:
        for triple in rdflib.Graph().parse(data=exported(example_store, "run-1", form), format=form):
            yield tuple(term.n3() for term in triple)

    assert sorted(triples("turtle")) == sorted(triples("json-ld"))
