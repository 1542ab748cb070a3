"""A turn that is a row and a turn told in full say the same; how a loop is left is seen."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream import capture
from headstream.capture import Settings
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, Event, IterationBlock, StepEnded, StepRef

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]

SCALARS = st.booleans() | st.integers(-(2**65), 2**65) | st.floats()
SAID = st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3)
TURNS = st.lists(st.tuples(SAID, SAID, st.sampled_from(["", "", "", "outer", "text"])), max_size=12)


def _run(turns: list[Any], root: Path, general: bool, index_as: str | None) -> list[Event]:
    with (
        capture.workflow("w", execution="e", settings=Settings(spool=root, git=False, packages=False)) as run,
        run.task("outer", used={"lr": 1}) as outer,
    ):
        for turn in outer.loop("turn", turns, index_as=index_as):
            if general:
                turn.used()
            first, second, extra = turn.item
            turn.generated(**first)
            if extra == "outer":
                outer.used(**{f"late{turn.index}": 1})
            if extra == "text":
                turn.generated(text="t")
            turn.generated(**{name: value for name, value in second.items() if name not in first})
    found = [c for d in spools(root) for c in read(d)]
    return [e for c in found if isinstance(c, Bag) for e in c.events]


@settings(deadline=None, max_examples=60)
@given(TURNS, st.sampled_from([None, "i"]))
def test_rows_and_general_events_say_the_same(facts_of_turns: Any, index_as: str | None) -> None:
    from_both = []
    for general in (False, True):
        with TemporaryDirectory() as root:
            from_both.append(_run(facts_of_turns, Path(root), general, index_as))
    assert repr(_sorted(from_both[0])) == repr(_sorted(from_both[1]))
    assert not any(isinstance(e, IterationBlock) for e in from_both[1])


def _sorted(events: list[Event]) -> Any:
    told = FACTS(events)
    for fact in told.values():
        fact["out"] = sorted(fact["out"].items())
        fact["in"] = sorted(fact["in"].items())
        fact["scope"] = [
            sorted(map(repr, s)) if isinstance(s, frozenset) else _chain(s) for s in fact["scope"]
        ]
    return sorted(told.items(), key=repr)


def _chain(enclosing: Any) -> Any:
    return [(step, sorted(map(repr, used))) for step, used in enclosing]


FACTS: Facts


@pytest.fixture(autouse=True)
def _facts(facts: Facts) -> None:
    global FACTS
    FACTS = facts


def test_numbers_of_numpy_stay_in_the_row(settings: Settings, told: Told) -> None:
    import numpy

    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(10)):
            turn.generated(loss=numpy.float32(0.5), n=numpy.int64(2), ok=numpy.bool_(True))
    assert not any(isinstance(e, StepEnded) for e in told())
    blocks = [e for e in told() if isinstance(e, IterationBlock)]
    assert {type(v) for b in blocks for c in b.columns for v in c.values} == {float, int, bool}


def test_special_numbers_are_exact_in_rows(settings: Settings, told: Told) -> None:
    values = [math.nan, math.inf, -0.0, 5e-324, 2**63 - 1, -(2**63)]
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", values):
            turn.generated(x=turn.item)
    found = [v for e in told() if isinstance(e, IterationBlock) for c in e.columns for v in c.values]
    assert repr(found) == repr(values)


def test_a_value_that_is_said_twice_is_told_twice(settings: Settings, told: Told, facts: Facts) -> None:
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(2)):
            turn.generated(x=1)
            turn.generated(x=2)
    assert [f["out"]["x"] for f in facts(told()).values()] == ["2", "2"]


def test_many_turns_and_columns_cross_segments(spool: Path, told: Told, facts: Facts) -> None:
    small = Settings(spool=spool, git=False, packages=False, segment_bytes=64 << 10)
    with capture.workflow("w", settings=small) as run:
        for turn in run.loop("t", range(20_000), index_as="i"):
            turn.generated(loss=0.5)
    events = told()
    ordinals = [o for e in events if isinstance(e, IterationBlock) for o in e.ordinals]
    assert ordinals == list(range(20_000))


class Bar:
    """As progress bars do it: an iterable whose iterator is a generator around ours."""

    def __init__(self, turns: Iterable[Any]) -> None:
        self.turns = turns

    def __iter__(self) -> Iterator[Any]:
        for turn in self.turns:  # noqa: UP028
            yield turn


class Chain(Bar):
    """Generators around generators. One that somebody still holds is not closed by leaving the loop."""

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from (turn for turn in self.turns)
        finally:
            len("")


def _by_break(turns: Any) -> None:
    for _ in turns:
        break


def _by_return(turns: Any) -> Any:
    for turn in turns:
        with contextlib.nullcontext():
            return turn


def _by_bare_return(turns: Any) -> None:
    for _ in turns:
        return


def _by_raise(turns: Any) -> None:
    for _ in turns:
        raise KeyError("k")


def _by_call(turns: Any) -> None:
    for _ in turns:
        int("x")


def _by_python_call(turns: Any) -> None:
    for _ in turns:
        _raise()


def _raise() -> None:
    raise ValueError("deep")


def _by_operator(turns: Any) -> None:
    for _ in turns:
        1 / 0  # noqa: B018


def _inside_with(turns: Any) -> None:
    for _ in turns:
        with contextlib.nullcontext():
            int("x")


def _inside_try(turns: Any) -> None:
    for _ in turns:
        try:
            int("x")
        finally:
            len("")


def _after_handling(turns: Any) -> None:
    for _ in turns:
        try:
            int("x")
        except ValueError as error:
            raise KeyError from error


def _break_in_handler(turns: Any) -> None:
    for _ in turns:
        try:
            int("x")
        except ValueError:
            break


def _enumerated_break(turns: Any) -> None:
    for _, _turn in enumerate(turns):
        break


def _enumerated_raise(turns: Any) -> None:
    for _, _turn in enumerate(turns):
        raise KeyError("k")


def _zip_of_unequal_length(turns: Any) -> None:
    for _ in zip(range(2), turns, strict=False):
        pass
    for _ in zip(turns, range(2), strict=False):
        pass


def _generator_that_raises(turns: Any) -> None:
    def produce() -> Iterator[Any]:
        for turn in turns:
            yield turn
            1 / 0  # noqa: B018

    for _ in produce():
        pass


def _generator_whose_reader_breaks(turns: Any) -> None:
    def produce() -> Iterator[Any]:
        for turn in turns:  # noqa: UP028
            yield turn

    for _ in produce():
        break


LEAVINGS = {
    "FINISHED": [
        _by_break,
        _by_return,
        _by_bare_return,
        _break_in_handler,
        _enumerated_break,
        _generator_whose_reader_breaks,
    ],
    "ERRORED": [
        _by_raise,
        _by_call,
        _by_python_call,
        _by_operator,
        _inside_with,
        _inside_try,
        _after_handling,
        _enumerated_raise,
        _generator_that_raises,
    ],
}


@pytest.mark.parametrize("wrap", [lambda turns: turns, Chain, Bar], ids=["bare", "chain", "bar"])
@pytest.mark.parametrize(
    ("leave", "outcome"), [(way, outcome) for outcome, ways in LEAVINGS.items() for way in ways]
)
def test_how_a_loop_was_left_is_told(
    leave: Callable[[Any], None], outcome: str, wrap: Any, settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("w", settings=settings) as run, contextlib.suppress(Exception):
        leave(wrap(run.loop("turn", range(5))))
    outcomes = [f["outcome"] for f in facts(told()).values()]
    assert outcomes[-1] == outcome
    assert set(outcomes[:-1]) <= {"FINISHED"}


def test_loops_beside_each_other_are_all_told(settings: Settings, told: Told, facts: Facts) -> None:
    with capture.workflow("w", settings=settings) as run:
        _zip_of_unequal_length(run.loop("turn", range(5)))
        for a, b in zip(run.loop("x", range(3)), run.loop("x", range(3)), strict=True):
            a.generated(v=1)
            b.generated(v=2)
    found = facts(told())
    assert {f["outcome"] for f in found.values()} == {"FINISHED"}
    assert sorted(s.task for s in found if s.transformation == "x") == list("012345")


def test_an_exception_of_the_iterable_passes_unchanged(settings: Settings, told: Told, facts: Facts) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    with capture.workflow("w", settings=settings) as run, pytest.raises(OSError, match="disk"):
        for turn in run.loop("t", items()):
            turn.generated(x=1)
    assert [f["outcome"] for f in facts(told()).values()] == ["FINISHED"]
