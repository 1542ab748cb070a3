"""Bags from events to bytes in one pass, for the schema that this version writes.

fastavro looks at the schema again for each value of each event; that was a third of what the gateway
did for a message. This writer knows the fields of the `bag.avsc` that `bags.FINGERPRINT` names, and
that the events of a bag repeat names, times and what is around them. Whatever it does not take
(`Unwritten`), fastavro writes or refuses, and both give the same bytes (a test holds the two equal).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from headstream.schemas.columns import long, text
from headstream.schemas.events import (
    NO_SCOPE,
    Bag,
    Context,
    Enclosing,
    Event,
    Holding,
    ParentRun,
    PartTotals,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue, DictValue, Instant, Json, ListValue, Reference, Value

_DOUBLE: Final = struct.Struct("<d").pack
_LONG: Final = range(-(2**63), 2**63)
_FLAGS: Final = {False: b"\0", True: b"\1"}
_DIRECTIONS: Final = {"in": b"\0", "out": b"\2"}
_REFERENCE_KINDS: Final = {"data": b"\0", "kg": b"\2"}
# Microseconds since 1970 from the year 1978 on: eight bytes of seven bits.
_MOMENTS: Final = range(2**48, 2**55)

T = TypeVar("T")


class Unwritten(Exception):
    """Not written here: a block, whose long columns fastavro writes faster, or what breaks the schema."""


def write_bag(bag: Bag) -> bytes:
    """The record of a bag; Unwritten if fastavro is to look at it."""
    try:
        return _Writer().bag(bag)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise Unwritten from error


class _Words(dict[str, bytes]):
    """The texts of one bag."""

    def __missing__(self, word: str) -> bytes:
        found = self[word] = text(word)
        return found


class _Numbers(dict[int, bytes]):
    """The longs of one bag; most are times, each of which several events of a step say."""

    def __missing__(self, number: int) -> bytes:
        if number in _MOMENTS:
            left = number << 1
            found = bytes(
                (
                    left & 0x7F | 0x80,
                    left >> 7 & 0x7F | 0x80,
                    left >> 14 & 0x7F | 0x80,
                    left >> 21 & 0x7F | 0x80,
                    left >> 28 & 0x7F | 0x80,
                    left >> 35 & 0x7F | 0x80,
                    left >> 42 & 0x7F | 0x80,
                    left >> 49,
                )
            )
        elif number in _LONG:
            found = long(number)
        else:
            raise Unwritten
        self[number] = found
        return found


class _Writer:
    """Each method gives the bytes of one thing of a bag."""

    __slots__ = ("_enclosings", "_numbers", "_words")

    def __init__(self) -> None:
        self._words = _Words()
        self._numbers = _Numbers()
        # By identity, while the bag holds them: tasks of a loop share what is around them.
        self._enclosings: dict[int, bytes] = {}

    # Records.

    def bag(self, bag: Bag) -> bytes:
        words = self._words
        return b"".join(
            (
                words[bag.workflow],
                words[bag.execution],
                self._maybe_text(bag.definition),
                words[bag.producer],
                self._numbers[bag.sequence],
                self._array(self._event, bag.events),
            )
        )

    def _event(self, event: Event) -> bytes:
        match event:
            case StepStarted():
                return self._step_started(event)
            case StepEnded():
                return self._step_ended(event)
            case ValuesAdded():
                return self._added(event)
            case RunStarted():
                return self._run_started(event)
            case RunEnded():
                return self._run_ended(event)
        raise Unwritten

    def _run_started(self, event: RunStarted) -> bytes:
        return b"".join(
            (
                b"\0",
                self._maybe_long(event.started),
                self._maybe_long(event.registered),
                self._maybe_text(event.person),
                self._maybe(self._context, event.context),
                self._maybe(self._parent_run, event.parent),
            )
        )

    def _run_ended(self, event: RunEnded) -> bytes:
        return b"".join(
            (
                b"\2",
                self._maybe_long(event.started),
                self._numbers[event.ended],
                self._words[event.outcome],
                self._maybe_text(event.error),
                self._maybe_text(event.output),
                self._array(self._attribute_value, event.values),
                self._maybe(self._context, event.context),
            )
        )

    def _step_started(self, event: StepStarted) -> bytes:
        return b"".join(
            (
                b"\4",
                self._step_ref(event.step),
                self._maybe(self._step_ref, event.parent),
                _FLAGS[event.cycle],
                self._maybe_long(event.iteration),
                self._maybe_long(event.registered),
                self._maybe_long(event.started),
                self._maybe_text(event.person),
                self._array(self._attribute_value, event.values),
                self._scope(event.scope),
                self._maybe(self._context, event.context),
            )
        )

    def _step_ended(self, event: StepEnded) -> bytes:
        return b"".join(
            (
                b"\6",
                self._step_ref(event.step),
                self._numbers[event.ended],
                self._words[event.outcome],
                self._maybe(self._step_ref, event.parent),
                _FLAGS[event.cycle],
                self._maybe_long(event.iteration),
                self._maybe_long(event.registered),
                self._maybe_long(event.started),
                self._maybe_text(event.person),
                self._maybe_text(event.error),
                self._maybe_text(event.output),
                self._array(self._attribute_value, event.values),
                self._scope(event.scope),
                self._maybe(self._context, event.context),
                self._array(self._part, event.parts),
                _FLAGS[event.apart],
            )
        )

    def _part(self, part: PartTotals) -> bytes:
        sizes = (part.count, part.total, part.least, part.most)
        return self._words[part.transformation] + b"".join(map(self._numbers.__getitem__, sizes))

    def _added(self, event: ValuesAdded) -> bytes:
        return b"".join(
            (
                b"\x08",
                self._maybe(self._step_ref, event.step),
                _DIRECTIONS[event.direction],
                self._array(self._attribute_value, event.values),
                self._maybe_long(event.at),
                self._scope(event.scope),
            )
        )

    def _step_ref(self, step: StepRef) -> bytes:
        return self._words[step.transformation] + self._words[step.task]

    def _parent_run(self, parent: ParentRun) -> bytes:
        words = self._words
        return words[parent.workflow] + words[parent.execution] + self._maybe(self._step_ref, parent.step)

    def _context(self, context: Context) -> bytes:
        return b"".join(
            (
                self._maybe_text(context.cluster),
                self._maybe_text(context.job),
                self._array(self._words.__getitem__, context.hosts),
                self._maybe_long(context.peak_memory_bytes),
                self._maybe(_DOUBLE, context.cpu_seconds),
                self._maybe(_DOUBLE, context.gpu_seconds),
                self._maybe_long(context.gpu_peak_memory_bytes),
                self._maybe_text(context.metadata),
            )
        )

    def _scope(self, scope: Scope) -> bytes:
        if scope is NO_SCOPE or not (scope.used or scope.generated or scope.enclosing):
            return b"\0"
        return b"".join(
            (
                b"\2",
                self._array(self._holding, scope.used),
                self._array(self._holding, scope.generated),
                self._array(self._enclosing, scope.enclosing),
            )
        )

    def _enclosing(self, enclosing: Enclosing) -> bytes:
        key = id(enclosing)
        found = self._enclosings.get(key)
        if found is None:
            found = self._step_ref(enclosing.step) + self._array(self._holding, enclosing.used)
            self._enclosings[key] = found
        return found

    def _holding(self, holding: Holding) -> bytes:
        return self._maybe_text(holding.attribute) + self._maybe(self._reference, holding.reference)

    def _reference(self, reference: Reference) -> bytes:
        return b"".join(
            (
                self._words[reference.text],
                self._maybe_text(reference.store),
                _REFERENCE_KINDS[reference.kind],
                self._maybe_text(reference.version),
                self._maybe_text(reference.checksum),
                self._maybe_long(reference.size_bytes),
                self._maybe_long(reference.modified),
            )
        )

    def _attribute_value(self, value: AttributeValue) -> bytes:
        said = self._words[value.name] + self._value(value.value)
        if value.metadata is None and value.note is None:
            return said + b"\0\0"
        return said + self._maybe_text(value.metadata) + self._maybe_text(value.note)

    def _value(self, value: Value) -> bytes:
        match value:
            case float():
                return b"\4" + _DOUBLE(value)
            case bool():
                return b"\0" + _FLAGS[value]
            case int():
                if value in _LONG:
                    return b"\2" + self._numbers[value]
                return b"\x08" + text(str(value))
            case str():
                return b"\6" + self._words[value]
            case Json():
                return b"\x0a" + text(value.text)
            case Instant():
                return b"\x0c" + self._numbers[value.microseconds]
            case Reference():
                return b"\x0e" + self._reference(value)
            case ListValue():
                return b"\x10" + self._array(self._value, value.items)
            case DictValue():
                return b"\x12" + self._array(self._item, value.items)
        raise Unwritten

    def _item(self, item: tuple[str, Value]) -> bytes:
        key, value = item
        return self._words[key] + self._value(value)

    # Composition.

    def _maybe_text(self, value: str | None) -> bytes:
        return b"\0" if value is None else b"\2" + self._words[value]

    def _maybe_long(self, value: int | None) -> bytes:
        return b"\0" if value is None else b"\2" + self._numbers[value]

    @staticmethod
    def _maybe(write: Callable[[T], bytes], value: T | None) -> bytes:
        return b"\0" if value is None else b"\2" + write(value)

    def _array(self, write: Callable[[T], bytes], items: Iterable[T]) -> bytes:
        if not items:
            return b"\0"
        found = list(map(write, items))
        return b"".join((self._numbers[len(found)], *found, b"\0"))
