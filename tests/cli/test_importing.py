"""`ingest`: what other trackers wrote goes the way of what is captured, and what does not is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BUFFER = Path(__file__).parents[1] / "data" / "flowcept" / "flowcept_buffer.jsonl"
EVENTS = "SELECT (COUNT(*) AS ?n) WHERE { ?run a <https://w3id.org/provml/ns#WorkflowExecution> }"


def mlruns(home: Path) -> Path:
    """A tracking directory as MLflow lays it out (what MLflow itself writes: tests/capture_ingest)."""
    run = home / "mlruns" / "1" / "r1"
    (run / "metrics").mkdir(parents=True)
    (home / "mlruns" / "1" / "meta.yaml").write_text(
        "experiment_id: '1'\nname: fit\nlifecycle_stage: active\n"
    )
    (run / "meta.yaml").write_text(
        "run_id: r1\nstatus: 3\nstart_time: 1000\nend_time: 2000\nlifecycle_stage: active\n"
    )
    (run / "metrics" / "loss").write_text("".join(f"{1000 + n} {1 / (n + 1)} {n}\n" for n in range(2000)))
    return home / "mlruns"


def runs(cli: Any, *where: str) -> int:
    answer = cli("sparql", "-", "--format", "json", *where, stdin=EVENTS)
    assert answer.status == 0, answer.err
    return int(json.loads(answer.out)["results"]["bindings"][0]["n"]["value"])


def test_what_is_up_takes_an_import_and_a_replay_gives_it_again(up: Any) -> None:
    told = up("ingest", "mlflow", str(mlruns(up.home)), "--wait", "60", "--json")
    assert told.status == 0, told.err
    assert told.json["runs"] == 1 and told.json["taken"] is True
    assert told.json["events"] == 2 * 2000 + 4
    assert runs(up) == 1
    asked = up("query", "X01", "-p", "run=wfe/fit/r1", "-p", "measure=loss", "--format", "json")
    assert asked.status == 0, asked.err
    assert len(json.loads(asked.out)["rows"]) == 2000
    verified = up("verify", "live", "spool")
    assert verified.status == 0, "what was imported is in the archive, as the source of truth"


def test_of_a_tracking_directory_only_what_changed_since_a_time_is_read(cli: Any) -> None:
    path = mlruns(cli.home)
    for since, runs in (("1h", 1), ("2000-01-01", 1), ("2999-01-01", 0)):
        told = cli("ingest", "mlflow", str(path), "--since", since, "--dry-run", "--json")
        assert told.status == 0 and told.json["runs"] == runs, told.err
    wrong = cli("ingest", "mlflow", str(path), "--since", "yesterday", "--dry-run")
    assert wrong.status == 1 and "--since 'yesterday' is no time" in wrong.said


def test_with_nothing_up_an_import_waits_in_the_spool(cli: Any) -> None:
    told = cli("ingest", "flowcept", str(BUFFER))
    assert told.status == 0 and "headstream up" in told.err
    assert "5 has no place in the graph: end-without-time" in told.out
    assert cli("spool", "verify").status == 0
    assert cli("replay", "--into", f"oxigraph:{cli.home / 'store'}").status == 0
    assert runs(cli, "--store", f"oxigraph:{cli.home / 'store'}") == 1


def test_into_fills_a_store_and_leaves_nothing_in_the_spool(cli: Any) -> None:
    store = f"oxigraph:{cli.home / 'store'}"
    first = cli("ingest", "flowcept", str(BUFFER), "--into", store, "--json")
    again = cli("ingest", "flowcept", str(BUFFER), "--into", store, "--json")
    assert first.status == again.status == 0, first.err + again.err
    assert first.json["hash"] == again.json["hash"] and again.json["triples_before"] == first.json["triples"]
    assert not list(cli.data.rglob("*~*"))


def test_a_dry_run_counts_and_tells_nobody(cli: Any) -> None:
    told = cli("ingest", "mlflow", str(mlruns(cli.home).parent), "--dry-run")
    assert told.status == 0 and told.out == "would tell 4004 events of 1 runs\n"
    assert not cli.data.exists() or not list(cli.data.rglob("*~*"))


def test_what_is_refused_is_counted_with_its_place_and_kept(cli: Any) -> None:
    (cli.home / "events.jsonl").write_text('{"eventType": "START"}\nnonsense\n')
    told = cli("ingest", "openlineage", "events.jsonl", "--dry-run", "--refused", "refused.jsonl", "--json")
    assert told.status == 1 and "no run was found" in told.err, "not one line was an event"
    assert told.json["refused"] == {"bad-message": 1, "not-json": 1}
    assert told.json["examples"]["not-json"][0]["where"] == "events.jsonl:2"
    kept = [json.loads(line) for line in (cli.home / "refused.jsonl").read_text().splitlines()]
    assert [(each["reason"], each["where"]) for each in kept] == [
        ("bad-message", "events.jsonl:1"),
        ("not-json", "events.jsonl:2"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mlflow", "nowhere"], "nowhere is not there"),
        (["w3c-prov", "empty"], "has no file that ends in .json, .provn"),
        (["flowcept", str(BUFFER), "--definition", "stores.yaml"], "stores.yaml holds no definition"),
        (["flowcept", str(BUFFER), "--stores", "plan.yaml"], "plan.yaml holds other things than stores"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(cli: Any, arguments: list[str], words: str) -> None:
    (cli.home / "empty").mkdir()
    (cli.home / "stores.yaml").write_text("stores: [{id: s, type: GPFS}]\n")
    (cli.home / "plan.yaml").write_text("dataflow_name: tiling\n")
    told = cli("ingest", *arguments)
    assert told.status == 1 and words in told.said


def test_an_import_needs_a_spool_that_can_be_written(cli: Any) -> None:
    told = cli("ingest", "flowcept", str(BUFFER), env={"HEADSTREAM_SPOOL": "off"})
    assert told.status == 1 and "HEADSTREAM_SPOOL" in told.err
