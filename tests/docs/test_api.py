"""Every route, question and problem of the query API is in docs/reference/api.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyoxigraph
import pytest

from headstream.query_api import auth, bodies, errors, negotiation
from headstream.query_api.app import create_app
from headstream.query_api.catalogue import Answers, Parameter, Question, WhenAbsent, catalogue
from headstream.query_api.routes.questions import PATH
from headstream.query_api.settings import Settings
from headstream.query_api.store import OxigraphStore

PAGE = "reference/api.md"
Rows = Callable[[str, str], list[dict[str, str]]]
ABSENT = {WhenAbsent.MATCH_ALL: ", absent: all", WhenAbsent.KEEP_LIST: ", absent: those that the title names"}


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return create_app(Settings(), OxigraphStore(pyoxigraph.Store())).openapi()


def test_every_route_is_in_the_page_and_no_other(rows: Rows, openapi: dict[str, Any]) -> None:
    documented = {
        (method, row["path"]) for row in rows(PAGE, "Routes") for method in row["method"].split(", ")
    }
    served = {
        (method.upper(), _template(path)) for path, methods in openapi["paths"].items() for method in methods
    }
    # What describes the API is no part of its description.
    assert documented == served | {("GET", "/openapi.json"), ("GET", "/docs")}


def test_the_page_has_the_statuses_of_every_route(rows: Rows, openapi: dict[str, Any]) -> None:
    answers = {
        _template(path): {status for method in methods.values() for status in method["responses"]}
        for path, methods in openapi["paths"].items()
    }
    for row in rows(PAGE, "Routes"):
        if row["path"] in answers:
            assert set(row["statuses"].split()) == answers[row["path"]], row["path"]


def test_the_routes_that_need_no_token_are_marked(rows: Rows) -> None:
    assert {row["path"] for row in rows(PAGE, "Routes") if row["token"] == "no"} == auth.OPEN_PATHS


def test_the_questions_are_in_the_page_with_parameters_and_columns(rows: Rows) -> None:
    documented = [
        (row["id"], row["question"], row["parameters"], row["columns"]) for row in rows(PAGE, "Questions")
    ]
    assert documented == [_as_row(question) for question in catalogue()]


def test_every_problem_is_in_the_page_with_its_status(rows: Rows) -> None:
    documented = {row["code"]: row["status"] for row in rows(PAGE, "Problems")}
    # A broken question file or setting stops the process before anybody can ask.
    never_sent = {
        errors.ConfigurationError,
        errors.CatalogueError,
        errors.ParameterError,
        errors.QueryApiError,
    }
    sent = {
        kind.__name__: str(kind.status)
        for kind in _kinds(errors.QueryApiError)
        if kind not in never_sent and kind.__module__ == errors.__name__
    }
    assert documented == sent | {"Http404": "404", "Http405": "405", "Unforeseen": "500"}


def test_every_format_is_in_the_page(rows: Rows) -> None:
    documented = {(row["answer"], row["format"], row["media type"]) for row in rows(PAGE, "Formats")}
    offers = {
        "a question with rows": negotiation.ROWS,
        "a question with triples": negotiation.TRIPLES,
        "SPARQL SELECT": negotiation.SPARQL_ROWS,
        "SPARQL ASK": negotiation.SPARQL_TRUTH,
        "SPARQL CONSTRUCT, DESCRIBE": negotiation.TRIPLES,
    }
    assert documented == {
        (name, each.name, each.media_type) for name, some in offers.items() for each in some
    }


def test_every_content_type_of_a_query_is_in_the_page(page: Callable[[str], str]) -> None:
    assert all(f"`{kind}`" in page(PAGE) for kind in (bodies.QUERY, bodies.FORM, bodies.JSON))


def _template(path: str) -> str:
    """The path of a question stands once for all of them."""
    return re.sub(rf"^{PATH}/[qxe]\d+$", f"{PATH}/{{id}}", path)


def _kinds(kind: type[errors.QueryApiError]) -> Iterator[type[errors.QueryApiError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _as_row(question: Question) -> tuple[str, str, str, str]:
    columns = "triples" if question.kind is Answers.CONSTRUCT else " ".join(question.columns)
    return (question.id, question.title, "; ".join(map(_described, question.parameters)), columns)


def _described(parameter: Parameter) -> str:
    text = f"`{parameter.name}` {parameter.type.value}"
    text += " = `" + parameter.default + "`" if parameter.default is not None else ""
    text += " required" if parameter.required else ""
    text += " repeatable" if parameter.repeatable else ""
    return text + ABSENT.get(parameter.when_absent, "")
