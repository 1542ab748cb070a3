"""Turns are used again and their columns are compiled; nobody who holds one can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from headstream import capture
from headstream.capture import Iteration, Settings, columns
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, Event, IterationBlock, StepEnded, StepRef

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]


def test_a_turn_that_somebody_keeps_stays_what_it_was(settings: Settings, told: Told, facts: Facts) -> None:
    kept: list[Iteration[str]] = []
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", "abcdefghijklmnop"):
            if turn.index % 3 == 0:
                kept.append(turn)
            turn.generated(x=turn.index)
        assert [(t.item, t.index) for t in kept] == [
            ("a", 0),
            ("d", 3),
            ("g", 6),
            ("j", 9),
            ("m", 12),
            ("p", 15),
        ]
        everyone = list(run.loop("u", range(20)))
        assert [t.item for t in everyone] == list(range(20))
        assert len({id(t) for t in everyone}) == 20
        pairs = run.loop("v", range(20))
        turns = iter(pairs)
        for _ in range(10):
            first, second = next(turns), next(turns)
            assert second.index == first.index + 1
    assert all(f["ends"] == 1 for f in facts(told()).values())


def test_turns_that_nobody_keeps_are_used_again(settings: Settings) -> None:
    with capture.workflow("w", settings=settings) as run:
        ids = set()
        for turn in run.loop("t", range(400)):
            turn.generated(x=0.5)
            ids.add(id(turn))
    assert len(ids) < 40


def test_what_is_said_of_an_ended_turn_is_counted_as_lost(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("w", settings=settings) as run:
        kept = []
        for turn in run.loop("t", range(20)):
            if turn.index % 2:
                turn.generated(x=0.5)
            kept.append(turn)
        for turn in kept:
            turn.generated(x=1.5)
            turn.used(y=1)
            turn.end()
            turn.end("ERRORED", "too late")
        with kept[7].task("after") as step:
            step.generated(z=1)
    assert capture.losses() == {"values-after-end": 40}
    found = facts(told())
    assert [f["out"] for s, f in found.items() if s.transformation == "t"].count({"x": "0.5"}) == 10
    assert all(f["ends"] == 1 and f["outcome"] == "FINISHED" for f in found.values())
    assert found[StepRef("after", "7.0")]["parent"] == StepRef("t", "7")


def test_a_turn_ends_when_the_script_says_so(settings: Settings, told: Told, facts: Facts) -> None:
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(30)):
            turn.generated(x=0.5)
            if turn.index % 5 == 0:
                turn.end()
                turn.end("ERRORED")
            elif turn.index % 5 == 1:
                turn.end("ERRORED", "so it is")
    outcomes = {int(s.task): f["outcome"] for s, f in facts(told()).items()}
    assert outcomes == {n: "ERRORED" if n % 5 == 1 else "FINISHED" for n in range(30)}
    assert not any(e.index[0] % 5 == 1 for e in told() if isinstance(e, IterationBlock) and len(e.index) == 1)


NAMES = st.sampled_from(
    ["self", "x", "class", "_hs_at", "type", "Exception", "é", "a b", "", "None", "turn", "_"]
)
KINDS = st.sampled_from([0.5, 3, True, -(2**63), 2**63, float("inf"), None, "text"])


@trials(deadline=None, max_examples=80)
@given(st.lists(st.dictionaries(NAMES, KINDS, min_size=1, max_size=4), min_size=3, max_size=5))
def test_any_name_and_any_change_of_kind_is_told_exactly(said: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as root:
        with capture.workflow("w", settings=Settings(spool=Path(root), git=False, packages=False)) as run:
            for _ in range(3):  # The first loop learns the columns, the others have them compiled.
                for turn in run.loop("t", [*said, *said]):
                    turn.generated(**turn.item)
        events = [e for d in spools(Path(root)) for c in read(d) if isinstance(c, Bag) for e in c.events]
    assert capture.losses() == {}
    found = FACTS(events)
    assert len(found) == 6 * len(said)
    for step, fact in found.items():
        wanted = said[int(step.task) % len(said)]
        assert fact["out"] == {name: _shown(value) for name, value in wanted.items()}


def _shown(value: Any) -> str:
    return "Json(text='null')" if value is None else repr(value)


FACTS: Facts


@pytest.fixture(autouse=True)
def _facts(facts: Facts) -> None:
    global FACTS
    FACTS = facts


def test_only_identifiers_are_ever_compiled() -> None:
    assert columns.compilable(("loss", "_x", "self"))
    for names in [
        (),
        ("a b",),
        ("x=1",),
        ("lambda",),
        ("_hs_pack",),
        ("a\n",),
        ("é",),
        tuple(f"c{n}" for n in range(17)),
    ]:
        assert not columns.compilable(names)


def test_a_compiled_turn_says_in_one_store_what_the_slow_way_says(settings: Settings, told: Told) -> None:
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(200), index_as="i"):
            turn.generated(ok=turn.index % 2 == 0, loss=turn.index / 2, n=turn.index)
            if turn.index > 100:
                assert type(turn) is not Iteration and isinstance(turn, Iteration)
    assert not any(isinstance(e, StepEnded) for e in told())
    rows = [
        (i, dict(zip((c.name for c in e.columns), values, strict=True)))
        for e in told()
        if isinstance(e, IterationBlock)
        for i, *values in zip(e.index, *(c.values for c in e.columns), strict=True)
    ]
    assert rows == [(n, {"ok": n % 2 == 0, "loss": n / 2, "n": n}) for n in range(200)]
    assert all(type(r["ok"]) is bool and type(r["n"]) is int for _, r in rows)
