"""The end of a step says what its parts came to, however often and wherever reading was interrupted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from headstream import capture
from headstream.capture.checkpoint import START, Checkpoint
from headstream.capture.logs import DirectoryLog
from headstream.capture.reading import Item, Reader, spools
from headstream.capture.settings import Settings
from headstream.capture.totals import LEAST, OpenStep, Totals
from headstream.schemas.events import (
    Bag,
    Event,
    IterationBlock,
    PartTotals,
    StepEnded,
    StepRef,
    StepStarted,
)

EPOCH = StepRef("epoch", "0")


def settings(folder: Path | str) -> Settings:
    return Settings(spool=Path(folder, "s"), git=False, packages=False)


def told(directory: Path, start: Checkpoint = START, limit: int = 1 << 30) -> tuple[list[Event], Checkpoint]:
    """Read on by a reader of its own, which knows what the checkpoint says and no more."""
    log = DirectoryLog(directory)
    try:
        reader = Reader(log, Checkpoint.load(start.dump()), bag_size=3)
        found: list[Event] = []
        checkpoint = start
        for item in reader.poll(limit):
            found.extend(item.content.events if isinstance(item.content, Bag) else ())
            checkpoint = item.checkpoint
        return found, reader.checkpoint if limit == 1 << 30 else checkpoint
    finally:
        log.close()


def counted(events: list[Event]) -> dict[StepRef, dict[str, tuple[int, int, int, int]]]:
    """What the parts of each step came to, part by part."""
    took: dict[StepRef, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if isinstance(event, IterationBlock) and event.parent is not None:
            spans = zip(event.started, event.ended, strict=True)
            took[event.parent][event.transformation] += [end - start for start, end in spans]
        elif isinstance(event, StepEnded) and event.parent is not None and event.started is not None:
            took[event.parent][event.step.transformation].append(event.ended - event.started)
    return {
        step: {name: (len(all_), sum(all_), min(all_), max(all_)) for name, all_ in parts.items()}
        for step, parts in took.items()
    }


def ends(events: list[Event]) -> Iterator[StepEnded]:
    return (event for event in events if isinstance(event, StepEnded))


def as_numbers(parts: tuple[PartTotals, ...]) -> dict[str, tuple[int, int, int, int]]:
    return {each.transformation: (each.count, each.total, each.least, each.most) for each in parts}


EPOCHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5)


def train(folder: Path | str, epochs: list[tuple[int, int]], look: Callable[[], None]) -> None:
    """Each epoch has so many rows, and so many steps of their own; somebody may look between."""
    with capture.workflow("w", execution="e", settings=settings(folder)) as run:
        for epoch in run.task("train").begin().loop("epoch", epochs):
            rows, steps = epoch.item
            for batch in epoch.loop("batch", range(rows)):
                batch.generated(loss=0.5)
                look()
            for number in range(steps):
                with epoch.task("check", used={"n": number}):
                    look()


def assert_totals(found: list[Event], epochs: list[tuple[int, int]]) -> None:
    """The end of each epoch says what counting its parts gives."""
    parts = counted(found)
    closing = [event for event in ends(found) if event.step.transformation == "epoch"]
    assert len(closing) == len(epochs)
    assert not any(event.apart for event in found if isinstance(event, StepEnded | IterationBlock))
    for event in closing:
        inside = parts.get(event.step, {})
        assert as_numbers(event.parts) == {n: numbers for n, numbers in inside.items() if numbers[0] >= LEAST}


@trials(max_examples=40, deadline=None)
@given(epochs=EPOCHS, looks=st.lists(st.integers(1, 4), max_size=30), data=st.data())
def test_totals_are_those_of_the_parts_wherever_another_reader_takes_over(
    epochs: list[tuple[int, int]], looks: list[int], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        found: list[Event] = []
        checkpoint = START

        def look() -> None:
            nonlocal checkpoint
            for directory in spools(Path(folder, "s")) if looks and data.draw(st.booleans()) else ():
                more, checkpoint = told(directory, checkpoint, looks.pop())
                found.extend(more)

        train(folder, epochs, look)
        (directory,) = spools(Path(folder, "s"))
        while not checkpoint.done:
            more, checkpoint = told(directory, checkpoint)
            found.extend(more)
        assert_totals(found, epochs)


@trials(max_examples=60, deadline=None)
@given(epochs=EPOCHS, random=st.randoms(use_true_random=False))
def test_totals_are_those_of_the_parts_while_both_go_on(
    epochs: list[tuple[int, int]], random: Random
) -> None:
    """A reader in mid poll meets the end of a step whose rows it looked at before they were filled."""
    with TemporaryDirectory() as folder:
        found: list[Event] = []
        readers: list[Reader] = []
        polls: list[Iterator[Item]] = []

        def take(items: Iterable[Item]) -> bool:
            count = len(found)
            for item in items:
                found.extend(item.content.events if isinstance(item.content, Bag) else ())
            return len(found) > count

        def look() -> None:
            for directory in spools(Path(folder, "s")) if not readers else ():
                readers.append(Reader(DirectoryLog(directory), bag_size=1))
            for reader in readers if random.random() < 0.4 else ():
                if not polls:
                    polls.append(reader.poll())
                if not take(islice(polls[0], 1)):
                    polls.clear()

        train(folder, epochs, look)
        take(polls[0] if polls else ())
        while not (readers and readers[0].checkpoint.done):
            look()
        readers[0].log.close()  # type: ignore[attr-defined]
        assert_totals(found, epochs)


def test_parts_of_a_step_that_another_process_tells_are_apart(tmp_path: Path) -> None:
    with (
        capture.workflow("w", execution="e", settings=settings(tmp_path)) as run,
        run.task("train") as train,
    ):
        joined = capture.attach(environ=train.environ(), settings=settings(tmp_path))
        with joined:
            for turn in joined.loop("epoch", range(LEAST)):
                turn.generated(loss=1.0)
    found = {directory: told(directory)[0] for directory in spools(tmp_path / "s")}
    blocks = [e for events in found.values() for e in events if isinstance(e, IterationBlock)]
    assert sum(len(block.index) for block in blocks) == LEAST
    assert all(block.apart and block.parent == StepRef("train", "0") for block in blocks)
    (end,) = (end for events in found.values() for end in ends(events) if end.step.transformation == "train")
    assert end.parts == () and not end.apart


def test_a_part_that_failed_may_be_told_twice_so_its_like_have_no_totals() -> None:
    totals = Totals()
    totals.told(StepStarted(step=EPOCH, started=0))
    for number in range(2 * LEAST):
        step = StepRef("batch", f"0.{number}")
        failed = number == LEAST
        totals.told(
            StepEnded(
                step=step, parent=EPOCH, started=0, ended=5, outcome="ERRORED" if failed else "FINISHED"
            )
        )
        totals.told(
            StepEnded(
                step=StepRef("check", f"0.{number}"), parent=EPOCH, started=0, ended=2, outcome="FINISHED"
            )
        )
    end = totals.told(StepEnded(step=EPOCH, started=0, ended=100, outcome="FINISHED"))
    assert isinstance(end, StepEnded)
    assert end.parts == (PartTotals("check", 2 * LEAST, 4 * LEAST, 2, 2),)


def test_after_its_end_or_a_gap_a_step_has_no_more_parts_of_its_own() -> None:
    part = StepEnded(step=StepRef("batch", "0.0"), parent=EPOCH, started=0, ended=5, outcome="FINISHED")
    end = StepEnded(step=EPOCH, started=0, ended=9, outcome="FINISHED")
    ended = Totals()
    for event in (StepStarted(step=EPOCH, started=0), end):
        ended.told(event)
    missed = Totals([OpenStep(EPOCH, (PartTotals("batch", 40, 40, 1, 1),))])
    missed.missed()
    for totals in (ended, missed):
        late = totals.told(part)
        assert isinstance(late, StepEnded) and late.apart
        again = totals.told(end)
        assert isinstance(again, StepEnded) and again.parts == ()


def test_a_checkpoint_keeps_what_the_parts_came_to_so_far() -> None:
    steps = (OpenStep(StepRef("train", "0")), OpenStep(EPOCH, (PartTotals("batch", 3, 30, 5, 15),)))
    checkpoint = Checkpoint(segment=1, offset=64, steps=steps)
    assert Checkpoint.load(checkpoint.dump()) == checkpoint
    # As it was written before: then parts of steps that are open are apart.
    assert Checkpoint.load(json.dumps([1, 64, [], 0, False])) == Checkpoint(segment=1, offset=64)
