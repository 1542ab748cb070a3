"""Importing capture is light, and so is a script that only spools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HEAVY = ["numpy", "torch", "fastavro", "yaml", "confluent_kafka", "httpx", "aiokafka", "rdflib"]


def test_importing_and_spooling_loads_nothing_heavy(tmp_path: Path) -> None:
    body = """
import sys, json
from headstream import capture
first = sorted(sys.modules)
with capture.workflow("w") as run:
    for turn in run.loop("t", range(3)):
        turn.generated(x=0.5)
print(json.dumps([first, sorted(sys.modules)]))
"""
    env = {**os.environ, "HEADSTREAM_SPOOL": str(tmp_path / "s"), "HEADSTREAM_GIT": "off"}
    env.pop("HEADSTREAM_BOOTSTRAP", None)
    found = subprocess.run(
        [sys.executable, "-c", body], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    first, after = json.loads(found.stdout)
    for loaded in (first, after):
        assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    assert "socket" not in first and "ssl" not in after


def test_importing_starts_nothing_and_reads_no_setting(tmp_path: Path) -> None:
    body = """
import os, threading
os.environ["HEADSTREAM_BOOTSTRAP"] = "nowhere:1"
from headstream import capture
assert threading.active_count() == 1 and not os.path.exists(os.environ["HEADSTREAM_SPOOL"])
"""
    env = {**os.environ, "HEADSTREAM_SPOOL": str(tmp_path / "s")}
    subprocess.run([sys.executable, "-c", body], env=env, check=True, timeout=60)
