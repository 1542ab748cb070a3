"""Chains of a spool as the events that they stand for (layout: frames.py).

What a frame says by offsets is remembered while its segment is read, and read again where a reader
begins behind it. A frame that names something which is not there was not written by us: `Broken`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headstream.capture import frames, records, wire
from headstream.capture.forms import cells
from headstream.schemas.events import (
    Context,
    Enclosing,
    Event,
    Holding,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import FINISHED

KINDS: Final[Mapping[int, Any]] = {
    frames.BEGUN: frames.BEGUN_TAIL,
    frames.SAID: frames.SAID_TAIL,
    frames.FINISHED: frames.FINISHED_TAIL,
}
# Kind and payload of the whole frame at an offset of the segment; None if there is none.
Fetch = Callable[[int], tuple[int, bytes] | None]


class Broken(Exception):
    """A frame of a chain names what its segment does not have."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the steps of a chain's family have in common."""

    transformation: str
    parent: StepRef | None
    prefix: str
    suffix: str
    cycle: bool
    enclosing: tuple[Enclosing, ...]

    def step(self, ordinal: int) -> StepRef:
        return StepRef(self.transformation, f"{self.prefix}{ordinal}{self.suffix}")


@dataclass(frozen=True, slots=True)
class Words:
    """Values of a frame: which way they went, and what is held because of them."""

    direction: str
    values: tuple[AttributeValue, ...]
    held: tuple[Holding, ...]


@dataclass(slots=True)
class Chain:
    """A step as far as its chain has been read."""

    ordinal: int
    iteration: int | None
    started: int
    used: dict[Holding, None] = field(default_factory=dict)
    generated: dict[Holding, None] = field(default_factory=dict)

    def hold(self, words: Words) -> None:
        held = self.used if words.direction == wire.IN else self.generated
        held.update(dict.fromkeys(words.held))

    def scope(self, family: Family) -> Scope:
        return Scope(tuple(self.used), tuple(self.generated), family.enclosing)


class Chains:
    """The chains of one segment."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._families: dict[int, Family] = {}
        self._forms: dict[int, tuple[str, list[str], str]] = {}
        self._open: dict[int, Chain] = {}  # By the offset of the last frame that was read.

    def event(self, kind: int, at: int, payload: bytes) -> Event:
        """What the frame at this offset says. Broken if what it names is not there."""
        family_at, form_at, before, numbers, rest = _taken_apart(kind, payload)
        family = self._family(family_at)
        if kind == frames.BEGUN:
            chain, words = self._begun(numbers, form_at, rest)
            self._open[at] = chain
            return StepStarted(
                step=family.step(chain.ordinal),
                parent=family.parent,
                cycle=family.cycle,
                iteration=chain.iteration,
                started=chain.started,
                values=words.values if words is not None else (),
                scope=Scope(enclosing=family.enclosing),
            )
        chain = self._open.pop(before) if before in self._open else self._again(before)
        if kind == frames.SAID:
            said = self._words(form_at, rest)
            if said is None:
                raise Broken(f"a frame at {at} says nothing")
            scope = chain.scope(family)
            chain.hold(said)
            self._open[at] = chain
            return ValuesAdded(
                step=family.step(chain.ordinal),
                direction=said.direction,
                values=said.values,
                at=numbers[0],
                scope=scope,
            )
        return self._finished(family, chain, numbers, rest)

    def _finished(self, family: Family, chain: Chain, numbers: tuple[Any, ...], rest: bytes) -> StepEnded:
        ended, cpu, peak = numbers
        outcome, error = wire.load(rest) if rest else (FINISHED, None)
        return StepEnded(
            step=family.step(chain.ordinal),
            parent=family.parent,
            cycle=family.cycle,
            iteration=chain.iteration,
            started=chain.started,
            scope=chain.scope(family),
            context=None if family.cycle else Context(peak_memory_bytes=peak, cpu_seconds=round(cpu, 6)),
            ended=ended,
            outcome=outcome,
            error=error,
        )

    def _begun(self, numbers: tuple[Any, ...], form_at: int, rest: bytes) -> tuple[Chain, Words | None]:
        ordinal, iteration, started = numbers
        chain = Chain(ordinal, None if iteration == frames.NO_ITERATION else iteration, started)
        words = self._words(form_at, rest)
        if words is not None:
            chain.hold(words)
        return chain, words

    def _again(self, at: int) -> Chain:
        """The chain up to a frame that was read by somebody else, back to its beginning and forth again."""
        said: list[tuple[int, bytes]] = []
        while True:
            kind, payload = self._frame(at, *KINDS)
            _, form_at, before, numbers, rest = _taken_apart(kind, payload)
            if kind == frames.BEGUN:
                break
            said.append((form_at, rest))
            at = before
        chain, _ = self._begun(numbers, form_at, rest)
        for form_at, rest in reversed(said):
            words = self._words(form_at, rest)
            if words is not None:
                chain.hold(words)
        return chain

    def _words(self, form_at: int, rest: bytes) -> Words | None:
        if not form_at:
            if not rest:
                return None
            direction, values, held = wire.load(rest)
            return Words(direction, wire.attributes_from(values), records.holdings_from(held))
        direction, names, letters = self._form(form_at)
        values_read = unpacked(letters, rest)
        return Words(
            direction,
            tuple(AttributeValue(name, value) for name, value in zip(names, values_read, strict=True)),
            tuple(Holding(name) for name in names),
        )

    def _family(self, at: int) -> Family:
        found = self._families.get(at)
        if found is None:
            _, payload = self._frame(at, frames.FAMILY)
            name, parent, prefix, suffix, cycle, enclosing = wire.load(payload)
            around = records.enclosing_from(enclosing)
            found = Family(name, records.ref_from(parent), prefix, suffix, cycle, around)
            self._families[at] = found
        return found

    def _form(self, at: int) -> tuple[str, list[str], str]:
        found = self._forms.get(at)
        if found is None:
            _, payload = self._frame(at, frames.FORM)
            direction, names, letters = wire.load(payload)
            found = self._forms[at] = (direction, names, letters)
        return found

    def _frame(self, at: int, *kinds: int) -> tuple[int, bytes]:
        found = self._fetch(at)
        if found is None or found[0] not in kinds:
            raise Broken(f"there is no frame of kind {kinds} at {at}")
        return found


def _taken_apart(kind: int, payload: bytes) -> tuple[int, int, int, tuple[Any, ...], bytes]:
    """Family, form and frame before, the numbers of this kind, and what follows them."""
    tail = KINDS[kind]
    family_at, form_at, before = frames.LINK.unpack_from(payload)
    numbers = tail.unpack_from(payload, frames.LINK.size)
    return family_at, form_at, before, numbers, payload[frames.LINK.size + tail.size :]


def unpacked(letters: str, body: bytes) -> list[bool | int | float | str]:
    """The values of a form, in its order, as `forms.packer` packed them."""
    layout = cells(letters)
    found: list[Any] = list(layout.unpack_from(body))
    at = layout.size
    for number, letter in enumerate(letters):
        if letter == "s":
            length = found[number]
            found[number] = body[at : at + length].decode()
            at += length
    return found
