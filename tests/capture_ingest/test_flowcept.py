"""A buffer that FlowCept itself wrote (tests/data/flowcept) becomes runs, steps, turns and lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.capture.ingest.flowcept import read_flowcept
from headstream.capture.ingest.told import Refused, Told, Unmapped
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import StepEnded

from .conftest import Build, Imported, assert_conforms, assert_updates_add_nothing, build

BUFFER = Path(__file__).parents[1] / "data" / "flowcept" / "flowcept_buffer.jsonl"
DEFINITION = parse_definition(
    {
        "dataflow_name": "tiling",
        "workflow_type": "Experiment",
        "data_transformations": {
            "prepare": {
                "lifecycle_phase": "LearningDataPreparation",
                "input_datasets": [{"attributes": [{"name": "path", "semantics": "FILE_REFERENCE"}]}],
                "output_datasets": [{"attributes": [{"name": "tiles", "semantics": "FILE_REFERENCE"}]}],
            },
            "training": {
                "type": "LearningStage",
                "stage_type": "Training",
                "input_datasets": [
                    {
                        "attributes": [
                            {"name": "lr", "ml_semantics": "hyper_parameter"},
                            {"name": "data", "semantics": "FILE_REFERENCE", "ml_semantics": "dataset"},
                        ]
                    }
                ],
            },
            "epoch": {
                "type": "LearningStageSection",
                "cycle": True,
                "parent": "training",
                "output_datasets": [
                    {
                        "attributes": [
                            {"name": "loss", "ml_semantics": "evaluation_measure"},
                            {"name": "model", "semantics": "FILE_REFERENCE", "ml_semantics": "model"},
                        ]
                    }
                ],
            },
        },
    }
)


def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in BUFFER.read_text("utf-8").splitlines()]


RUN = records()[0]["workflow_id"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    items = read_flowcept([BUFFER], [DEFINITION])
    return build(tmp_path_factory.mktemp("graph"), items, (document(DEFINITION),))


def test_a_workflow_is_an_execution_of_its_name_with_what_it_was_given(graph: Imported) -> None:
    rows = graph.rows(
        "SELECT ?run ?outcome ?kept { ?run a provml:WorkflowExecution ; provml:outcome ?outcome ; "
        "provml:customMetadata ?kept }"
    )
    ((run, outcome, kept),) = rows
    assert (run, outcome) == (f"wfe/tiling/{RUN}", "FINISHED")
    assert json.loads(kept)["flowcept"]["used"] == {"survey": "north"}


def test_a_task_that_failed_says_why(graph: Imported) -> None:
    (row,) = [row for row in graph.question("X07") if row["problem"] == "failed"]
    assert (row["transformation"], row["error"]) == ("fails", "no 1")


def test_tasks_lie_in_tasks_that_are_told_after_them(graph: Imported) -> None:
    rows = graph.rows(
        """SELECT DISTINCT ?inner ?outer { ?step provml:wasPartOf ?around .
        ?step provml:wasDerivedFromDataTransformation/provml:name ?inner .
        ?around provml:wasDerivedFromDataTransformation/provml:name ?outer }"""
    )
    assert set(rows) == {("batch_iteration", "epoch"), ("epoch", "training")}


def test_turns_of_loops_have_their_index_and_what_they_generated(graph: Imported) -> None:
    rows = graph.rows(
        """SELECT ?i ?loss { ?turn a provml:CycleIteration ; provml:iteration ?i .
        ?turn provml:wasDerivedFromDataTransformation/provml:name "batch_iteration" .
        ?v prov:wasGeneratedBy ?turn ; prov:value ?loss } ORDER BY ?i"""
    )
    assert rows == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_definition_makes_references_of_texts_and_models_of_those(graph: Imported) -> None:
    rows = graph.question("X03", model="ref/~/models/0.pt")
    assert {row["sourceValue"] for row in rows} == {"/data/tiles.h5", "/data/survey.sgy"}
    (best,) = {row["best"] for row in graph.question("Q3", dataset="ref/~/data/tiles.h5")}
    assert best == 0.5


def test_processor_time_is_the_difference_of_the_telemetry(graph: Imported) -> None:
    (seconds,) = graph.rows(
        """SELECT ?s { ?step provml:cpuSeconds ?s .
        ?step provml:wasDerivedFromDataTransformation/provml:name "prepare" }"""
    )
    prepare = records()[1]
    times = [prepare[key]["process"]["cpu_times"] for key in ("telemetry_at_start", "telemetry_at_end")]
    assert seconds[0] == pytest.approx(sum(times[1][k] - times[0][k] for k in ("user", "system")))
    assert seconds[0] > 0


def test_ends_that_flowcept_does_not_time_are_counted(graph: Imported) -> None:
    assert dict(graph.report.unmapped) == {"end-without-time": 5}
    assert not graph.report.refused


def test_the_graph_conforms_and_has_every_derived_edge(graph: Imported) -> None:
    assert_updates_add_nothing(graph.graph)
    assert_conforms(graph.graph)


def test_ingesting_again_changes_nothing(graph: Imported, imported: Build) -> None:
    twice = [*read_flowcept([BUFFER], [DEFINITION]), *read_flowcept([BUFFER, BUFFER], [DEFINITION])]
    assert imported(twice, (document(DEFINITION),)).hash == graph.hash


def test_the_order_of_records_changes_nothing(graph: Imported, tmp_path: Path, imported: Build) -> None:
    path = tmp_path / "backwards.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in reversed(records())))
    assert imported(read_flowcept([path], [DEFINITION]), (document(DEFINITION),)).hash == graph.hash


def test_a_parent_may_lie_in_another_file_and_one_that_is_missing_is_counted(tmp_path: Path) -> None:
    inner, outer = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    epoch, training = (
        next(each for each in records() if each.get("activity_id") == name) for name in ("epoch", "training")
    )
    inner.write_text(json.dumps(epoch) + "\n")
    outer.write_text(json.dumps(training) + "\n")
    together = [item for item in read_flowcept([inner, outer]) if isinstance(item, Told)]
    assert together[0].events[-1].parent.transformation == "training"
    assert together[0].workflow == "flowcept", "no record says what the workflow is called"
    alone = list(read_flowcept([inner]))
    assert [item.reason for item in alone if isinstance(item, Unmapped)] == ["parent-task-unknown"]


def test_a_run_that_no_workflow_record_begins_is_begun_by_its_first_task(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records() if each.get("type") == "task"))
    told = [item for item in read_flowcept([path]) if isinstance(item, Told)]
    begun = [event for item in told for event in item.events if type(event).__name__ == "RunStarted"]
    assert len(begun) == 1 and begun[0].started is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"task_id": "1", "activity_id": "a"', "not-json"),
        ('{"task_id": "1", "activity_id": "a"}', "bad-identifier"),
        ('{"task_id": "", "workflow_id": "w"}', "bad-identifier"),
        ('{"task_id": "1", "workflow_id": "w", "started_at": "noon"}', "bad-time"),
        ("7", "bad-message"),
    ],
)
def test_a_bad_record_is_refused_with_its_place_and_the_rest_is_read(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "buffer.jsonl"
    path.write_text(f"{line}\n{json.dumps(records()[1])}\n")
    first, *rest = read_flowcept([path])
    assert isinstance(first, Refused) and (first.reason, first.where) == (reason, f"{path}:1")
    assert any(isinstance(item, Told) for item in rest)


def test_records_of_other_kinds_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "buffer.jsonl"
    path.write_text('{"type": "agent", "agent_id": "a"}\n{"type": "workflow", "workflow_id": "w", '
                    '"parent_workflow_id": "v"}\n')  # fmt: skip
    found = [item.reason for item in read_flowcept([path]) if isinstance(item, Unmapped)]
    assert found == ["other-record", "parent-workflow-unnamed"]


def test_a_processor_time_beyond_all_numbers_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "buffer.jsonl"
    prepare = records()[1]
    prepare["telemetry_at_end"]["process"]["cpu_times"]["user"] = 10**400
    path.write_text(json.dumps(prepare) + "\n")
    (told,) = (item for item in read_flowcept([path]) if isinstance(item, Told))
    assert any(isinstance(event, StepEnded) for event in told.events)


def test_what_a_workflow_generated_is_kept_though_its_end_is_not_told(
    tmp_path: Path, imported: Build
) -> None:
    path = tmp_path / "buffer.jsonl"
    path.write_text('{"type": "workflow", "workflow_id": "w", "name": "fit", "generated": {"best": 0.25}}\n')
    found = imported(read_flowcept([path])).rows(
        "SELECT ?run ?best { ?v prov:wasGeneratedBy ?run ; prov:value ?best }"
    )
    assert found == [("wfe/fit/w", 0.25)]


TEXT = st.text("a:/ \ud800\u00e9", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["type", "task_id", "workflow_id", "activity_id", "parent_task_id", "used", "generated", "started_at",
     "ended_at", "status", "group_id", "telemetry_at_start", "telemetry_at_end", "hostname", "user", "name",
     "stderr", "parent_workflow_id"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.dictionaries(KEYS, JSON), max_size=3), st.sampled_from(["task", "workflow", None]))
def test_no_record_makes_the_reader_raise(
    tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]], kind: str | None
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "buffer.jsonl"
    common = {"workflow_id": "w", "task_id": "t", "type": kind}
    path.write_text("".join(json.dumps(common | each) + "\n" for each in found))
    assert all(isinstance(item, Told | Refused | Unmapped) for item in read_flowcept([path], [DEFINITION]))
