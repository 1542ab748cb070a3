"""The benchmark of the questions: an exact graph, and the same answers from every engine."""

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
A_RUN, BELOW = 224_153, 984 + 61


def run(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "load_tests.questions", "--json", "--repeat", "1", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_run_of_the_paper_is_as_many_triples_as_the_spec_says() -> None:
    assert BELOW + 134 * A_RUN == 30_037_547
    found = run("--runs", "1", "--engine", "oxigraph", "--only", "X02", "--no-first")
    assert found["engines"]["oxigraph"]["filled"]["triples"] == BELOW + A_RUN


def test_every_engine_answers_alike_and_as_first_written(artefacts: Artefacts) -> None:
    small = ["--runs", "1", "--epochs", "2", "--batches", "3", "--heap", "512m", "--workers", "1"]
    found = run(*small, "--engine", "blazegraph,oxigraph,rdflib")
    assert found["different"] == []
    for name, engine in found["engines"].items():
        rows = {line["case"]: line["rows"] for line in engine["lines"]}
        empty = {case for case, count in rows.items() if not count}
        assert len(rows) == 23 and empty <= {"X04 an unused file", "X07 a run"}, (name, rows)
