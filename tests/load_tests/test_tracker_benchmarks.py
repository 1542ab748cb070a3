"""The benchmarks of the tracker run, and every contender gets all bags through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_reading_a_bag_into_events_costs_no_more_than_twice_a_bare_read_by_fastavro() -> None:
    table = run("load_tests.tracker_core", "--rounds", "5")
    for kind in ("steps", "files", "batches"):
        assert table[kind]["decode"] < 2 * table[kind]["bare decode (fastavro)"], table[kind]


def test_every_contender_gets_all_bags_through_a_real_broker(artefacts: Artefacts) -> None:
    found = run("load_tests.tracker_rate", "--quick")["kinds"]["steps"]
    assert len(found["rows"]) == 5
    for name, row in found["rows"].items():
        assert row["events"] >= 0.5 * 100 * 50 and row["cpu"] > 0, (name, row)
    assert found["scaling_cpu"] > 0


def test_a_replay_and_what_is_live_get_all_events_through(artefacts: Artefacts) -> None:
    found = run("load_tests.replay_rate", "--events", "2000", "--store", "oxigraph", "--workers", "1")
    assert found["published"] > 0 and found["target"] == 1000
    assert set(found["rates"]) == {"loops into oxigraph", "steps into oxigraph"}
    for row in found["rates"].values():
        assert set(row) == {"saturated live chain", "replay, 1 workers"}
        assert row["replay, 1 workers"]["events"] > 0 and all(rate["cpu"] > 0 for rate in row.values())
