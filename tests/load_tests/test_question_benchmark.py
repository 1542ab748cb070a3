"""The benchmark of the questions: an exact graph, and the same answers from every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .running import run

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts
A_RUN, BELOW = 224_153, 984 + 61


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
    assert found["engines"]["oxigraph"]["filled"]["triples"] == BELOW + A_RUN


def test_every_engine_answers_alike_and_as_first_written(artefacts: Artefacts) -> None:
    small = ["--runs", "1", "--epochs", "2", "--batches", "3", "--heap", "512m", "--workers", "1"]
    found = run("load_tests.questions", "--repeat", "1", *small, "--engine", "blazegraph,oxigraph,rdflib")
    assert found["different"] == []
    for name, engine in found["engines"].items():
        rows = {line["case"]: line["rows"] for line in engine["lines"]}
        empty = {case for case, count in rows.items() if not count}
        assert len(rows) == 23 and empty <= {"X04 an unused file", "X07 a run"}, (name, rows)
