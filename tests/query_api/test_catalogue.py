"""The catalogue: 19 questions, described by their files."""

from __future__ import annotations

import pytest

from headstream.query_api.catalogue import Answers, Type, WhenAbsent, catalogue, parse
from headstream.query_api.errors import CatalogueError, UnknownQuestion

HEADER = "# @id T1\n# @title t\n# @columns a\n# @data d\n# @timing t\n# @training t\n# @direction none\n"


def test_the_catalogue_holds_the_nineteen_questions_in_order() -> None:
    ids = [question.id for question in catalogue()]
    assert ids == [f"Q{i}" for i in range(1, 7)] + [f"X{i:02}" for i in range(1, 12)] + ["E01", "E02"]


@pytest.mark.parametrize("written", ["q3", "Q3"])
def test_a_question_is_found_in_any_case(written: str) -> None:
    assert catalogue().find(written).id == "Q3"


def test_an_unknown_question_names_those_there_are() -> None:
    with pytest.raises(UnknownQuestion, match=r"Q1, Q2.*E02"):
        catalogue().find("q7")


def test_the_header_gives_types_defaults_and_descriptions() -> None:
    dataset, measure, stage = catalogue().find("q3").parameters
    assert (dataset.type, dataset.required, dataset.description) == (Type.IRI, True, "training dataset")
    assert (measure.default, measure.when_absent) == ("loss", WhenAbsent.USE_DEFAULT)
    assert (stage.default, stage.description) == ("provml:Training", "stage whose evaluations decide")
    assert catalogue().find("q2").parameters[1].repeatable
    assert catalogue().find("e01").kind is Answers.CONSTRUCT


def test_the_text_has_no_header_and_only_declared_parameters() -> None:
    for question in catalogue():
        assert not question.text.startswith("#")
        assert question.columns and question.title and question.direction


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (HEADER.replace("# @title t\n", "") + "SELECT * {}", "header line"),
        (HEADER + "# @param x iri required\nSELECT * {}", "no block VALUES"),
        (HEADER + "SELECT * { VALUES ?p_x { 1 } }", "no @param"),
        (HEADER + "# @param format string\nSELECT * { VALUES ?p_format { 1 } }", "named"),
        (HEADER + "ASK {}", "neither SELECT"),
    ],
)
def test_a_broken_file_is_found_when_it_is_loaded(source: str, complaint: str) -> None:
    with pytest.raises(CatalogueError, match=complaint):
        parse(source, source="t.rq")
