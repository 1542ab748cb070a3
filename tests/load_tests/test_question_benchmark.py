"""The benchmark of the questions: an exact graph, and the same answers from every engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstream.sinks.stores import open_store

from .running import ended, run

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts
A_RUN, BELOW = 224_153, 984 + 61
TOTALS = 7 * 300  # What the batches of each epoch came to: no fact of the paper's.


def test_a_run_of_the_paper_is_as_many_triples_as_the_spec_says() -> None:
    assert BELOW + 134 * A_RUN == 30_037_547
    found = run(
        "load_tests.questions",
        "--repeat",
        "1",
        "--runs",
        "1",
        "--engine",
        "oxigraph",
        "--only",
        "X02",
        "--no-first",
    )
    assert found["engines"]["oxigraph"]["filled"]["triples"] == BELOW + A_RUN + TOTALS


def test_every_engine_answers_alike_and_as_first_written(artefacts: Artefacts) -> None:
    small = ["--runs", "1", "--epochs", "2", "--batches", "9", "--heap", "512m", "--workers", "1"]
    found = run("load_tests.questions", "--repeat", "1", *small, "--engine", "blazegraph,oxigraph,rdflib")
    assert found["different"] == []
    for name, engine in found["engines"].items():
        rows = {line["case"]: line["rows"] for line in engine["lines"]}
        empty = {case for case, count in rows.items() if not count}
        assert len(rows) == 23 and empty <= {"X04 an unused file", "X07 a run"}, (name, rows)


def test_a_folder_that_was_written_into_is_not_measured_as_if_it_were_the_same_graph(tmp_path: Path) -> None:
    small = ["--runs", "1", "--epochs", "1", "--batches", "2", "--engine", "oxigraph", "--workers", "1"]
    only = ["--repeat", "1", "--only", "X02", "--no-first", "--keep", str(tmp_path)]
    first = run("load_tests.questions", *small, *only)
    again = run("load_tests.questions", *small, *only)
    filled = [found["engines"]["oxigraph"]["filled"] for found in (first, again)]
    assert filled[0]["triples"] == filled[1]["triples"] and filled[1]["statements"] == 0
    store = open_store(f"oxigraph:{tmp_path / 'oxigraph'}")
    store.write(b"<http://e.org/s> <http://e.org/p> <http://e.org/o> .\n")
    store.close()
    del store  # It lets go of the folder.
    refused = ended("load_tests.questions", *small, *only)
    assert refused.returncode == 2 and "--writing wrote into it" in refused.stderr
    assert "Traceback" not in refused.stderr
