"""`define`: what is published has been validated, and is known to be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.errors import Unreadable
from headstream.publish import read_documents

DEFINITION = """\
dataflow_name: tiny
workflow_type: Experiment
data_transformations:
  training:
    type: LearningStage
    stage_type: Training
    input_datasets:
      - attributes: [{name: data, ml_semantics: dataset}]
    output_datasets:
      - attributes:
          - {name: loss, ml_semantics: evaluation_measure}
          - {name: model, ml_semantics: model}
"""


def spools(cli: Any) -> list[Any]:
    return list((cli.data / "spool").glob("*~*"))


def test_a_definition_is_taken_by_what_is_up(up: Any) -> None:
    (up.home / "d.yaml").write_text("dataflow_name: mine\nworkflow_type: Experiment\n")
    told = up("define", "d.yaml", "--json")
    assert told.status == 0
    assert told.json["taken"] is True
    assert told.json["published"][0]["name"] == "mine"
    assert up("define", "d.yaml").status == 0, "the same again changes nothing"
    asked = up("sparql", "-", stdin="ASK { ?w a <https://w3id.org/provml/ns#Experiment> }")
    assert asked.out == "true\n"


def test_with_nothing_up_a_definition_waits_for_the_next_start(cli: Any) -> None:
    (cli.home / "d.yaml").write_text("dataflow_name: mine\nworkflow_type: Experiment\n")
    told = cli("define", "d.yaml")
    assert told.status == 0 and "headstream up" in told.err
    assert len(spools(cli)) == 1
    assert cli("up", "--detach").status == 0
    cli.until(lambda: not spools(cli), "the waiting definition taken")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("key.yaml", "dataflow_name: mine\ncolour: red\n", "unknown key 'colour'"),
        ("rule.yaml", "dataflow_name: mine\nworkflow_type: Novel\n", "workflow_type"),
        ("none.yaml", "", "none.yaml"),
        ("list.yaml", "stores: 7\n", "`stores` must be a list"),
        ("mixed.yaml", "dataflow_name: mine\nstores: []\n", "dataflow_name"),
        ("date.yaml", "dataflow_name: 2020-13-45\n", "not YAML"),
        ("keys.yaml", "dataflow_name: a\ndata_transformations: {1: {}, b: {}}\n", "keys.yaml"),
        ("store.yaml", "stores: [{id: s}]\n", "super_type"),
        ("person.yaml", "persons: [{id: p, persona: Wizard}]\n", "Wizard"),
        ("broken.json", "{", "not JSON"),
        ("broken.nt", "<a> <b>", "N-Triples"),
        ("blank.ttl", "[] <http://e.org/p> 1 .", "blank node"),
    ],
)
def test_an_invalid_document_is_refused_with_its_key(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Unreadable) as refused:
        read_documents(tmp_path / name)
    assert words in str(refused.value) and name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "begins"),
    [
        ("d.yaml", DEFINITION.replace("ml_semantics: model}", "ml_semantics: modell}"), "d.yaml:12: "),
        ("d.yaml", DEFINITION.replace("stage_type: Training", "stage: Training"), "d.yaml:6: "),
        ("d.yaml", DEFINITION.replace("stage_type: Training", "cycle: true"), "d.yaml:5: "),
        ("d.yaml", DEFINITION.replace("{name: loss, ", "{"), "d.yaml:11: "),
        ("d.yaml", DEFINITION.replace("{name: loss,", "{name: loss, describes: los,"), "d.yaml:11: "),
        ("d.yaml", DEFINITION + "  evaluation: {parent: nowhere}\n", "d.yaml:13: "),
        ("d.yaml", DEFINITION + "  training: {}\n", "d.yaml:13: data_transformations.training stands twice"),
        ("d.yaml", "a: b\n  c: d\n", "d.yaml:2: not YAML"),
        ("d.json", '{\n"dataflow_name": "w",\n\t"workflow_type": "Novel"\n}', "d.json:3: "),
        ("e.json", '{\n"dataflow_name": "w",\n}', "e.json:3: not JSON"),
        ("s.yaml", "stores:\n  - {id: a, type: GPFS}\n  - id: b\n    typ: GPFS\n", "s.yaml:4: store 'b'"),
        ("p.yaml", "persons:\n  - id: lee\n    persona: Wizard\n", "p.yaml:3: person 'lee'"),
    ],
)
def test_a_refusal_names_the_line_and_the_key(tmp_path: Path, name: str, text: str, begins: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Unreadable) as refused:
        read_documents(tmp_path / name)
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(begins), str(refused.value)


def test_a_script_is_told_the_line_too(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("HEADSTREAM_SPOOL", str(tmp_path / "spool"))
    (tmp_path / "d.yaml").write_text("dataflow_name: w\nworkflow_type: Novel\n")
    with capture.workflow("w", definition=tmp_path / "d.yaml"):
        pass
    assert f"{tmp_path}/d.yaml:2: " in capsys.readouterr().err


def test_versions_of_a_definition_are_compared_place_by_place(up: Any) -> None:
    second = DEFINITION.replace("workflow_type: Experiment\n", "")
    second = second.replace("name: loss, ml_semantics: evaluation_measure", "name: error, dtype: float")
    for name, text in (("one.yaml", DEFINITION), ("two.yaml", second)):
        (up.home / name).write_text(text)
    files = up("define", "--diff", "one.yaml", "two.yaml", "--json")
    assert files.status == 1 and files.json["equal"] is False
    assert [(each["change"], each["place"]) for each in files.json["changes"]] == [
        ("added", "data_transformations.training.out.error"),
        ("removed", "data_transformations.training.out.loss"),
        ("removed", "workflow_type"),
    ]
    missing = up("define", "--diff", "one.yaml")
    assert missing.status == 2 and "no other version" in missing.said, "nothing is published yet"
    published = up("define", "one.yaml", "--json").json["published"][0]["hash"]
    assert up("define", "--diff", "one.yaml").status == 0
    differ = up("define", "--diff", "two.yaml")
    assert differ.status == 1 and '- workflow_type: "Experiment"' in differ.out
    assert up("define", "two.yaml").status == 0
    by_hash = up("define", "--diff", published[:10], "tiny", "--json")
    assert by_hash.json["changes"] == files.json["changes"] and by_hash.json["old"] == published


def test_one_invalid_document_keeps_all_from_being_published(up: Any) -> None:
    (up.home / "good.yaml").write_text("dataflow_name: mine\n")
    (up.home / "key.yaml").write_text("dataflow_name: mine\ncolour: red\n")
    refused = up("define", "good.yaml", "key.yaml")
    assert refused.status == 1 and refused.out == ""
    assert "key.yaml" in refused.said and "unknown key 'colour'" in refused.said
    assert up("define", "absent.yaml").status == 1
    asked = up("sparql", "-", stdin="ASK { ?s ?p ?o }")
    assert asked.out == "false\n", "nothing of the good one was published either"


def test_domain_data_too_long_for_one_message_become_several(up: Any) -> None:
    lines = [f'<http://e.org/{n}> <http://e.org/p> "{"x" * 80}" .\n' for n in range(6000)]
    (up.home / "field.nt").write_text("".join(lines))
    told = up("define", "field.nt", "--json")
    assert told.status == 0 and told.json["taken"] is True and len(told.json["published"]) == 2
    count = up("sparql", "-", "-f", "csv", stdin="SELECT (COUNT(*) AS ?n) { ?s <http://e.org/p> ?o }")
    assert count.out.split() == ["n", "6000"]


def test_a_spool_elsewhere_is_the_spool_of_every_command(cli: Any) -> None:
    elsewhere = {"HEADSTREAM_SPOOL": str(cli.home / "fast-disk")}
    (cli.home / "d.yaml").write_text("dataflow_name: mine\n")
    started = cli("up", "--detach", env=elsewhere)
    assert started.status == 0 and "fast-disk" in started.err
    assert cli("define", "d.yaml", env=elsewhere).status == 0
    missed = cli("define", "d.yaml", "--wait", "0.3")
    assert missed.status == 1 and "has taken nothing within 0.3 s" in missed.said
    assert cli("replay", "--into", "oxigraph:copy", env=elsewhere).status == 0
