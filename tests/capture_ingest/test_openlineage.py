"""Events that the OpenLineage client itself wrote become runs, steps, datasets and lineage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.capture.ingest.jsonl import records
from headstream.capture.ingest.openlineage import Translator, read_openlineage, text_of
from headstream.capture.ingest.told import Refused, Told, Unmapped

from .conftest import Build, Imported, assert_conforms, assert_updates_add_nothing, build

DAILY, TILE, LOAD = (f"0197f0a4-0000-7000-8000-00000000000{number}" for number in range(3))
LOADED = "ref/~/postgres%3A%2F%2Fdb%3A5432%2Fgeo.public.tiles"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openlineage") / "events.jsonl"
    script = Path(__file__).with_name("write_openlineage.py")
    subprocess.run([sys.executable, str(script), str(path)], check=True, timeout=120, capture_output=True)
    return path


@pytest.fixture(scope="module")
def graph(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return build(tmp_path_factory.mktemp("graph"), read_openlineage(records([events])))


def messages(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_run_of_a_job_is_an_execution_with_its_times_and_outcome(graph: Imported) -> None:
    rows = graph.rows(
        """SELECT ?run ?start ?seconds ?outcome {
        ?run a provml:WorkflowExecution ; prov:startedAtTime ?start ;
        provml:durationSeconds ?seconds ; provml:outcome ?outcome } ORDER BY ?start"""
    )
    assert rows == [
        (f"wfe/airflow%2Fdaily/{DAILY}", "2026-11-26T08:00:00Z", 8.0, "ERRORED"),
        (f"wfe/airflow%2Fdaily.tile/{TILE}", "2026-11-26T08:00:01.5Z", 3.5, "FINISHED"),
        (f"wfe/airflow%2Fdaily.load/{LOAD}", "2026-11-26T08:00:06Z", 1.0, "FINISHED"),
    ]


def test_the_parent_facet_is_the_run_around_a_run(graph: Imported) -> None:
    around = f"wfe/airflow%2Fdaily/{DAILY}"
    rows = graph.rows("SELECT ?run ?around { ?run provml:wasNestedIn ?around }")
    assert set(rows) == {
        (f"wfe/airflow%2Fdaily.tile/{TILE}", around),
        (f"wfe/airflow%2Fdaily.load/{LOAD}", around),
    }


def test_x07_tells_what_failed_and_why(graph: Imported) -> None:
    rows = [row for row in graph.question("X07") if row["problem"] == "failed"]
    assert [(row["transformation"], row["error"]) for row in rows] == [("daily", "boom")]


def test_x04_follows_a_raw_file_over_two_jobs(graph: Imported) -> None:
    rows = graph.question("X04", file="ref/~/raw/survey/a.sgy")
    assert {row["affected"] for row in rows} == {"ref/~/data/tiles.h5", LOADED, f"{LOADED};v=7"}


def test_outputs_derive_from_inputs_that_an_earlier_message_named(graph: Imported) -> None:
    assert_updates_add_nothing(graph.graph)
    assert_conforms(graph.graph)


def test_every_facet_is_kept(graph: Imported, events: Path) -> None:
    kept = " ".join(text for (text,) in graph.rows("SELECT ?json { ?thing provml:customMetadata ?json }"))
    for name in ("parent", "errorMessage", "schema", "version", "outputStatistics", "tags"):
        assert f'"{name}":' in kept, name
    (size,) = graph.rows("SELECT ?size { ?file provml:sizeBytes ?size }")
    assert size == (1024,)


def test_events_of_no_run_are_counted(graph: Imported) -> None:
    assert dict(graph.report.unmapped) == {"dataset-event": 1, "job-event": 1}
    assert not graph.report.refused


def test_reading_again_and_in_part_changes_nothing(events: Path, graph: Imported, imported: Build) -> None:
    twice = imported([*read_openlineage(records([events])), *read_openlineage(records([events, events]))])
    assert twice.hash == graph.hash


def test_in_whatever_order_messages_come_only_durations_may_be_missing(
    events: Path, graph: Imported, imported: Build
) -> None:
    translator = Translator()
    backwards = [item for message in messages(events)[::-1] for item in translator.translate(message)]
    missing = graph.triples() - imported(backwards).triples()
    assert missing and all("durationSeconds" in triple for triple in missing)


def test_a_translator_that_has_forgotten_a_run_says_less_and_nothing_else(
    events: Path, graph: Imported, imported: Build
) -> None:
    """As after a restart of the gateway in the middle."""
    items = [item for message in messages(events) for item in Translator().translate(message)]
    assert imported(items).triples() < graph.triples()


def test_a_bad_line_is_refused_with_its_place_and_the_rest_is_read(events: Path, tmp_path: Path) -> None:
    lines = events.read_text("utf-8").splitlines()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join(["[1, ", lines[0], '{"eventType": "START"}', "", f"[{lines[1]}]"]))
    found = list(read_openlineage(records([broken])))
    refused = [(item.reason, item.where) for item in found if isinstance(item, Refused)]
    assert refused == [("not-json", f"{broken}:1"), ("bad-message", f"{broken}:3")]
    assert [item.execution for item in found if isinstance(item, Told)] == [DAILY, TILE]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eventType": "PAUSE"}, "unknown-event-type"),
        ({"eventTime": "yesterday"}, "bad-time"),
        ({"eventTime": None}, "bad-time"),
        ({"eventTime": "0001-01-01T00:00:00+05:00"}, "bad-time"),
        ({"run": {}}, "bad-identifier"),
        ({"job": {"namespace": "a", "name": ""}}, "bad-identifier"),
        ({"run": None}, "bad-message"),
        ({"inputs": {}}, "bad-message"),
        ({"inputs": [{"name": "x"}]}, "bad-identifier"),
        ({"outputs": [3]}, "bad-message"),
        ({"run": {"runId": "r", "facets": 3}}, "bad-message"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_with_a_reason(
    events: Path, change: dict[str, Any], reason: str
) -> None:
    (found,) = Translator().translate({**messages(events)[0], **change})
    assert isinstance(found, Refused) and found.reason == reason and found.message


def test_an_event_without_a_type_only_adds_to_its_run(events: Path) -> None:
    message = messages(events)[1]
    del message["eventType"]
    (told,) = Translator().translate(message)
    assert isinstance(told, Told)
    assert [type(event).__name__ for event in told.events] == ["RunStarted", "StepStarted"]
    assert told.events[0].started is None


TEXT = st.text("a:/ \ud800\u00e9", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "dataset"])


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON))
def test_no_message_makes_the_translator_raise(change: dict[str, Any]) -> None:
    message = {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-26T10:00:00Z",
        "run": {"runId": "r"},
        "job": {"namespace": "n", "name": "j"},
        **change,
    }
    for item in Translator().translate(message):
        assert isinstance(item, Told | Refused | Unmapped)


@pytest.mark.parametrize(
    ("namespace", "name", "text"),
    [
        ("file", "/data/a.h5", "/data/a.h5"),
        ("file://host", "/data/a.h5", "/data/a.h5"),
        ("s3://bucket", "key/part", "s3://bucket/key/part"),
        ("s3://bucket", "/key/part", "s3://bucket/key/part"),
        ("postgres://db:5432", "geo.public.t", "postgres://db:5432/geo.public.t"),
        ("bigquery", "project.set.table", "bigquery://project.set.table"),
        ("my warehouse", "t", "openlineage://my%20warehouse/t"),
    ],
)
def test_a_dataset_is_named_as_others_name_the_same_data(namespace: str, name: str, text: str) -> None:
    assert text_of(namespace, name) == text
