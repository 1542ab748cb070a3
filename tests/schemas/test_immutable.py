"""Events and values are compared, hashed and copied by what they say; no guard stands at run time."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from headstream.schemas.events import Holding, Scope, StepEnded, StepRef
from headstream.schemas.values import AttributeValue, Reference


def ended(**more: object) -> StepEnded:
    said = {"step": StepRef("train", "1"), "ended": 5, "outcome": "FINISHED", **more}
    return StepEnded(**said)  # type: ignore[arg-type]


def test_what_says_the_same_is_equal_and_one_key() -> None:
    scope = Scope(used=(Holding("data", Reference(text="/a")),))
    one, other = (ended(values=(AttributeValue("loss", 0.5),), scope=scope) for _ in range(2))
    assert one == other and len({one, other}) == 1
    assert replace(one, ended=6) != one and one.ended == 5


def test_it_comes_back_equal_from_another_process() -> None:
    event = ended(scope=Scope(used=(Holding("data", Reference(text="/a")),)))
    assert pickle.loads(pickle.dumps(event)) == event


def test_a_name_that_it_has_not_is_no_place_to_write() -> None:
    with pytest.raises(AttributeError):
        ended().lost = 1  # type: ignore[attr-defined]
