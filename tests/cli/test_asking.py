"""`questions`, `query` and `sparql` answer from what is up, and the same from the store on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def test_what_is_up_and_the_store_on_disk_answer_the_same(filled: Any) -> None:
    def answers() -> list[str]:
        told = []
        for command in (
            ["query", "q3", "--param", "dataset=ref/gpfs1/data/x.h5"],
            ["query", "Q3", "-p", "dataset=ref/gpfs1/data/x.h5", "--format", "csv"],
            ["sparql", "-"],
            ["sparql", "-", "-f", "csv"],
            ["sparql", "-", "-f", "json"],
        ):
            done = filled(
                *command,
                stdin="SELECT ?run { ?run a prov:Activity } ORDER BY ?run".replace(
                    "prov:Activity", "<https://w3id.org/provml/ns#WorkflowExecution>"
                ),
            )
            assert done.status == 0, (command, done.err)
            told.append(done.out)
        for form in ("nt", "ttl"):
            done = filled("sparql", "-", "-f", form, stdin="CONSTRUCT WHERE { ?s a ?t }")
            assert done.status == 0, done.err
            told.append("".join(sorted(done.out.splitlines(keepends=True))))
        told.append(filled("sparql", "-", stdin="ASK { ?s ?p ?o }").out)
        return told

    online = answers()
    assert "r1" in online[0], "a relative id is enough for a parameter"
    assert "(1 row)" in online[2]
    assert online[-1] == "true\n"
    assert filled("down").status == 0
    assert answers() == online
    told = filled("sparql", "-", stdin="ASK {}")
    assert "nothing is up" in told.err and "store on disk" in told.err


def test_questions_lists_them_for_people_and_programs(cli: Any) -> None:
    listed = cli("questions")
    assert listed.status == 0 and "Q1" in listed.out and "dataset" in listed.out
    machine = cli("questions", "--json").json
    assert {"Q1", "Q6"} <= {each["id"] for each in machine}


@pytest.mark.parametrize("store", [[], ["--store", "oxigraph:data/store"]], ids=["api", "disk"])
@pytest.mark.parametrize(
    ("command", "stdin", "words"),
    [
        ("query q99", "", "there is no question 'q99'"),
        ("query q3", "", "needs the parameter 'dataset'"),
        ("query q3 -p dataset=ref/gpfs1/data/x.h5 -f nt", "", "no format 'nt'"),
        ("sparql -", "DELETE WHERE { ?s ?p ?o }", "only reads"),
        ("sparql - -f csv", "CONSTRUCT WHERE { ?s ?p ?o }", "no format"),
    ],
)
def test_a_wrong_question_is_one_sentence(
    shared: Any, command: str, stdin: str, words: str, store: list[str]
) -> None:
    refused = shared(*command.split(), *store, stdin=stdin)
    assert refused.status == 1 and refused.out == ""
    assert refused.said.startswith("headstream: ") and words in refused.said


@pytest.mark.parametrize(
    ("command", "stdin", "words"),
    [
        ("query q3 -p dataset", "", "NAME=VALUE"),
        ("query q3 -p dataset=x -p color=red", "", "color"),
        ("sparql -", "SELECT nothing", "headstream: "),
        ("sparql - -f csv", "ASK {}", "no format 'csv'"),
        ("sparql absent.rq", "", "absent.rq"),
    ],
)
def test_a_wrong_command_is_one_sentence(shared: Any, command: str, stdin: str, words: str) -> None:
    refused = shared(*command.split(), stdin=stdin)
    assert refused.status == 1 and refused.out == "" and words in refused.said


def test_nothing_to_ask_says_how_to_begin(cli: Any) -> None:
    told = cli("query", "x01")
    assert told.status == 1 and "headstream up" in told.said and "headstream demo" in told.said
    (cli.data / "blazegraph").mkdir(parents=True)
    told = cli("query", "x01")
    assert told.status == 1 and "headstream up --services full" in told.said


def test_a_store_can_be_named_instead(shared: Any) -> None:
    by_path = shared("sparql", "-", "--store", "oxigraph:data/store", stdin="ASK { ?s ?p ?o }")
    assert by_path.out == "true\n"
    by_env = shared(
        "sparql", "-", stdin="ASK { ?s ?p ?o }", env={"HEADSTREAM_STORE_URL": "oxigraph:data/store"}
    )
    assert by_env.out == "true\n"
    for wrong in ("oxigraph:nowhere", "nonsense", "http://127.0.0.1:9/sparql"):
        refused = shared("sparql", "-", "--store", wrong, stdin="ASK {}")
        assert refused.status == 1 and refused.said.startswith("headstream:"), refused.said


def test_limits_of_the_settings_hold_for_a_store_on_disk_too(shared: Any) -> None:
    ask = ["sparql", "-", "-f", "csv", "--store", "oxigraph:data/store"]
    cut = shared(*ask, stdin="SELECT * { ?s ?p ?o }", env={"HEADSTREAM_API_MAX_ROWS": "2"})
    assert cut.status == 0 and len(cut.out.splitlines()) == 3 and "the answer was cut" in cut.err


def test_a_closed_pipe_is_no_error_to_show(shared: Any) -> None:
    values = " ".join(str(number) for number in range(4000))
    (shared.home / "long.rq").write_text(f"SELECT ?a ?b {{ VALUES ?a {{ {values} }} VALUES ?b {{ 1 2 3 }} }}")
    for command in ("sparql long.rq -f csv", "questions --json", "questions"):
        line = f"{sys.executable} -m headstream {command} | head -c 10"
        done = subprocess.run(
            line, shell=True, cwd=shared.home, env=shared.env(), capture_output=True, check=False
        )
        assert done.stderr == b"", (command, done.stderr)
        assert len(done.stdout) > 0


def test_query_json_is_for_programs(shared: Any) -> None:
    answer = shared("query", "q3", "-p", "dataset=ref/gpfs1/data/x.h5", "-f", "json")
    assert json.loads(answer.out)["rows"]
