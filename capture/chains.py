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
_BEGINS_AT: Final = frames.LINK.size + frames.BEGUN_TAIL.size


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

    at: int
    later: int  # Where in its first frame the slots begin; 0 if it has none.
    ordinal: int
    iteration: int | None
    started: int
    used: dict[Holding, None] = field(default_factory=dict)
    generated: dict[Holding, None] = field(default_factory=dict)
    filled: bool = False  # What the slot says is among these.

    def hold(self, words: Words) -> None:
        held = self.used if words.direction == wire.IN else self.generated
        held.update(dict.fromkeys(words.held))

    def scope(self, family: Family) -> Scope:
        return Scope(tuple(self.used), tuple(self.generated), family.enclosing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """What the slots of a step's first frame say by now; `over` if no more will come."""

    said: ValuesAdded | None
    ended: StepEnded | None
    over: bool


class Chains:
    """The chains of one segment."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._families: dict[int, Family] = {}
        self._forms: dict[int, tuple[str, list[str], str]] = {}
        self._open: dict[int, Chain] = {}  # By the offset of the last frame that was read.

    def event(self, kind: int, at: int, payload: bytes) -> Event:
        """What the frame at this offset says. Broken if what it names is not there."""
        link = _Link.of(kind, payload)
        family = self._family(link.family)
        if kind == frames.BEGUN:
            chain, words = self._begun(at, link)
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
        chain = self._open.pop(link.third) if link.third in self._open else self._again(link.third)
        self._fill(chain)
        if kind == frames.SAID:
            said = self._words(link.form, link.rest)
            if said is None:
                raise Broken(f"a frame at {at} says nothing")
            scope = chain.scope(family)
            chain.hold(said)
            self._open[at] = chain
            return _added(family, chain, said, link.numbers[0], scope)
        outcome, error = wire.load(link.rest) if link.rest else (FINISHED, None)
        return _ended(family, chain, link.numbers, outcome, error)

    def later(self, at: int, payload: bytes) -> Later:
        """What the slots of the first frame of a step say by now. Broken if what they name is not there."""
        link = _Link.of(frames.BEGUN, payload)
        family = self._family(link.family)
        cpu, peak, before, ended = frames.FINISH_SLOT.unpack_from(payload, link.third)
        said = None
        words = self._slot(payload, link.third)
        if words is not None:
            chain, _ = self._begun(at, link)
            said = _added(family, chain, words[0], words[1], chain.scope(family))
        if ended <= 0:
            return Later(said=said, ended=None, over=ended != 0)
        chain = self._open.pop(before) if before in self._open else self._again(before)
        self._fill(chain, payload)
        numbers = ended, cpu, peak
        return Later(said=said, ended=_ended(family, chain, numbers, FINISHED, None), over=True)

    def parent(self, payload: bytes) -> StepRef | None:
        """The step around the one that begins with this frame. Broken if its family is not there."""
        return self._family(_Link.of(frames.BEGUN, payload).family).parent

    def _fill(self, chain: Chain, payload: bytes | None = None) -> None:
        """Have in a chain what the slot of its first frame says. It says no more once another frame has."""
        if chain.later and not chain.filled:
            chain.filled = True
            if payload is None:
                _, payload = self._frame(chain.at, frames.BEGUN)
            words = self._slot(payload, chain.later)
            if words is not None:
                chain.hold(words[0])

    def _slot(self, payload: bytes, later: int) -> tuple[Words, int] | None:
        """What was said in the slot, and when."""
        length, form_at = frames.SAY_SLOT.unpack_from(payload, later + frames.FINISH_SLOT.size)
        if not form_at:
            return None
        start = later + frames.SAY_BODY
        body = payload[start : start + length]
        (at,) = frames.SAID_TAIL.unpack_from(body)
        words = self._words(form_at, body[frames.SAID_TAIL.size :])
        return None if words is None else (words, at)

    def _begun(self, at: int, link: _Link) -> tuple[Chain, Words | None]:
        ordinal, iteration, started = link.numbers
        known = None if iteration == frames.NO_ITERATION else iteration
        chain = Chain(at, link.third, ordinal, known, started)
        words = self._words(link.form, link.rest)
        if words is not None:
            chain.hold(words)
        return chain, words

    def _again(self, at: int) -> Chain:
        """The chain up to a frame that was read by somebody else, back to its beginning and forth again."""
        said: list[_Link] = []
        while True:
            kind, payload = self._frame(at, *KINDS)
            link = _Link.of(kind, payload)
            if kind == frames.BEGUN:
                break
            said.append(link)
            at = link.third
        chain, _ = self._begun(at, link)
        self._fill(chain)
        for link in reversed(said):
            words = self._words(link.form, link.rest)
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


@dataclass(frozen=True, slots=True)
class _Link:
    """A frame of a chain, taken apart."""

    family: int
    form: int
    third: int  # The frame before, or where the slots begin.
    numbers: tuple[Any, ...]
    rest: bytes

    @classmethod
    def of(cls, kind: int, payload: bytes) -> _Link:
        tail = KINDS[kind]
        family, form, third = frames.LINK.unpack_from(payload)
        numbers = tail.unpack_from(payload, frames.LINK.size)
        end = third if kind == frames.BEGUN and third else len(payload)
        return cls(family, form, third, numbers, payload[frames.LINK.size + tail.size : end])


def checked(kind: int, payload: bytes) -> bytes:
    """What of a payload the checksum covers: slots are filled later."""
    if kind != frames.BEGUN or len(payload) < _BEGINS_AT:
        return payload
    _, _, later = frames.LINK.unpack_from(payload)
    return payload[:later] if later else payload


def has_slots(payload: bytes) -> bool:
    """Tell whether the first frame of a step has slots."""
    return bool(frames.LINK.unpack_from(payload)[2])


def _added(family: Family, chain: Chain, words: Words, at: int, scope: Scope) -> ValuesAdded:
    return ValuesAdded(
        step=family.step(chain.ordinal), direction=words.direction, values=words.values, at=at, scope=scope
    )


def _ended(
    family: Family, chain: Chain, numbers: tuple[Any, ...], outcome: str, error: str | None
) -> StepEnded:
    ended, cpu, peak = numbers
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
