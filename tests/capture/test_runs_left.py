"""Runs that somebody else recorded, left in the spool: what is read from it is what was told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.capture import publishing
from headstream.capture.errors import SpoolUnusable
from headstream.capture.publishing import Runs
from headstream.capture.reading import read, spools
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.events import (
    OUT,
    Bag,
    Column,
    Event,
    IterationBlock,
    RunEnded,
    RunStarted,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue

LONG = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(-(10**15), 4 * 10**15).filter(bool)
PARENT = StepRef("training", "0")


@st.composite
def blocks(draw: st.DrawFn) -> IterationBlock:
    rows = draw(st.integers(1, 40))
    several = {"min_size": rows, "max_size": rows}
    numbers = st.one_of(st.floats(allow_nan=False), LONG, st.booleans())
    times = tuple(draw(st.lists(TIMES, **several)))
    return IterationBlock(
        transformation="step",
        parent=draw(st.sampled_from([None, PARENT])),
        prefix=draw(st.sampled_from(["", "0@"])),
        suffix=draw(st.sampled_from(["", ".1"])),
        index_attribute=draw(st.sampled_from([None, "step"])),
        ordinals=tuple(draw(st.lists(LONG, **several))),
        index=tuple(draw(st.lists(LONG, **several))),
        started=times,
        ended=times,
        columns=tuple(
            Column(name, tuple(draw(st.lists(numbers, **several))))
            for name in draw(st.sampled_from([(), ("loss",), ("loss", "accuracy")]))
        ),
    )


def left(folder: Path, events: list[Event], *, execution: str = "r1") -> list[Event]:
    """What is read of a run behind its documents, once it has been told."""
    runs = Runs({"HEADSTREAM_SPOOL": str(folder)}, "test")
    assert runs.tell("w", execution, None, events) == []
    runs.close()
    found = [item for path in runs.left for item in read(path)]
    assert all(
        isinstance(item, Bag) and (item.workflow, item.execution) == ("w", execution) for item in found
    )
    return [event for item in found if isinstance(item, Bag) for event in item.events]


def flat(events: list[Event]) -> list[tuple[object, ...]]:
    """Rows of blocks one by one: into how many blocks they are cut means nothing."""
    found: list[tuple[object, ...]] = []
    for event in events:
        assert isinstance(event, IterationBlock)
        for row, index in enumerate(event.index):
            values = tuple((c.name, type(c.values[row]), c.values[row]) for c in event.columns)
            place = (event.prefix, event.ordinals[row], event.suffix, index, event.index_attribute)
            found.append((event.parent, place, event.started[row], event.ended[row], values))
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(blocks(), max_size=4))
def test_every_row_of_a_block_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, given: list[Event]
) -> None:
    assert flat(left(tmp_path_factory.mktemp("spool"), given)) == flat(given)


def test_a_long_block_is_more_rows_than_a_segment_holds(tmp_path: Path) -> None:
    number = 50_000
    column = Column("loss", tuple(math.nan if n % 7 == 0 else n / 7 for n in range(number)))
    block = IterationBlock(
        transformation="step", parent=None, prefix="", ordinals=tuple(range(number)),
        index=tuple(range(number)), started=tuple(range(1, number + 1)), ended=tuple(range(1, number + 1)),
        columns=(column,),
    )  # fmt: skip
    assert repr(flat(left(tmp_path, [block]))) == repr(flat([block]))


def test_a_turn_at_the_very_beginning_of_time_is_told_by_events(tmp_path: Path) -> None:
    """In a row an end of 0 would say that there is none yet."""
    block = IterationBlock(
        transformation="step", parent=PARENT, prefix="", index_attribute="step", ordinals=(4, 5),
        index=(4, 5), started=(0, 7), ended=(0, 7), columns=(Column("loss", (0.5, 0.25)),),
    )  # fmt: skip
    begun, ended, row = left(tmp_path, [block])
    assert isinstance(begun, StepStarted) and begun.values == (AttributeValue("step", 4),)
    assert isinstance(ended, StepEnded) and (ended.started, ended.ended) == (0, 0)
    assert ended.values == (AttributeValue("loss", 0.5),) and ended.step == StepRef("step", "4")
    assert flat([row]) == flat([block])[1:]


def test_a_run_has_a_spool_of_its_own_with_its_definition_first(tmp_path: Path) -> None:
    definition = Definition(workflow="w", workflow_type="Experiment")
    runs = Runs({"HEADSTREAM_SPOOL": str(tmp_path)}, "test")
    begun, ended = RunStarted(started=1), RunEnded(started=1, ended=2, outcome="FINISHED")
    for execution in ("a", "b"):
        runs.tell("w", execution, definition, [begun])
    runs.tell("w", "a", definition, [ended])
    runs.close()
    assert len(runs.left) == len(spools(tmp_path)) == 2
    first, *rest = read(runs.left[0])
    assert isinstance(first, Document) and first.content_hash == definition.content_hash
    assert [event for bag in rest for event in bag.events] == [begun, ended]
    assert all(bag.definition == definition.content_hash for bag in rest)


def test_a_run_that_comes_again_after_many_others_goes_on_in_a_further_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_MOST_OPEN", 2)
    runs = Runs({"HEADSTREAM_SPOOL": str(tmp_path)}, "test")
    told = []
    for number, execution in enumerate(["a", "b", "c", "a", "a"]):
        event = RunStarted(started=number)
        runs.tell("w", execution, None, [event])
        told.append((execution, event))
    runs.close()
    found = [(bag.execution, event) for path in runs.left for bag in read(path) for event in bag.events]
    assert sorted(found, key=repr) == sorted(told, key=repr) and len(runs.left) == 4


def test_an_event_that_no_message_could_take_is_left_out_and_said(tmp_path: Path) -> None:
    runs = Runs({"HEADSTREAM_SPOOL": str(tmp_path)}, "test")
    large = ValuesAdded(step=None, direction=OUT, values=(AttributeValue("text", "x" * 900_000),))
    small = RunStarted(started=1)
    (said,) = runs.tell("w", "r", None, [large, small])
    runs.close()
    assert "ValuesAdded" in said and "800000" in said
    assert [event for bag in read(runs.left[0]) for event in bag.events] == [small]


def test_where_there_is_no_room_nothing_is_left_out_in_silence(tmp_path: Path) -> None:
    runs = Runs({"HEADSTREAM_SPOOL": str(tmp_path), "HEADSTREAM_SPOOL_BYTES": str(128 << 10)}, "test")
    event = ValuesAdded(step=None, direction=OUT, values=(AttributeValue("text", "x" * 50_000),))
    with pytest.raises(SpoolUnusable, match="no more room"):
        for _ in range(10):
            runs.tell("w", "r", None, [event])
    runs.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnusable, match="cannot be left"):
        Runs({"HEADSTREAM_SPOOL": str(tmp_path / "file")}, "test").tell("w", "r", None, [event])
