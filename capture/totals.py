"""What the parts of a step came to, told with its end (decision 0016): their number and their durations.

A question about the turns inside each epoch need not read the turns then. The sums are those of one
spool: a part whose step is not open here, because another process began it or because it has
ended, is `apart`, and whoever asks of that step counts its parts one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import sub
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
        # Number, sum, least and most of the parts of each open step, by transformation.
        self._open = {each.step: {p.transformation: _sums(p) for p in each.parts} for each in known}

    def snapshot(self) -> tuple[OpenStep, ...]:
        """What a reader that goes on from here has to know."""
        return tuple(OpenStep(step, _as_parts(parts)) for step, parts in self._open.items())

    def missed(self) -> None:
        """Something was not told here: say nothing of steps that may have had parts in it."""
        self._open.clear()

    def told(self, event: Event) -> Event:
        """The event as it is to be told: the end of a step with the sums of its parts."""
        if isinstance(event, StepStarted):
            if len(self._open) < _MOST:
                self._open.setdefault(event.step, {})
        elif isinstance(event, StepEnded):
            parts = tuple(p for p in _as_parts(self._open.pop(event.step, {})) if p.count >= LEAST)
            took = () if event.started is None else (event.ended - event.started,)
            # The end of a part that failed may come again, with the error.
            apart = not self._part_of(
                event.parent, event.step.transformation, took, event.outcome == FINISHED
            )
            if apart or parts:
                return replace(event, parts=parts, apart=apart)
        elif isinstance(event, IterationBlock):
            took = tuple(map(sub, event.ended, event.started))
            if not self._part_of(event.parent, event.transformation, took):
                return replace(event, apart=True)
        return event

    def _part_of(
        self, parent: StepRef | None, transformation: str, took: tuple[int, ...], once: bool = True
    ) -> bool:
        """Add parts to the open step that they are inside of; False if there is none.

        Of a transformation of which one may be told more than `once` nothing is told.
        """
        if parent is None:
            return True
        parts = self._open.get(parent)
        if parts is None:
            return False
        if took:
            held = parts.get(transformation)
            if held is None:
                parts[transformation] = [len(took), sum(took), min(took), max(took)]
            else:
                held[0] += len(took)
                held[1] += sum(took)
                held[2] = min(held[2], *took)
                held[3] = max(held[3], *took)
            if not once:
                parts[transformation][0] = _SPOILT
        return True


def _sums(part: PartTotals) -> list[int]:
    return [part.count, part.total, part.least, part.most]


def _as_parts(sums: dict[str, list[int]]) -> tuple[PartTotals, ...]:
    return tuple(PartTotals(name, *numbers) for name, numbers in sums.items())


_SPOILT: Final = -(1 << 62)  # Far below LEAST, however many follow.
