"""What the tests of capture share: a spool of their own, and no error of ours that stays unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.capture import Settings, errors
from headstream.capture.reading import read, spools
from headstream.schemas.documents import Document
from headstream.schemas.events import (
    Bag,
    Event,
    Holding,
    IterationBlock,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue

Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]


@pytest.fixture(autouse=True)
def internal_errors() -> Iterator[list[BaseException]]:
    """Errors that capture swallows for the script's sake: collected here, and raised after the test."""
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
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def settings(spool: Path) -> Settings:
    return Settings(spool=spool, git=False, packages=False)


@pytest.fixture
def told(spool: Path) -> Callable[[], list[Event]]:
    """All events of all spools, in the order in which they were written."""

    def events() -> list[Event]:
        return [event for c in all_contents(spool) if isinstance(c, Bag) for event in c.events]

    return events


@pytest.fixture
def contents(spool: Path) -> Callable[[], list[Document | Bag]]:
    return lambda: all_contents(spool)


@pytest.fixture
def facts() -> Facts:
    """What is said of each step, whatever the number of events it took."""
    return facts_of


def all_contents(spool: Path) -> list[Document | Bag]:
    return [content for directory in spools(spool) for content in read(directory)]


def expand(events: Iterable[Event]) -> list[Event]:
    """Blocks as the general events that they stand for (docstring of IterationBlock)."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, IterationBlock):
            for row in range(len(event.index)):
                found.extend(_row(event, row))
        else:
            found.append(event)
    return found


def _row(block: IterationBlock, row: int) -> list[Event]:
    step = StepRef(block.transformation, f"{block.prefix}{block.ordinals[row]}{block.suffix}")
    index = block.index_attribute
    used = () if index is None else (AttributeValue(index, block.index[row]),)
    held = tuple(Holding(value.name) for value in used)
    values = tuple(AttributeValue(column.name, column.values[row]) for column in block.columns)
    common: dict[str, Any] = {
        "step": step,
        "parent": block.parent,
        "cycle": True,
        "iteration": block.index[row],
        "started": block.started[row],
    }
    told: list[Event] = [StepStarted(**common, values=used, scope=Scope(enclosing=block.enclosing))]
    if values:
        scope = Scope(used=held, enclosing=block.enclosing)
        told.append(ValuesAdded(step=step, direction="out", values=values, scope=scope))
    generated = tuple(Holding(value.name) for value in values)
    scope = Scope(used=held, generated=generated, enclosing=block.enclosing)
    told.append(StepEnded(**common, ended=block.ended[row], outcome="FINISHED", scope=scope))
    return told


def facts_of(events: Iterable[Event]) -> dict[StepRef, dict[str, Any]]:
    """What is said of each step, whatever the number of events it took."""
    found: dict[StepRef, dict[str, Any]] = {}
    for event in expand(events):
        if not isinstance(event, (StepStarted, StepEnded, ValuesAdded)):
            continue
        fact = found.setdefault(event.step, {"in": {}, "out": {}, "ends": 0})
        if isinstance(event, ValuesAdded):
            fact[event.direction].update({v.name: repr(v.value) for v in event.values})
            continue
        fact.update(parent=event.parent, cycle=event.cycle, iteration=event.iteration)
        if isinstance(event, StepStarted):
            fact["in"].update({v.name: repr(v.value) for v in event.values})
        else:
            fact.update(outcome=event.outcome, scope=_unordered(event.scope), ends=fact["ends"] + 1)
            fact["error"] = event.error
    return found


def _unordered(scope: Scope) -> Any:
    return (
        frozenset(scope.used),
        frozenset(scope.generated),
        tuple((e.step, frozenset(e.used)) for e in scope.enclosing),
    )
