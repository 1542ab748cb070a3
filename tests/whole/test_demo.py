"""The demo answers the paper's questions, twice, on any survey, and both modes give the same graph."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headstream.comparing import compare, hash_of
from headstream.places import Places

F3 = Path(__file__).parents[1] / "data" / "f3.sgy"


def headstream(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headstream", *arguments],
        env={**os.environ, "HEADSTREAM_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


def demo(data: Path, *arguments: str) -> dict[str, Any]:
    done = headstream(data, "demo", "--json", "--epochs", "2", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One embedded demo that several tests look at."""
    data = tmp_path_factory.mktemp("home")
    return data, demo(data)


def test_the_demo_answers_all_six_questions(home: tuple[Path, dict[str, Any]]) -> None:
    _, found = home
    answers = found["answers"]
    assert list(answers) == ["Q1", "Q2", "Q3", "Q4", "Q5", "Q6"]
    assert "North Sea Basin" in answers["Q1"] and "North Sea Basin" in answers["Q6"]
    for name in ("noise_threshold", "tile_size", "inline_range", "crossline_range"):
        assert name in answers["Q2"]
    for kind in ("evaluation", "learning hyperparameter", "model hyperparameter"):
        assert kind in answers["Q3"]
    # Three learning rates, two epochs each.
    assert "(6 rows)" in answers["Q4"]
    assert answers["Q5"].count("mean_iou") == 6


def test_the_demo_runs_twice_and_gives_the_same_graph_but_for_the_clocks(
    home: tuple[Path, dict[str, Any]],
) -> None:
    data, first = home
    copy = data / "first"
    shutil.copytree(data / "demo" / "store", copy)
    second = demo(data)
    assert second["hash_without_clocks"] == first["hash_without_clocks"]
    assert second["hash"] != first["hash"]
    assert hash_of(f"oxigraph:{copy}") == first["hash"]


def test_the_same_events_give_the_same_graph_in_full_mode(
    home: tuple[Path, dict[str, Any]], pipeline: Any
) -> None:
    """What the demo captured goes through real Kafka, Faust and Blazegraph as well."""
    data, _ = home
    pipeline.start("sink")
    pipeline.start("tracker")
    shutil.copytree(data / "demo" / "archive", pipeline.spool)
    for checkpoint in pipeline.spool.glob("*/checkpoint.json"):
        checkpoint.unlink()
    shipped = subprocess.run(
        [sys.executable, "-m", "headstream", "ship"],
        env={**os.environ, **pipeline.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shipped.returncode == 0, shipped.stderr
    embedded = f"oxigraph:{data / 'demo' / 'store'}"
    pipeline.wait_for_hash(hash_of(embedded), 60)
    assert compare(Places.from_env(pipeline.env), embedded, pipeline.store).equal


def test_a_replay_of_the_archive_gives_the_graph_of_the_live_run(
    home: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    data, _ = home
    again = f"oxigraph:{tmp_path / 'again'}"
    done = headstream(data / "demo", "replay", "--into", again)
    assert done.returncode == 0, done.stderr
    verified = headstream(data / "demo", "verify", again, f"oxigraph:{data / 'demo' / 'store'}")
    assert verified.returncode == 0, verified.stdout


def test_the_demo_takes_a_real_survey(tmp_path: Path) -> None:
    answers = demo(tmp_path, "--segy", str(F3))["answers"]
    # Inlines 111 to 133 and crosslines 875 to 892: 23 + 18 slices.
    for text in ("f3.sgy", "111", "133", "875", "892", "41"):
        assert text in answers["Q1"]


def test_a_survey_that_is_none_ends_the_demo_with_a_sentence_and_is_in_the_graph(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sgy"
    broken.write_text("this is no SEG-Y")
    done = headstream(tmp_path, "demo", "--segy", str(broken))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "broken.sgy" in done.stderr
    failed = headstream(tmp_path / "demo", "query", "x07", "--format", "csv")
    assert "extract_raw_data" in failed.stdout and "failed" in failed.stdout and "SEG-Y" in failed.stdout
