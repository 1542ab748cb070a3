"""Whatever dies, whenever: the graph becomes that of an undisturbed run (faults rows 8, 14 and 20)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.capture.reading import read, spools
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import MemoryStore
from headstream.stream_processors.replay import replay_records

# Captures turns for ever and says the number of each one whose calls have returned.
SCRIPT = """
import sys
from headstream import capture
with capture.workflow("killed", execution="run", definition={definition!r}) as run:
    with run.task("training", used={{"rate": 0.5}}) as training:
        for epoch in training.loop("epoch", range(10**6), index_as="epoch"):
            for batch in epoch.loop("batch", range(50)):
                batch.generated(loss=1.0 / (batch.index + 1))
            epoch.generated(loss=0.5, model_path=capture.file(f"/models/m{{epoch.index}}.pt", store="gpfs1"))
            print(epoch.index, flush=True)
"""
DEFINITION = {
    "dataflow_name": "killed",
    "workflow_type": "Experiment",
    "data_transformations": {
        "training": {"type": "LearningStage", "stage_type": "Training"},
        "epoch": {
            "type": "LearningStageSection", "cycle": True, "parent": "training",
            "output_datasets": [{"attributes": [
                {"name": "loss", "ml_semantics": "evaluation_measure"},
                {"name": "model_path", "ml_semantics": "model", "semantics": "FILE_REFERENCE"},
            ]}],
        },
        "batch": {"type": "LearningStageSection", "cycle": True, "parent": "epoch"},
    },
}  # fmt: skip


def replayed(root: Path) -> MemoryStore:
    """The graph of a kept spool: the oracle, since replay runs the pure functions without any process."""

    def records() -> Iterator[Document | Bag]:
        for spool in spools(root):
            yield from read(spool)

    store = MemoryStore()
    letters = MemoryDeadLetters()
    replay_records(records(), lambda facts: write_identified(store, facts, letters, DEFAULT_BASE) and None)
    assert letters.letters == []
    return store


def kill_in_mid_epoch(env: dict[str, str], epochs: int) -> int:
    """Run the script, kill it after so many epochs and a little more, and return the last one it told."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(definition=DEFINITION)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        last = -1
        for line in script.stdout:
            last = int(line)
            if last >= epochs:
                script.send_signal(signal.SIGKILL)
                break
        rest = script.stdout.read().split()
    return int(rest[-1]) if rest else last


def test_everything_a_killed_script_captured_reaches_the_graph(pipeline: Any, tmp_path: Path) -> None:
    pipeline.start("sink")
    pipeline.start("tracker")
    offline = {**pipeline.env, "HEADSTREAM_TRANSPORT": "offline"}
    last = kill_in_mid_epoch(offline, epochs=20)
    oracle = replayed(pipeline.spool)
    text = b"".join(oracle.dump()).decode()
    ended = "<https://w3id.org/provml/ns#outcome> "
    for epoch in range(last + 1):
        # An epoch is told at its end, when the next one begins: those before the last have ended for sure.
        if epoch < last:
            assert f"<{DEFAULT_BASE}dte/killed/run/epoch/0.{epoch}> {ended}" in text
        assert f"<{DEFAULT_BASE}val/killed/run/epoch/0.{epoch}/out/loss> " in text
        assert f"<{DEFAULT_BASE}dte/killed/run/batch/0.{epoch}.49> {ended}" in text
    shipped = subprocess.run(
        [sys.executable, "-m", "headstream", "ship"],
        env={**os.environ, **pipeline.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shipped.returncode == 0, shipped.stderr
    assert spools(pipeline.spool) == []
    pipeline.wait_for_hash(graph_hash(oracle.dump()), 90)


@pytest.mark.parametrize("victim", ["tracker", "sink"])
def test_a_worker_killed_in_mid_run_changes_nothing(pipeline: Any, victim: str) -> None:
    workers = {name: pipeline.start(name) for name in ("sink", "tracker")}
    env = {**os.environ, **pipeline.env, "HEADSTREAM_KEEP_SHIPPED": "on"}
    load = subprocess.Popen(
        [sys.executable, "-m", "headstream.demo.load", "2000", "4"], env=env, stdout=subprocess.DEVNULL
    )
    started = time.monotonic()
    for moment in (1.0, 2.5):
        while time.monotonic() < started + moment:
            time.sleep(0.05)
        workers[victim].kill()
        workers[victim].start()
    assert load.wait(60) == 0
    oracle = replayed(pipeline.spool)
    assert len(oracle.lines) > 40_000
    pipeline.wait_for_hash(graph_hash(oracle.dump()), 60)


def test_two_workers_and_a_replay_of_the_topics_give_the_same_graph(pipeline: Any, tmp_path: Path) -> None:
    pipeline.start("sink")
    pipeline.start("tracker")
    pipeline.start("tracker-2", "tracker")
    env = {**os.environ, **pipeline.env, "HEADSTREAM_KEEP_SHIPPED": "on"}
    command = [sys.executable, "-m", "headstream.demo.load", "1000", "2"]
    loads = [subprocess.Popen(command, env={**env, "HEADSTREAM_EXECUTION": str(n)}) for n in range(4)]
    assert [load.wait(60) for load in loads] == [0, 0, 0, 0]
    expected = graph_hash(replayed(pipeline.spool).dump())
    pipeline.wait_for_hash(expected, 60)
    again = subprocess.run(
        [
            sys.executable,
            "-m",
            "headstream",
            "replay",
            "--from",
            "topics",
            "--into",
            f"oxigraph:{tmp_path}/again",
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == ["graph", "hash", expected]
