"""What is known around the steps of one run, message by message (spec sections 6.2 and 6.3).

The ProvLake protocol says little about nesting, but its messages come in order: this keeps who
encloses whom and what each step holds, so that every event can carry its own scope.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from headstream.capture import wire as spooled
from headstream.schemas.definition import Definition
from headstream.schemas.events import (
    IN,
    NO_SCOPE,
    OUT,
    Enclosing,
    Event,
    Holding,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue, DictValue, ListValue, Reference, references

# What one message adds to the scope of its run, as JSON: see `note`.
Note = list[Any]


def note(event: Event) -> Note | None:
    """What an event of a translator adds to the scope of its run, for whoever keeps it; None for nothing.

    `RunScope.restore` of all notes of a run, in their order, gives the scope again.
    """
    match event:
        case StepStarted():
            direction, parent, started = IN, event.parent, event.started
        case StepEnded():
            direction, parent, started = OUT, event.parent, event.started
        case ValuesAdded(step=StepRef()):
            direction, parent, started = event.direction, None, None
        case _:
            return None
    assert event.step is not None
    ended = isinstance(event, StepEnded)
    named = None if parent is None else [parent.transformation, parent.task]
    held = spooled.held(event.values)
    return [event.step.transformation, event.step.task, started, named, direction, held, ended]


def holdings(values: Iterable[AttributeValue]) -> tuple[Holding, ...]:
    """What holding these values means: each by its attribute, and every reference nested in it."""
    found: dict[Holding, None] = {}
    for value in values:
        match value.value:
            case Reference() as reference:
                found[Holding(value.name, reference)] = None
            case ListValue() | DictValue() as collection:
                found[_named(value.name)] = None
                found |= {Holding(None, reference): None for reference in references(collection)}
            case _:
                found[_named(value.name)] = None
    return tuple(found)


@lru_cache(maxsize=4096)
def _named(attribute: str) -> Holding:
    """What is held by its attribute alone: many steps hold the same, and it is made once."""
    return Holding(attribute)


@lru_cache(maxsize=1024)
def _unknown(transformation: str, task: str) -> Enclosing:
    """A step around others that has said nothing itself, or not yet."""
    return Enclosing(StepRef(transformation, task), ())


@dataclass(slots=True, eq=False)
class _Step:
    """One step as far as it is known. What it holds stands there once, in the order in which it came."""

    ref: StepRef
    started: int | None = None
    parent: StepRef | None = None
    used: tuple[Holding, ...] = ()
    generated: tuple[Holding, ...] = ()
    ended: bool = False
    enclosing: Enclosing | None = None

    def as_enclosing(self) -> Enclosing:
        """What is said of this step to those inside it: the same object until it uses more."""
        found = self.enclosing
        if found is None or found.used is not self.used:
            found = self.enclosing = Enclosing(self.ref, self.used)
        return found


@dataclass(slots=True)
class RunScope:
    """The steps of one run, seen so far; of `most` and more those that have ended and enclose nothing go."""

    most: int = 100_000

    # By transformation and task: the hash of a StepRef is made in Python, that of two texts is not.
    _steps: dict[tuple[str, str], _Step] = field(default_factory=dict)
    # Starts by transformation, in the order of time; the number keeps the order of arrival among equals.
    _starts: dict[str, list[tuple[int, int, StepRef]]] = field(default_factory=dict)
    _arrivals: int = 0

    def place(
        self, ref: StepRef, started: int | None, named: StepRef | None, definition: Definition | None
    ) -> StepRef | None:
        """Note that a step exists (and has started); return the step that encloses it, if known.

        A parent that the message names counts; else the planned nesting decides, once, and later
        messages of the step repeat that answer.
        """
        key = (ref.transformation, ref.task)
        step = self._steps.get(key)
        if step is None:
            if len(self._steps) >= self.most:
                self._forget()
            step = self._steps[key] = _Step(ref)
        if started is not None and started != step.started:
            step.started = started
            self._arrivals += 1
            insort(self._starts.setdefault(ref.transformation, []), (started, self._arrivals, ref))
        if named is not None and named != ref:
            step.parent = named
        return self._link(step, definition)

    def around(
        self, ref: StepRef, direction: str, values: tuple[AttributeValue, ...], definition: Definition | None
    ) -> Scope:
        """The scope of an event of a placed step with these values; then the values belong to the step."""
        step = self._steps[(ref.transformation, ref.task)]
        own = holdings(values)
        used, generated = step.used, step.generated
        # A message that is sent twice gives the same event twice: its own values are no scope of it.
        if direction == IN:
            used, step.used = _without(used, own), _with(used, own)
        else:
            generated, step.generated = _without(generated, own), _with(generated, own)
        enclosing = self._enclosing(step, definition)
        return Scope(used, generated, enclosing) if used or generated or enclosing else NO_SCOPE

    def restore(self, noted: Note) -> None:
        """Know again what `note` said of a message."""
        transformation, task, started, parent, direction, held, ended = noted
        ref = StepRef(transformation, task)
        self.place(ref, started, None if parent is None else StepRef(*parent), None)
        step = self._steps[(transformation, task)]
        step.ended = step.ended or ended
        found = tuple(
            dict.fromkeys(
                Holding(name, None if reference is None else spooled.reference_from(reference))
                for name, reference in held
            )
        )
        if direction == IN:
            step.used = _with(step.used, found)
        else:
            step.generated = _with(step.generated, found)

    def over(self, ref: StepRef) -> None:
        """Note that a placed step has ended: it may be forgotten when there are too many."""
        self._steps[(ref.transformation, ref.task)].ended = True

    def __len__(self) -> int:
        return len(self._steps)

    def _forget(self) -> None:
        """Forget the oldest tenth of what is over: only messages that come very late would ask for it."""
        enclosing = {step.parent for step in self._steps.values() if not step.ended}
        gone = [key for key, step in self._steps.items() if step.ended and step.ref not in enclosing]
        for key in gone[: max(1, self.most // 10)]:
            del self._steps[key]
        for name, starts in self._starts.items():
            self._starts[name] = [start for start in starts if (name, start[2].task) in self._steps]

    def _link(self, step: _Step, definition: Definition | None) -> StepRef | None:
        """The parent of a step: the latest start of its planned parent that is not after its own.

        The rule of the update 01-link-parents: same run, needs the step's own start, and never
        changes a parent that is known. Of two that start at the same instant, the last heard of counts.
        """
        if step.parent is None and step.started is not None and definition is not None:
            transformation = definition.transformation(step.ref.transformation)
            if transformation is not None and transformation.parent is not None:
                starts = self._starts.get(transformation.parent, [])
                position = bisect_right(starts, step.started, key=lambda start: start[0])
                if position:
                    step.parent = starts[position - 1][2]
        return step.parent

    def _enclosing(self, step: _Step, definition: Definition | None) -> tuple[Enclosing, ...]:
        """The parent, its parent, and so on, each with what it had used by now; ends if it goes round."""
        found: list[Enclosing] = []
        seen = [step]
        outer = step.parent
        while outer is not None:
            known = self._steps.get((outer.transformation, outer.task))
            if known is None:
                found.append(_unknown(outer.transformation, outer.task))
                break
            if known in seen:
                break
            seen.append(known)
            found.append(known.as_enclosing())
            outer = self._link(known, definition)
        return tuple(found)


def _without(held: tuple[Holding, ...], own: tuple[Holding, ...]) -> tuple[Holding, ...]:
    if not held or not own:
        return held
    mine = set(own)
    return tuple(each for each in held if each not in mine)


def _with(held: tuple[Holding, ...], own: tuple[Holding, ...]) -> tuple[Holding, ...]:
    if not held or not own:
        return held or own
    found = dict.fromkeys((*held, *own))
    return tuple(found) if len(found) > len(held) else held
