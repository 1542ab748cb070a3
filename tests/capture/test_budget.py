"""Within a budget capture leaves out turns, says so, and never leaves out what is more than a number."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream import capture
from headstream.capture import Settings
from headstream.capture.budget import MOST_APART, Meter
from headstream.schemas.events import Event, StepEnded, StepRef, StepStarted, ValuesAdded
from headstream.schemas.values import Json

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]


@pytest.fixture
def tight(settings: Settings) -> Settings:
    """A budget that no empty loop can keep to."""
    return dataclasses.replace(settings, budget=0.0005)


def said(told: list[Event], name: str) -> list[Any]:
    values = [v for e in told if isinstance(e, ValuesAdded) for v in e.values if v.name == name]
    return [json.loads(v.value.text) for v in values if isinstance(v.value, Json)]


@given(
    cost=st.floats(100, 5_000),
    time=st.floats(1_000, 1e9),
    budget=st.floats(0.001, 0.5),
)
def test_a_meter_keeps_as_many_turns_as_fit_the_budget(cost: float, time: float, budget: float) -> None:
    meter, at = Meter(budget), 0.0
    apart = 1
    for _ in range(100):
        at += time * apart
        meter.keep(int(at), apart)
        apart = meter.cost(int(cost)) + 1
    share = int(cost) / (apart * time)
    assert share <= budget * 1.05 or apart == MOST_APART
    assert apart == 1 or int(cost) / ((apart - 1) * time) >= budget * 0.9


def test_a_meter_keeps_every_turn_again_when_the_loop_has_slowed_down() -> None:
    meter, at, apart = Meter(0.01), 0, 1
    for _ in range(64):
        at += 10_000 * apart
        meter.keep(at, apart)
        apart = meter.cost(1_000) + 1
    assert apart in (10, 11)
    for _ in range(300):
        at += 1_000_000 * apart
        meter.keep(at, apart)
        apart = meter.cost(1_000) + 1
    assert apart == 1


def test_turns_beyond_the_budget_are_left_out_and_the_graph_says_how_many(
    tight: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("w", settings=tight) as run, run.task("training") as training:
        for turn in training.loop("batch", range(5_000), index_as="batch"):
            turn.generated(loss=0.5)
    found = facts(told())
    kept = {s: f for s, f in found.items() if s.transformation == "batch"}
    assert 16 <= len(kept) < 2_500
    assert all(f["ends"] == 1 and f["out"] == {"loss": "0.5"} for f in kept.values())
    assert all(s.task == f"0.{f['iteration']}" for s, f in kept.items()), "an ordinal is that of the turn"
    (done,) = said(told(), "capture_thinned")
    assert done["batch"]["turns"] == 5_000 and done["batch"]["kept"] == len(kept)
    assert done["batch"]["budget"] == 0.0005 and done["batch"]["share"] > 0.0005
    (begun,) = said(told(), "capture_thinning")
    assert begun["loop"] == "batch" and begun["every"] > 1
    assert capture.warnings() == {"turns-left-out": 5_000 - len(kept)}
    assert capture.losses() == {}


def test_a_loop_within_its_budget_is_kept_whole(settings: Settings, told: Told, facts: Facts) -> None:
    generous = dataclasses.replace(settings, budget=0.99)
    with capture.workflow("w", settings=generous) as run:
        for turn in run.loop("t", range(300)):
            turn.generated(x=float(sum(range(3_000))))
    assert len(facts(told())) == 300 and capture.warnings() == {}
    assert said(told(), "capture_thinned") == []


def test_what_is_more_than_a_number_is_never_left_out(tight: Settings, told: Told, facts: Facts) -> None:
    with capture.workflow("w", settings=tight) as run, run.task("training") as training:
        for turn in training.loop("t", range(1_000)):
            match turn.index % 10:
                case 1:
                    turn.generated(loss=turn.index, model=capture.file(f"/m/{turn.index}", store="s"))
                case 2:
                    turn.generated(loss=turn.index)
                    turn.used(x=capture.file("/d", store="s"))
                case 3:
                    turn.task("inner").begin().end()
                case 4:
                    turn.end(error="so it is")
                case 5:
                    turn.generated(text="a text")
                case _:
                    turn.generated(loss=1.0)
    found = facts(told())
    for remainder in range(1, 6):
        turns = [s for s in found if s.transformation == "t" and found[s]["iteration"] % 10 == remainder]
        assert len(turns) == 100
    assert len([s for s in found if s.transformation == "inner"]) == 100
    second = [f for s, f in found.items() if s.transformation == "t" and f["iteration"] % 10 == 2]
    assert all(f["out"] == {"loss": repr(f["iteration"])} for f in second), "what it had said is told too"
    assert [f["outcome"] for f in found.values()].count("ERRORED") == 100
    assert len(found) < 1_700


def test_a_turn_left_out_that_fails_is_told_with_its_error(tight: Settings, told: Told) -> None:
    with (
        pytest.raises(ValueError, match="boom"),
        capture.workflow("w", settings=tight) as run,
        run.task("training") as training,
    ):
        for turn in training.loop("t", range(1_000)):
            turn.generated(x=1)
            if turn.index == 777:
                raise ValueError("boom")
    ends = [e for e in told() if isinstance(e, StepEnded) and e.step == StepRef("t", "0.777")]
    assert ends and ends[-1].outcome == "ERRORED" and ends[-1].error == "ValueError: boom"
    starts = [e for e in told() if isinstance(e, StepStarted) and e.step == StepRef("t", "0.777")]
    assert len(starts) == 1 and starts[0].started is not None
    assert starts[0].started <= (ends[-1].ended or 0)


def test_break_and_continue_leave_a_thinned_loop_as_any_other(tight: Settings, told: Told) -> None:
    with capture.workflow("w", settings=tight) as run, run.task("training") as training:
        for turn in training.loop("t", range(1_000)):
            if turn.index % 2:
                continue
            turn.generated(x=1)
            if turn.index == 600:
                break
        for turn in training.loop("t", range(1_000)):
            turn.generated(x=1)
    (done,) = said(told(), "capture_thinned")
    assert done["t"]["turns"] == 601 + 1_000
    assert all(e.outcome == "FINISHED" for e in told() if isinstance(e, StepEnded))


def test_turns_that_are_kept_by_the_script_stay_what_they_were(tight: Settings) -> None:
    with capture.workflow("w", settings=tight) as run:
        turns = list(run.loop("t", range(500)))
    assert [turn.item for turn in turns] == list(range(500))
    assert [turn.index for turn in turns] == list(range(500))
    assert len({id(turn) for turn in turns}) == 500


@pytest.mark.parametrize(
    ("text", "budget"),
    [("0.01", 0.01), ("1%", 0.01), (" 2.5% ", 0.025), ("0", None), ("", None), ("much", None), ("1.5", None)],
)
def test_a_budget_is_a_fraction_or_a_percentage(text: str, budget: float | None) -> None:
    assert Settings.from_env({"HEADSTREAM_BUDGET": text}).budget == budget
