"""Runs that MLflow itself recorded, in a tracking directory and in SQLite, answer the questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from headstream.capture.ingest.errors import SourceUnreadable
from headstream.capture.ingest.mlflow.mapping import map_run
from headstream.capture.ingest.mlflow.reading import open_mlflow, read_mlflow
from headstream.capture.ingest.mlflow.records import Run
from headstream.capture.ingest.mlflow.sources import Selection
from headstream.capture.ingest.told import Item, Refused, Told
from headstream.schemas.definition import Store, parse_definition, to_document
from headstream.schemas.mounts import Mounts

from .conftest import Imported, assert_conforms, assert_updates_add_nothing, build

SCRIPT = Path(__file__).with_name("write_mlflow.py")
EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What MLflow wrote: where it keeps it, where the data lie, and the ids that it gave."""

    path: Path
    files: Path
    ids: dict[str, str]
    graph: Imported

    def reference(self, name: str) -> str:
        return f"ref/~/{str(self.files / name).lstrip('/')}"


@pytest.fixture(scope="module", params=["directory", "sqlite"])
def tracked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    # MLflow writes a new database in some hundred transactions, each of which waits for a disk.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="headstream-mlflow-", dir=memory) as name:
        yield _tracked(Path(name), request.param, tmp_path_factory.mktemp("graph"))


def _tracked(place: Path, kind: str, folder: Path) -> Tracked:
    path = place / ("runs" if kind == "directory" else "mlflow.db")
    uri = str(path) if kind == "directory" else f"sqlite:///{path}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), uri, str(place / "files")],
        cwd=place,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout.splitlines()[-1])
    return Tracked(path=path, files=place / "files", ids=ids, graph=build(folder, items(path)))


def items(path: Path, selection: Selection = EVERYTHING, mounts: Mounts | None = None) -> Iterator[Item]:
    return read_mlflow(open_mlflow(path, selection), mounts or Mounts())


def run_of(tracked: Tracked, name: str) -> str:
    return f"wfe/seismic/{tracked.ids[name]}"


def test_a_run_is_an_execution_of_its_experiment_inside_the_run_around_it(tracked: Tracked) -> None:
    rows = tracked.graph.rows("SELECT ?run ?around { ?run provml:wasNestedIn ?around } ORDER BY ?run")
    around = run_of(tracked, "search")
    assert set(rows) == {(run_of(tracked, "coarse"), around), (run_of(tracked, "fine"), around)}
    kinds = tracked.graph.rows("SELECT DISTINCT ?run { ?run a provml:LearningProcessExecution }")
    assert len(kinds) == 6, "one is deleted"
    assert dict(tracked.graph.report.unmapped)["deleted-run"] == 1


def test_a_failed_run_is_errored_and_one_that_goes_on_has_no_end(tracked: Tracked) -> None:
    rows = dict(tracked.graph.rows("SELECT ?run ?o { ?run a provml:WorkflowExecution ; provml:outcome ?o }"))
    assert rows[run_of(tracked, "broken")] == "ERRORED"
    assert rows[run_of(tracked, "fine")] == "FINISHED"
    assert run_of(tracked, "running") not in rows
    running = tracked.graph.question("X02")
    assert {each["run"] for each in running} == {run_of(tracked, "running")}


def test_x01_tells_the_metrics_by_step(tracked: Tracked) -> None:
    rows = tracked.graph.question("X01", run=run_of(tracked, "fine"), measure="loss")
    found = [(row["epoch"], row["measure"], row["value"]) for row in rows]
    assert found == [(epoch, "loss", 0.001 / (epoch + 1)) for epoch in range(4)]


def test_values_that_were_logged_without_a_step_are_turns_of_their_own(tracked: Tracked) -> None:
    rows = tracked.graph.question("X01", run=run_of(tracked, "fine"), measure="unnumbered")
    assert sorted((row["epoch"], row["value"]) for row in rows) == [(0, 7.0), (0, 8.0), (0, 9.0)]


def test_q3_finds_the_best_model_of_a_dataset_with_its_hyperparameters(tracked: Tracked) -> None:
    rows = tracked.graph.question("Q3", dataset=tracked.reference("train.csv"))
    assert {row["best"] for row in rows} == {0.001 / 4}
    settings = {row["name"]: row["value"] for row in rows if row["kind"] == "learning hyperparameter"}
    # MLflow keeps text: what Python would write so is a number or a boolean, and nothing else.
    assert settings == {"lr": 0.001, "optimizer": "adam", "version": "1.10", "amp": True}
    (path,) = {row["modelPath"] for row in rows}
    assert path.endswith(f"{tracked.ids['fine']}/artifacts/model")


def test_x05_compares_the_models_of_all_runs_of_a_dataset(tracked: Tracked) -> None:
    rows = tracked.graph.question("X05", dataset=tracked.reference("train.csv"))
    rates = {(row["run"], row["value"]) for row in rows if row["name"] == "lr"}
    assert rates == {(run_of(tracked, "coarse"), 0.1), (run_of(tracked, "fine"), 0.001)}


def test_a_checkpoint_is_generated_by_the_turn_of_its_step(tracked: Tracked) -> None:
    rows = tracked.graph.rows(
        f"""SELECT ?epoch ?loss {{
          ?model prov:wasGeneratedBy ?turn ; prov:value ?path ; provml:hasEvaluation ?e .
          FILTER(CONTAINS(?path, "{tracked.ids["fine-checkpoint"]}"))
          ?turn provml:iteration ?epoch . ?e prov:wasGeneratedBy ?turn ; prov:value ?loss ;
          provml:wasDerivedFromAttribute/provml:name "loss" }}"""
    )
    assert rows == [(2, 0.001 / 3)]


def test_a_metric_of_a_model_and_a_validation_dataset_evaluates_that_model_alone(tracked: Tracked) -> None:
    rows = tracked.graph.rows(
        """SELECT ?path ?value ?stage ?data { ?model provml:hasEvaluation ?e ; prov:value ?path .
        ?e provml:wasDerivedFromAttribute/provml:name "val_loss" ; prov:value ?value .
        ?e prov:wasGeneratedBy ?step .
        ?step provml:wasDerivedFromDataTransformation/provml:stageType ?stage .
        ?step provml:wasPartOf/prov:used ?set . ?set prov:value ?data }"""
    )
    found = {
        (Path(path).parent.name, value, stage.rpartition("#")[2], data) for path, value, stage, data in rows
    }
    data = str(tracked.files / "valid.csv")
    assert found == {
        (tracked.ids["fine-checkpoint"], 0.002, "Validation", data),
        (tracked.ids["coarse-checkpoint"], 0.2, "Validation", data),
    }


def test_metrics_of_two_models_in_one_millisecond_evaluate_each_its_own(tracked: Tracked) -> None:
    rows = tracked.graph.rows(
        """SELECT ?path ?value { ?model provml:hasEvaluation ?e ; prov:value ?path .
        ?e provml:wasDerivedFromAttribute/provml:name "score" ; prov:value ?value }"""
    )
    found = {(Path(path).parent.name, value) for path, value in rows}
    assert found == {(tracked.ids["rival-one"], 1.0), (tracked.ids["rival-two"], 2.0)}


def test_what_has_no_place_is_counted_by_reason(tracked: Tracked) -> None:
    assert dict(tracked.graph.report.unmapped) == {"deleted-run": 1}
    assert not tracked.graph.report.refused


def test_x10_tells_the_evaluations_of_a_model_by_stage(tracked: Tracked) -> None:
    (model,) = {row["model"] for row in tracked.graph.question("Q3", dataset=tracked.reference("train.csv"))}
    rows = tracked.graph.question("X10", model=model)
    found = {(row["stageType"].rpartition("#")[2].removeprefix("provml:"), row["measure"]) for row in rows}
    assert found == {("Training", name) for name in ("loss", "grad", "unnumbered")}


def test_x09_tells_who_ran_it_and_metrics_of_the_machine_are_telemetry(tracked: Tracked) -> None:
    (model,) = {row["model"] for row in tracked.graph.question("Q3", dataset=tracked.reference("train.csv"))}
    (context,) = [row for row in tracked.graph.question("X09", model=model) if "training" in row["stage"]]
    assert context["run"] == run_of(tracked, "fine") and context["person"]
    rows = tracked.graph.rows(
        f"""SELECT ?value {{ ?v prov:wasGeneratedBy ?turn ; prov:value ?value .
        ?turn provml:wasMemberOfWorkflowExecution <https://provml.example.org/id/{run_of(tracked, "fine")}> ;
        provml:wasDerivedFromDataTransformation/provml:name "telemetry" }}"""
    )
    assert rows == [(12.5,)]


def test_artifacts_are_references_with_their_size_that_derive_from_the_datasets(tracked: Tracked) -> None:
    rows = tracked.graph.rows(
        """SELECT ?path ?size ?source { ?file prov:value ?path ; provml:sizeBytes ?size ;
        prov:wasDerivedFrom/prov:value ?source . FILTER(STRENDS(?path, "/notes/a.txt")) }"""
    )
    assert {(size, source) for _, size, source in rows} == {(5, str(tracked.files / "train.csv"))}
    assert not tracked.graph.rows('SELECT ?p { ?file prov:value ?p FILTER(STRENDS(?p, "weights.bin")) }'), (
        "what lies in the folder of a model is part of the model"
    )


def test_the_store_of_a_path_is_found_by_its_mounts(tracked: Tracked) -> None:
    gpfs = Store(id="gpfs1", name="scratch", type="FileSystem", mounts=(str(tracked.files),))
    told = next(
        item
        for item in items(tracked.path, Selection(runs=frozenset({tracked.ids["fine"]})), Mounts.of([gpfs]))
        if isinstance(item, Told)
    )
    assert "store='gpfs1'" in str(told.events[1])


def test_ingesting_again_changes_nothing(tracked: Tracked, tmp_path: Path) -> None:
    again = build(tmp_path, [*items(tracked.path), *items(tracked.path)])
    assert again.hash == tracked.graph.hash


def test_a_run_read_while_it_goes_on_is_only_added_to(tracked: Tracked, tmp_path: Path) -> None:
    """Whatever is told of a run that is not over holds when it is: nothing then has two values."""
    told = build(tmp_path, [_going_on(tracked), *items(tracked.path)])
    assert tracked.graph.triples() == told.triples()


def _going_on(tracked: Tracked) -> Told:
    """The first half of the finest run, as a reader would have found it."""
    source = open_mlflow(tracked.path, Selection(runs=frozenset({tracked.ids["fine"]})))
    run = next(found for found in source.runs() if not isinstance(found, Refused))
    points = tuple(point for point in run.points if point.step < 2)
    half = replace(run, status="RUNNING", ended=None, points=points)
    (told,) = (item for item in map_run(half, Mounts()) if isinstance(item, Told))
    assert not any(type(event).__name__ == "RunEnded" for event in told.events)
    # The plan of the half is a smaller document; that of the whole is the one that is compared.
    whole = next(item for item in items(tracked.path) if isinstance(item, Told) and item.execution == run.id)
    return replace(told, definition=whole.definition)


def test_the_graph_conforms_and_has_every_derived_edge(tracked: Tracked) -> None:
    assert_updates_add_nothing(tracked.graph.graph)
    assert_conforms(tracked.graph.graph)


def test_the_document_of_a_run_is_one_that_the_tracker_reads(tracked: Tracked) -> None:
    for item in items(tracked.path):
        if isinstance(item, Told):
            assert item.definition is not None
            assert parse_definition(to_document(item.definition)) == item.definition


def test_only_runs_that_are_asked_for_are_read(tracked: Tracked) -> None:
    chosen = Selection(experiments=frozenset({"seismic"}), runs=frozenset({tracked.ids["fine"]}))
    told = [item.execution for item in items(tracked.path, chosen) if isinstance(item, Told)]
    assert told == [tracked.ids["fine"]]
    with pytest.raises(SourceUnreadable, match="seismic"):
        open_mlflow(tracked.path, Selection(experiments=frozenset({"sesmic"})))


def test_since_a_time_only_runs_in_which_something_changed_are_read(tracked: Tracked) -> None:
    def told(since: int) -> set[str]:
        chosen = Selection(experiments=frozenset({"seismic"}), since=since)
        return {item.execution for item in items(tracked.path, chosen) if isinstance(item, Told)}

    everything = {item.execution for item in items(tracked.path) if isinstance(item, Told)}
    assert told(0) == everything
    later = int(time.time() * 1000) + 60_000
    # A run that goes on may have changed for all that a database knows; a file has its time.
    assert told(later) == ({tracked.ids["running"]} if tracked.path.suffix == ".db" else set())
    with pytest.raises(SourceUnreadable, match="seismic"):
        open_mlflow(tracked.path, Selection(experiments=frozenset({"sesmic"}), since=later))


@pytest.mark.parametrize("tracked", ["sqlite"], indirect=True)
def test_of_a_database_runs_are_read_again_that_began_ended_or_had_a_metric_since(tracked: Tracked) -> None:
    (whole,) = (
        run
        for run in open_mlflow(tracked.path, Selection(runs=frozenset({tracked.ids["fine"]}))).runs()
        if isinstance(run, Run)
    )
    assert whole.ended is not None

    def taken(since: int) -> bool:
        return open_mlflow(tracked.path, Selection(runs=frozenset({whole.id}), since=since)).total == 1

    last = max(whole.ended, *(point.at for point in whole.points))
    assert taken(last) and not taken(last + 1)


def test_of_a_directory_a_run_is_read_again_when_a_file_of_it_is_written(tmp_path: Path) -> None:
    experiment = tmp_path / "7"
    for run in ("a", "b"):
        (experiment / run / "metrics").mkdir(parents=True)
        (experiment / run / "meta.yaml").write_text(f"run_id: {run}\nstatus: 3\nstart_time: 1\nend_time: 2\n")
        (experiment / run / "metrics" / "loss").write_text("1 0.5 1\n")
        for path in (experiment / run).rglob("*"):
            os.utime(path, (1000, 1000))
    (experiment / "meta.yaml").write_text("experiment_id: '7'\nname: old\n")
    assert open_mlflow(tmp_path, Selection(since=1_000_001)).total == 0
    os.utime(experiment / "b" / "metrics" / "loss", (2000, 2000))
    chosen = open_mlflow(tmp_path, Selection(since=2_000_000))
    assert [run.id for run in chosen.runs() if isinstance(run, Run)] == ["b"]


def test_what_is_broken_in_a_directory_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    experiment = tmp_path / "7"
    for run in ("a", "b"):
        (experiment / run / "metrics").mkdir(parents=True)
        (experiment / run / "meta.yaml").write_text(
            f"run_id: {run}\nstatus: 3\nstart_time: 1000\nend_time: 2000\nartifact_uri: s3://bucket/{run}\n"
        )
    (experiment / "meta.yaml").write_text("experiment_id: '7'\nname: old\n")
    (experiment / "a" / "metrics" / "loss").write_text("1500 0.5 1\nnonsense\n1600 0.25\n")
    (experiment / "b" / "meta.yaml").write_text("{")
    found = list(items(tmp_path))
    refused = {(item.reason, Path(item.where).name) for item in found if isinstance(item, Refused)}
    assert refused == {("metric-line", "loss:2"), ("run-unreadable", "b")}
    (told,) = (item for item in found if isinstance(item, Told))
    assert told.execution == "a" and "0.25" in str(told.events)
    assert "artifacts-not-listed" in {getattr(item, "reason", None) for item in found}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.mkdir(), "no experiments"),
        (lambda path: path.write_text("x"), "no SQLite file"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4096)), "cannot be read"),
    ],
)
def test_what_is_not_of_mlflow_is_said_with_what_to_give(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "it")
    with pytest.raises(SourceUnreadable) as refused:
        open_mlflow(tmp_path / "it", EVERYTHING)
    assert words in str(refused.value) and str(tmp_path / "it") in str(refused.value)
