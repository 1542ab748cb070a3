"""Comments of a question that hold for some values, or for Blazegraph: what stays, goes and comes."""

from __future__ import annotations

import pytest

from headstream.query_api.binding import bind
from headstream.query_api.catalogue import catalogue, parse
from headstream.query_api.errors import CatalogueError
from headstream.query_api.guard import check
from headstream.query_api.hints import for_blazegraph, for_values

TEXT = """SELECT ?a WHERE {
  ?a ?b ?run . #given run
  ?a ?b "x #given run" .
  #absent run: #blazegraph: hint:Prior hint:hashJoin "true" .
  ?a ?c ?d .
}
"""
HEADER = "# @id T1\n# @title t\n# @columns a\n# @data d\n# @timing t\n# @training t\n# @direction none\n"
HINT = 'hint:Prior hint:hashJoin "true" .'


def test_a_line_goes_with_the_parameter_that_it_is_about() -> None:
    kept, gone = for_values(TEXT, ["run"]), for_values(TEXT, [])
    assert "?a ?b ?run ." in kept and "?a ?b ?run ." not in gone
    assert HINT not in kept and f"#blazegraph: {HINT}" in gone


def test_a_text_that_looks_like_a_condition_is_left_alone() -> None:
    for given in ([], ["run"]):
        assert '?a ?b "x #given run" .' in for_values(TEXT, given)


def test_only_blazegraph_sees_its_hints() -> None:
    text = for_values(TEXT, [])
    assert f"\n  {HINT}" in for_blazegraph(text) and f"\n  {HINT}" not in text
    assert 'hint:Query hint:optimizer "None"' in for_blazegraph(text)


def test_a_value_cannot_bring_a_hint() -> None:
    question = catalogue().find("q4")
    values = {"dataset": "ref/x", "inner": "a\n#blazegraph: } SERVICE <http://h/> {"}
    assert "\n#blazegraph: }" not in bind(question, values)
    assert "SERVICE <" in for_blazegraph(bind(question, values))  # Inside the string, as it was given.
    assert check(for_blazegraph(bind(question, values))).name == "SELECT"


def test_every_question_is_legal_with_and_without_its_hints_for_any_choice_of_values() -> None:
    for question in catalogue():
        required = {p.name: p.example for p in question.parameters if p.required}
        every = {p.name: p.example for p in question.parameters}
        for values in (required, every):
            text = bind(question, values)
            assert "#given" not in text and "#absent" not in text
            for sent in (text, for_blazegraph(text)):
                assert check(sent).name == question.kind.name


def test_a_condition_on_a_parameter_that_is_not_there_is_found_when_the_file_is_loaded() -> None:
    for line in ("?a ?b ?c . #given run", "#absent run: ?a ?b ?c ."):
        with pytest.raises(CatalogueError, match="run"):
            parse(f"{HEADER}SELECT ?a WHERE {{\n{line}\n}}", source="t.rq")
