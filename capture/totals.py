"""What the parts of a step came to, told with its end (decision 0016): their number and their durations.

A question about the turns inside each epoch need not read the turns then. The sums are those of one
spool: a part whose step is not open here, because another process began it or because it has
ended, is `apart`, and whoever asks of that step counts its parts one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from headstream.schemas.events import Event, IterationBlock, PartTotals, StepEnded, StepRef, StepStarted
from headstream.schemas.vocabulary import FINISHED

# Fewer parts are read about as soon as what they came to.
LEAST: Final = 8
# Steps that are open at once and add up; the outer ones begin first.
_MOST: Final = 512


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that has begun here and not ended, and what its parts came to so far."""

    step: StepRef
    parts: tuple[PartTotals, ...] = ()


class Totals:
    """Takes the events of one spool in the order in which they are told."""

    def __init__(self, known: Iterable[OpenStep] = ()) -> None:
        self._open = {each.step: {part.transformation: part for part in each.parts} for each in known}

    def snapshot(self) -> tuple[OpenStep, ...]:
        """What a reader that goes on from here has to know."""
        return tuple(OpenStep(step, tuple(parts.values())) for step, parts in self._open.items())

    def missed(self) -> None:
        """Something was not told here: say nothing of steps that may have had parts in it."""
        self._open.clear()

    def told(self, event: Event) -> Event:
        """The event as it is to be told: the end of a step with the sums of its parts."""
        match event:
            case StepStarted() if len(self._open) < _MOST:
                self._open.setdefault(event.step, {})
            case StepEnded():
                parts = self._open.pop(event.step, {})
                worth = tuple(part for part in parts.values() if part.count >= LEAST)
                apart = self._apart(event.parent)
                if not apart and event.started is not None:
                    self._add(event.parent, event.step.transformation, [event.ended - event.started])
                    if event.outcome != FINISHED:  # Its end may come again, with the error.
                        self._spoil(event.parent, event.step.transformation)
                if apart or worth:
                    return replace(event, parts=worth, apart=apart)
            case IterationBlock():
                if self._apart(event.parent):
                    return replace(event, apart=True)
                took = [ended - started for started, ended in zip(event.started, event.ended, strict=True)]
                self._add(event.parent, event.transformation, took)
        return event

    def _apart(self, parent: StepRef | None) -> bool:
        return parent is not None and parent not in self._open

    def _add(self, parent: StepRef | None, transformation: str, took: list[int]) -> None:
        if parent is None or not took:
            return
        parts = self._open[parent]
        fresh = PartTotals(transformation, len(took), sum(took), min(took), max(took))
        held = parts.get(transformation)
        parts[transformation] = fresh if held is None else _sum(held, fresh)

    def _spoil(self, parent: StepRef | None, transformation: str) -> None:
        """Tell nothing of these parts: far below LEAST, however many follow."""
        if parent is not None:
            self._open[parent][transformation] = PartTotals(transformation, _SPOILT, 0, 0, 0)


def _sum(one: PartTotals, other: PartTotals) -> PartTotals:
    return PartTotals(
        one.transformation,
        one.count + other.count,
        one.total + other.total,
        min(one.least, other.least),
        max(one.most, other.most),
    )


_SPOILT: Final = -(1 << 62)
