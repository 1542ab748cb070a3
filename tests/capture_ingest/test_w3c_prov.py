"""Documents that the library `prov` wrote, as PROV-JSON and PROV-N, become steps, references and lineage."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from prov.model import ProvDocument

from headstream.capture.ingest.told import Refused, Told, Unmapped
from headstream.capture.ingest.w3c_prov import Names, read_prov

from .conftest import Build, Imported, assert_conforms, assert_updates_add_nothing, build


def survey() -> ProvDocument:
    """A survey is read, tiled and learnt from; of one derivation nobody knows the activity."""
    document = ProvDocument()
    document.add_namespace("ex", "http://example.org/")
    document.add_namespace("data", "file:///data/")
    raw = document.entity("data:survey.sgy", {"prov:label": "Netherlands", "ex:inlines": 23})
    tiles, model, report, slides = (
        document.entity(name) for name in ("data:tiles.h5", "ex:model", "ex:report", "ex:slides")
    )
    fit, person, software, revision = (
        document.valid_qualified_name(name)
        for name in ("ex:Fit", "prov:Person", "prov:SoftwareAgent", "prov:Revision")
    )
    start, end = datetime(2026, 11, 26, 10), datetime(2026, 11, 26, 10, 0, 30)
    tiling = document.activity("ex:run1", start, end, {"prov:type": "tiling", "ex:size": 40})
    training = document.activity("ex:run2", start, None, {"prov:type": fit})
    ana = document.agent("ex:ana", {"prov:type": person, "prov:label": "Ana"})
    tool = document.agent("ex:tool", {"prov:type": software})
    document.used(tiling, raw, time=start, other_attributes={"prov:role": "input"})
    document.wasGeneratedBy(tiles, tiling)
    document.used(training, tiles)
    document.wasGeneratedBy(model, training)
    document.wasAssociatedWith(tiling, ana, plan="ex:plan-of-tiling")
    document.wasAssociatedWith(tiling, tool)
    document.wasDerivedFrom(report, model, other_attributes={"prov:type": revision})
    document.wasDerivedFrom(slides, report, activity="ex:run3")
    document.wasAttributedTo(model, ana)
    document.specializationOf(tiles, raw)
    document.entity("ex:forgotten")
    bundle = document.bundle("ex:bundle1")
    bundle.wasGeneratedBy("ex:inside", "ex:run4")
    return document


@pytest.fixture(scope="module", params=["json", "provn"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prov") / f"survey.{request.param}"
    survey().serialize(str(path), format=request.param)
    return path


@pytest.fixture(scope="module")
def graph(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return build(tmp_path_factory.mktemp("graph"), read_prov([path]))


def test_an_activity_is_a_step_of_its_plan_or_type_with_its_times(graph: Imported) -> None:
    rows = graph.rows(
        """SELECT ?name ?step ?seconds { ?step provml:wasMemberOfWorkflowExecution ?run ;
        provml:wasDerivedFromDataTransformation/provml:name ?name .
        OPTIONAL { ?step provml:durationSeconds ?seconds } }"""
    )
    found = {name: (step.rpartition("%2F")[2], seconds) for name, step, seconds in rows}
    assert found["plan-of-tiling"] == ("run1", 30.0)
    assert found["Fit"] == ("run2", None)


def test_x03_follows_a_model_back_to_the_raw_file(graph: Imported) -> None:
    rows = graph.question("X03", model="ref/~/http%3A%2F%2Fexample.org%2Fmodel")
    assert {row["sourceValue"] for row in rows} == {"/data/tiles.h5", "/data/survey.sgy"}


def test_derivations_are_kept_with_and_without_their_activity(graph: Imported) -> None:
    rows = graph.rows(
        """SELECT ?result ?source { ?result prov:wasDerivedFrom ?source .
        FILTER(CONTAINS(STR(?result), "report") || CONTAINS(STR(?result), "slides")) }"""
    )
    names = {tuple(each.rpartition("%2F")[2] for each in row) for row in rows}
    assert names == {("report", "model"), ("slides", "report")}
    made = graph.rows(
        'SELECT ?name { ?dt provml:name ?name . FILTER(?name IN ("revision", "activity")) } ORDER BY ?name'
    )
    assert made == [("activity",), ("revision",)], "the activity of one is known, of the other its kind"


def test_a_person_is_associated_and_known_by_name(graph: Imported) -> None:
    rows = graph.rows("SELECT ?name { ?step prov:wasAssociatedWith ?who . ?who provml:name ?name }")
    assert ("Ana",) in rows


def test_attributes_are_kept_as_metadata(graph: Imported) -> None:
    kept = {text for (text,) in graph.rows("SELECT ?json { ?thing provml:customMetadata ?json }")}
    assert '{"prov":{"ex:inlines":23,"prov:label":"Netherlands"}}' in kept


def test_a_bundle_is_a_run_of_its_own(graph: Imported) -> None:
    rows = graph.rows("SELECT ?run { ?run a provml:WorkflowExecution } ORDER BY ?run")
    assert rows == [("wfe/prov/http%3A%2F%2Fexample.org%2Fbundle1",), ("wfe/prov/survey",)]


def test_what_has_no_place_is_counted_by_reason(graph: Imported) -> None:
    assert dict(graph.report.unmapped) == {
        "agent-no-person": 1,
        "attribution": 1,
        "entity-alone": 1,
        "specialization": 1,
        "usage-time": 1,
    }
    assert not graph.report.refused


def test_the_graph_conforms_and_has_every_derived_edge(graph: Imported) -> None:
    assert_updates_add_nothing(graph.graph)
    assert_conforms(graph.graph)


def test_ingesting_again_changes_nothing(graph: Imported, path: Path, imported: Build) -> None:
    assert imported([*read_prov([path]), *read_prov([path, path])]).hash == graph.hash


def test_json_and_provn_of_one_document_are_one_graph(tmp_path: Path, imported: Build) -> None:
    hashes = set()
    for form in ("json", "provn"):
        path = tmp_path / f"same.{form}"
        survey().serialize(str(path), format=form)
        hashes.add(imported(read_prov([path])).hash)
    assert len(hashes) == 1


def test_the_run_may_be_named(path: Path) -> None:
    (told, bundle) = (
        item for item in read_prov([path], Names(workflow="tiling", execution="r7")) if isinstance(item, Told)
    )
    assert (told.workflow, told.execution) == ("tiling", "r7")
    assert bundle.workflow == "tiling"


def test_a_wrong_statement_is_skipped_and_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wrong.provn"
    path.write_text(
        "document\n prefix ex <http://example.org/>\n entity(nowhere:a)\n wasGeneratedBy(ex:a, ex:x, -)\n"
        "endDocument\n"
    )
    refused, told = read_prov([path])
    assert isinstance(refused, Refused) and refused.reason == "statement-skipped"
    assert re.search("line 3.*nowhere", refused.message)
    assert isinstance(told, Told) and "http://example.org/a" in str(told.events)


def test_what_relations_say_beside_what_has_a_place_is_counted(tmp_path: Path) -> None:
    document = ProvDocument()
    document.add_namespace("ex", "http://example.org/")
    document.agent("ex:cron", {"prov:type": document.valid_qualified_name("prov:SoftwareAgent")})
    run, raw = document.activity("ex:run"), document.entity("ex:raw")
    document.used(run, raw, other_attributes={"prov:role": "input", "ex:bytes": 3})
    document.wasDerivedFrom("ex:tiles", raw, other_attributes={"ex:by": "hand"})
    document.serialize(str(tmp_path / "a.json"))
    found = [item.reason for item in read_prov([tmp_path / "a.json"]) if isinstance(item, Unmapped)]
    assert sorted(found) == ["agent-alone", "relation-attribute", "relation-attribute"]


@pytest.mark.parametrize(
    ("start", "reasons"),
    [("9999-12-31T23:59:59.999999+00:00", []), ("0001-01-01T00:00:00+05:00", ["bad-time"])],
)
def test_a_time_that_stands_for_never_is_taken_or_refused_and_the_rest_is_read(
    tmp_path: Path, start: str, reasons: list[str]
) -> None:
    path = tmp_path / "never.json"
    path.write_text(
        json.dumps(
            {
                "prefix": {"ex": "http://example.org/"},
                "activity": {"ex:a": {"prov:startTime": start}},
                "used": {"_:u": {"prov:activity": "ex:a", "prov:entity": "ex:e"}},
            }
        )
    )
    items = list(read_prov([path]))
    assert [item.reason for item in items if isinstance(item, Refused)] == reasons
    (told,) = (item for item in items if isinstance(item, Told))
    assert "http://example.org/e" in str(told.events)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"hello": {}}', '{"entity": {"ex:e": {}}}', "entity(a)", "\ufffd", '{"entity": 3}',
     '{"prefix": 3}'],
)  # fmt: skip
def test_a_file_that_is_no_document_is_refused_and_the_next_is_read(tmp_path: Path, text: str) -> None:
    broken, good = tmp_path / "a.json", tmp_path / "b.provn"
    broken.write_text(text)
    survey().serialize(str(good), format="provn")
    items = list(read_prov([broken, good]))
    assert isinstance(items[0], Refused) and items[0].where == str(broken), items[0]
    assert sum(isinstance(item, Told) for item in items) == 2
