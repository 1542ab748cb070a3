"""Points of metrics as turns: a function of the set of points, in whatever order and however often."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.capture.ingest.mlflow.mapping import as_written
from headstream.capture.ingest.mlflow.records import Dataset, DatasetKey, Model, Point, Run
from headstream.capture.ingest.mlflow.stages import staged
from headstream.capture.ingest.mlflow.turns import blocks, turns

POINTS = st.lists(
    st.builds(
        Point,
        key=st.sampled_from(["loss", "accuracy"]),
        step=st.integers(-2, 3),
        at=st.integers(1_000, 1_003),
        value=st.sampled_from([0.5, 1.0, math.nan, math.inf]),
    ),
    max_size=30,
)


def rows(points: list[Point]) -> set[tuple[str, int, int, str, str]]:
    """Everything that the blocks of some points say, value by value."""
    found = set()
    for block in blocks("step", None, turns(points).values()):
        for column in block.columns:
            assert len(column.values) == len(block.index)
            for number, value in enumerate(column.values):
                task = f"{block.prefix}{block.ordinals[number]}{block.suffix}"
                found.add((task, block.index[number], block.ended[number], column.name, repr(value)))
    return found


@settings(deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_points_change_nothing(points: list[Point], random: object) -> None:
    shuffled = points * 2
    random.shuffle(shuffled)
    assert rows(shuffled) == rows(points)


@settings(deadline=None)
@given(POINTS)
def test_every_value_is_told_once_and_no_turn_tells_a_metric_twice(points: list[Point]) -> None:
    told = rows(points)
    distinct = {(point.key, point.step, point.at, repr(point.value)) for point in points}
    assert len(told) == len(distinct)
    assert len({(task, name) for task, _, _, name, _ in told}) == len(told)
    assert {(name, step, value) for _, step, _, name, value in told} == {
        (key, step, value) for key, step, _, value in distinct
    }


@settings(deadline=None)
@given(POINTS, st.lists(st.integers(2_000, 2_005), max_size=5))
def test_points_that_are_logged_later_only_add(points: list[Point], later: list[int]) -> None:
    more = [*points, *(Point("loss", 0, at, 0.25) for at in later)]
    assert rows(points) <= rows(more)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("0.5", 0.5), ("1e-05", 1e-05), ("True", True), ("False", False),
        ("nan", "nan"), ("1.10", "1.10"), ("007", "007"), ("+3", "+3"), ("1_000", "1_000"), (" 3", " 3"),
        ("adam", "adam"), ("", ""), ("None", "None"), ("9" * 30, "9" * 30), ("inf", "inf"),
        ("[1, 2]", "[1, 2]"),
    ],
)  # fmt: skip
def test_a_parameter_is_a_number_only_where_python_would_write_it_so(text: str, value: object) -> None:
    found = as_written(text)
    assert found == value and type(found) is type(value)


def run(**facts: object) -> Run:
    return Run(id="r", experiment="e", experiment_id="1", where="here", ended=2_000, **facts)


def dataset(name: str, context: str | None) -> Dataset:
    return Dataset(key=DatasetKey(name, "1"), source_type="local", source={}, context=context)


def test_a_run_that_only_evaluates_is_a_test_of_the_model_that_it_used() -> None:
    model = Model(location="/m", id="m-1")
    found = staged(
        run(datasets=(dataset("d", "evaluation"),), models_used=(model,), points=(Point("f1", 0, 1, 0.5),))
    )
    (stage,) = found.stages
    assert (stage.name, stage.type, stage.models_used) == ("test", "Test", [model])


def test_each_model_is_evaluated_by_itself() -> None:
    models = tuple(Model(location=f"/{name}", id=name) for name in ("m-1", "m-2"))
    key = DatasetKey("d", "1")
    points = [Point("f1", 0, at, value, key, name) for at, value, name in ((1, 0.5, "m-1"), (2, 0.7, "m-2"))]
    found = staged(run(datasets=(dataset("d", "validation"),), models_made=models, points=tuple(points)))
    training, validation = found.stages
    assert not training.points and not validation.points and not validation.models_used
    assert {name: [point.value for point in own] for name, own in validation.evaluations.items()} == {
        "m-1": [0.5],
        "m-2": [0.7],
    }


def test_a_run_with_nothing_but_parameters_learns_nothing() -> None:
    (stage,) = staged(run(parameters={"trials": "2"})).stages
    assert (stage.name, stage.type) == ("run", None)
    assert staged(run()).stages == ()


def test_of_a_run_that_goes_on_and_shows_nothing_yet_no_stage_is_told() -> None:
    going = Run(id="r", experiment="e", experiment_id="1", where="here", parameters={"lr": "1"})
    assert staged(going).stages == ()
