"""The benchmark of the gateway runs, and holds its bags against what bounds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_bag_is_answered_and_compared() -> None:
    command = [sys.executable, "-m", "load_tests.gateway_rate", "--json", "--where", "spool"]
    done = subprocess.run(
        [*command, "--rate", "20", "--seconds", "1", "--rounds", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)["places"]["spool"]
    assert found["bags"] == 20 and found["cpu_ms_a_bag"] > 0
    assert set(found["rows"]) == {"bag of 50", "empty bag", "fsync of a bag"}
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in found["rows"].values())
