"""What the tests of the hooks share: a run of their own, what it told, and no error that stays unseen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Run, Settings, errors
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, IterationBlock, StepEnded, StepRef, StepStarted, ValuesAdded
from headstream.schemas.values import AttributeValue, plain


@dataclass(slots=True, kw_only=True)
class Told:
    """All that was told of one step."""

    step: StepRef
    parent: StepRef | None = None
    iteration: int | None = None
    used: dict[str, Any] = field(default_factory=dict)
    generated: dict[str, list[Any]] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outcome: str | None = None
    error: str | None = None

    def add(self, direction: str, values: tuple[AttributeValue, ...]) -> None:
        for value in values:
            shown = plain(value.value)
            if direction == "in":
                self.used[value.name] = shown
            else:
                self.generated.setdefault(value.name, []).append(shown)
            self.metadata += [value.metadata] if value.metadata is not None else []
            self.notes += [value.note] if value.note is not None else []


Steps = Callable[[], dict[str, list[Told]]]


@pytest.fixture(autouse=True)
def internal_errors() -> Iterator[list[BaseException]]:
    """Errors that are swallowed for the host's sake: collected here, and raised after the test."""
    found: list[BaseException] = []
    errors.LOSSES.clear()
    errors.WARNINGS.clear()
    errors.on_internal_error = found.append
    yield found
    errors.on_internal_error = None
    errors.LOSSES.clear()
    errors.WARNINGS.clear()
    if found:
        raise found[0]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with capture.workflow(
        "hooked", settings=Settings(spool=tmp_path / "spool", git=False, packages=False, file_facts=False)
    ) as opened:
        yield opened


@pytest.fixture
def steps(run: Run, tmp_path: Path) -> Steps:
    """End the run, then say what was told of each step, by its name and in the order of its beginning."""

    def told() -> dict[str, list[Told]]:
        run.end()
        found: dict[StepRef, Told] = {}
        for spool in spools(tmp_path / "spool"):
            for bag in read(spool):
                for event in bag.events if isinstance(bag, Bag) else ():
                    _add(found, event)
        named: dict[str, list[Told]] = {}
        for each in sorted(found.values(), key=_place):
            named.setdefault(each.step.transformation, []).append(each)
        return named

    return told


def _place(told: Told) -> list[int]:
    return [int(number) for number in re.findall(r"\d+(?=\.|$)", told.step.task)]


def _add(found: dict[StepRef, Told], event: Any) -> None:
    if isinstance(event, IterationBlock):
        for row, index in enumerate(event.index):
            ref = StepRef(event.transformation, f"{event.prefix}{event.ordinals[row]}{event.suffix}")
            each = found.setdefault(ref, Told(step=ref))
            each.parent, each.iteration, each.outcome = event.parent, index, "FINISHED"
            if event.index_attribute is not None:
                each.used[event.index_attribute] = index
            each.add(
                "out", tuple(AttributeValue(column.name, column.values[row]) for column in event.columns)
            )
    elif isinstance(event, (StepStarted, StepEnded)):
        each = found.setdefault(event.step, Told(step=event.step))
        each.parent, each.iteration = event.parent, event.iteration
        if isinstance(event, StepEnded):
            each.outcome, each.error = event.outcome, event.error
        else:
            each.add("in", event.values)
    elif isinstance(event, ValuesAdded) and event.step is not None:
        found.setdefault(event.step, Told(step=event.step)).add(event.direction, event.values)
