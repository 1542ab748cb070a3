"""A query that would stall or crash the parser is refused before it gets there."""

from __future__ import annotations

import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable

import pytest

from headstream.query_api import guard
from headstream.query_api.catalogue import catalogue
from headstream.query_api.complexity import measure
from headstream.query_api.errors import QueryRefused
from headstream.query_api.tokens import tokens

# Each of these, pyoxigraph 0.5.13 could not parse at n = 8,000 (a crash) or n = 500 (over 20 s).
LARGE: dict[str, Callable[[int], str]] = {
    "sum": lambda n: "ASK { FILTER(" + "1+" * n + "1) }",
    "signed": lambda n: "ASK { FILTER(1" + "+1" * n + ") }",
    "or": lambda n: "ASK { FILTER(" + "1||" * n + "1) }",
    "not": lambda n: "ASK { FILTER(" + "!" * n + "1) }",
    "union": lambda n: "ASK { {?s ?p ?o} " + "UNION {?s ?p ?o} " * n + "}",
    "minus": lambda n: "ASK { ?s ?p ?o " + "MINUS {?s ?p ?o} " * n + "}",
    "optional": lambda n: "ASK { ?s ?p ?o " + "OPTIONAL {?s ?p ?o} " * n + "}",
    "bind": lambda n: "ASK { " + " ".join(f"BIND(1 AS ?v{i})" for i in range(n)) + "}",
    "filter": lambda n: "ASK { ?s ?p ?o " + "FILTER(?s) " * n + "}",
    "sequence": lambda n: "ASK { ?s <a:b>" + "/<a:b>" * n + " ?o}",
    "alternatives": lambda n: "ASK { ?s <a:b>" + "|<a:b>" * n + " ?o}",
    "values": lambda n: "ASK { " + "VALUES ?x {1} " * n + "}",
    "patterns": lambda n: "ASK { " + "?s ?p ?o . " * n + " }",
    "predicates": lambda n: "ASK { ?s ?p ?o " + "; ?p ?o " * n + " }",
    "objects": lambda n: "ASK { ?s ?p ?o " + ", ?o " * n + " }",
    "groups": lambda n: "ASK { " + "{?s ?p ?o} " * n + " }",
    "collection": lambda n: "ASK { ?s ?p (" + "1 " * n + ") }",
    "columns": lambda n: "SELECT " + " ".join(f"(1 AS ?v{i})" for i in range(n)) + " {}",
}


def largest(kind: str) -> str:
    size = bisect_left(range(3_000), True, key=lambda n: measure(tokens(LARGE[kind](n))).excess is not None)
    return LARGE[kind](size - 1)


@pytest.mark.parametrize("kind", LARGE)
def test_a_query_too_large_for_the_parser_is_refused_at_once(kind: str) -> None:
    begun = time.monotonic()
    with pytest.raises(QueryRefused, match="too large"):
        guard.check(LARGE[kind](3_000))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("kind", LARGE)
def test_the_largest_that_passes_is_parsed_in_time(kind: str) -> None:
    text = largest(kind)
    begun = time.monotonic()
    guard.check(text)
    assert time.monotonic() - begun < 10


def test_long_lists_of_data_are_no_burden() -> None:
    numbers = " ".join(map(str, range(5_000)))
    guard.check(f"SELECT * {{ VALUES ?x {{ {numbers} }} ?s ?p ?x }}")
    pairs = "(1 2) " * 5_000
    guard.check(f"SELECT * {{ VALUES (?x ?y) {{ {pairs} }} ?s ?x ?y }}")
    guard.check(f"SELECT * {{ ?s ?p ?x FILTER(?x IN ({','.join(map(str, range(5_000)))})) }}")


def test_the_questions_of_the_catalogue_are_far_from_the_limits() -> None:
    for question in catalogue():
        assert measure(tokens(question.text)).patterns <= 60


def test_the_largest_chain_that_passes_does_not_crash_a_process_that_runs_it() -> None:
    for kind in ("sum", "or", "not", "bind", "union", "columns"):
        code = "import sys, pyoxigraph; q = pyoxigraph.Store().query(sys.stdin.read())"
        done = subprocess.run(
            [sys.executable, "-c", code], input=largest(kind), text=True, timeout=60, check=False
        )
        assert done.returncode == 0
