"""The plan of the faults is one, whenever and wherever it is made from a seed."""

from __future__ import annotations

import signal

from hypothesis import given
from hypothesis import strategies as st

from .schedule import plan

WORKERS, GUESTS = ("tracker-1", "sink-1"), ("tracker-9", "tracker-8", "sink-9")


@given(seed=st.integers(0, 10**6), kills=st.integers(2, 60))
def test_a_plan_kills_as_often_as_told_and_every_guest_leaves_after_it_has_joined(
    seed: int, kills: int
) -> None:
    turns = plan(seed, kills, WORKERS, GUESTS, patience=5)
    assert turns == plan(seed, kills, WORKERS, GUESTS, patience=5)
    assert len(turns) == kills and {turn.kill.victim for turn in turns} <= set(WORKERS)
    order = [
        (name, what)
        for turn in turns
        for what, names in (("joins", turn.joining), ("leaves", turn.leaving))
        for name in names
    ]
    for guest in GUESTS:
        assert [what for name, what in order if name == guest] == ["joins", "leaves"]


def test_a_long_plan_has_both_signals_and_every_worker() -> None:
    kills = [turn.kill for turn in plan(1, 50, WORKERS, GUESTS, patience=5)]
    assert {kill.signal for kill in kills} == {signal.SIGKILL, signal.SIGTERM}
    assert {kill.victim for kill in kills} == set(WORKERS)
