"""Bags from bytes to events in one pass, for the schema that this version writes.

fastavro reads any schema, generic value after generic value, and its dictionaries have to be
turned into events afterwards; that was half of the tracker's time. This reader knows the fields
of `bag.avsc`, and that the events of a bag repeat what is around them. Whatever it does not take
(`Unread`), fastavro reads and judges, so both say the same of every message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

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

# CRC-64-AVRO of the bag.avsc that the methods below, and those of bag_bytes.py, follow field by field.
FINGERPRINT: Final = bytes.fromhex("9f70639f251474e4")

_DOUBLE: Final = struct.Struct("<d").unpack_from
_FLAGS: Final = (False, True)
_DIRECTIONS: Final = ("in", "out")
_REFERENCE_KINDS: Final[tuple[Any, Any]] = ("data", "kg")

T = TypeVar("T")


class Unread(Exception):
    """Not read here: broken bytes, or a block, whose long columns fastavro reads faster."""


def read_bag(data: bytes, at: int) -> Bag:
    """The bag whose record begins at `at` and fills the data; Unread if fastavro is to look at it."""
    try:
        return _Reader(data, at).bag()
    except (IndexError, ValueError, OverflowError, RecursionError, struct.error) as error:
        raise Unread from error


class _Reader:
    """A place in the bytes; each method reads one thing there and moves behind it."""

    __slots__ = ("_at", "_data", "_seen")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._seen: dict[str, tuple[bytes, Any]] = {}

    # Records.

    def bag(self) -> Bag:
        workflow, execution = self._text(), self._text()
        definition, producer, sequence = self._maybe_text(), self._text(), self._long()
        events = self._array(self._event)
        if self._at != len(self._data):
            raise Unread
        return Bag(
            workflow=workflow,
            execution=execution,
            definition=definition,
            producer=producer,
            sequence=sequence,
            events=events,
        )

    def _event(self) -> Event:
        match self._branch():
            case 2:
                return self._step_started()
            case 3:
                return self._step_ended()
            case 4:
                return self._added()
            case 0:
                return self._run_started()
            case 1:
                return self._run_ended()
        raise Unread

    def _run_started(self) -> RunStarted:
        return RunStarted(
            started=self._maybe_long(),
            registered=self._maybe_long(),
            person=self._maybe_text(),
            context=self._maybe(self._context),
            parent=self._maybe(self._parent_run),
        )

    def _run_ended(self) -> RunEnded:
        return RunEnded(
            started=self._maybe_long(),
            ended=self._long(),
            outcome=self._text(),
            error=self._maybe_text(),
            output=self._maybe_text(),
            values=self._array(self._attribute_value),
            context=self._maybe(self._context),
        )

    def _step_started(self) -> StepStarted:
        return StepStarted(
            step=self._step_ref(),
            parent=self._again("parent", self._maybe_step_ref),
            cycle=self._flag(),
            iteration=self._maybe_long(),
            registered=self._maybe_long(),
            started=self._maybe_long(),
            person=self._maybe_text(),
            values=self._array(self._attribute_value),
            scope=self._again("scope at start", self._scope),
            context=self._maybe(self._context),
        )

    def _step_ended(self) -> StepEnded:
        return StepEnded(
            step=self._step_ref(),
            ended=self._long(),
            outcome=self._text(),
            parent=self._again("parent", self._maybe_step_ref),
            cycle=self._flag(),
            iteration=self._maybe_long(),
            registered=self._maybe_long(),
            started=self._maybe_long(),
            person=self._maybe_text(),
            error=self._maybe_text(),
            output=self._maybe_text(),
            values=self._array(self._attribute_value),
            scope=self._again("scope at end", self._scope),
            context=self._maybe(self._context),
            parts=self._array(self._part),
            apart=self._flag(),
        )

    def _part(self) -> PartTotals:
        return PartTotals(self._text(), self._long(), self._long(), self._long(), self._long())

    def _added(self) -> ValuesAdded:
        return ValuesAdded(
            step=self._maybe_step_ref(),
            direction=_DIRECTIONS[self._index()],
            values=self._array(self._attribute_value),
            at=self._maybe_long(),
            scope=self._again("scope between", self._scope),
        )

    def _step_ref(self) -> StepRef:
        return StepRef(self._text(), self._text())

    def _maybe_step_ref(self) -> StepRef | None:
        return self._maybe(self._step_ref)

    def _parent_run(self) -> ParentRun:
        return ParentRun(self._text(), self._text(), self._maybe_step_ref())

    def _context(self) -> Context:
        return Context(
            cluster=self._maybe_text(),
            job=self._maybe_text(),
            hosts=self._array(self._text),
            peak_memory_bytes=self._maybe_long(),
            cpu_seconds=self._maybe(self._double),
            gpu_seconds=self._maybe(self._double),
            gpu_peak_memory_bytes=self._maybe_long(),
            metadata=self._maybe_text(),
        )

    def _scope(self) -> Scope:
        if self._index() == 0:
            return NO_SCOPE
        return Scope(
            used=self._array(self._holding),
            generated=self._array(self._holding),
            enclosing=self._again("enclosing", self._enclosings),
        )

    def _enclosings(self) -> tuple[Enclosing, ...]:
        return self._array(self._enclosing)

    def _enclosing(self) -> Enclosing:
        return Enclosing(self._step_ref(), self._array(self._holding))

    def _holding(self) -> Holding:
        return Holding(self._maybe_text(), self._maybe(self._reference))

    def _reference(self) -> Reference:
        return Reference(
            text=self._text(),
            store=self._maybe_text(),
            kind=_REFERENCE_KINDS[self._index()],
            version=self._maybe_text(),
            checksum=self._maybe_text(),
            size_bytes=self._maybe_long(),
            modified=self._maybe_long(),
        )

    def _attribute_value(self) -> AttributeValue:
        name, value = self._text(), self._value()
        data, at = self._data, self._at
        if data[at] == data[at + 1] == 0:  # Neither metadata nor a note, as nearly always.
            self._at = at + 2
            return AttributeValue(name, value)
        return AttributeValue(name, value, self._maybe_text(), self._maybe_text())

    def _value(self) -> Value:
        match self._branch():
            case 2:
                return self._double()
            case 1:
                return self._long()
            case 3:
                return self._text()
            case 0:
                return self._flag()
            case 4:
                return int(self._text())
            case 5:
                return Json(self._text())
            case 6:
                return Instant(self._long())
            case 7:
                return self._reference()
            case 8:
                return ListValue(self._array(self._value))
            case 9:
                return DictValue(self._array(self._item))
        raise Unread

    def _item(self) -> tuple[str, Value]:
        return self._text(), self._value()

    # Composition.

    def _again(self, kind: str, read: Callable[[], T]) -> T:
        """As `read`, unless the very bytes that this kind began with last time come again.

        Where a thing ends is decided by its own bytes, so the same bytes mean the same thing.
        """
        seen = self._seen.get(kind)
        if seen is not None and self._data.startswith(seen[0], self._at):
            self._at += len(seen[0])
            found: T = seen[1]
            return found
        begin = self._at
        found = read()
        self._seen[kind] = self._data[begin : self._at], found
        return found

    def _maybe(self, read: Callable[[], T]) -> T | None:
        return read() if self._index() else None

    def _array(self, read: Callable[[], T]) -> tuple[T, ...]:
        items: list[T] = []
        while count := self._long():
            if count < 0:  # The size of the block in bytes follows, for those who skip it.
                count = -count
                self._long()
            if count > len(self._data):
                raise Unread
            items += [read() for _ in range(count)]
        return tuple(items)

    # Primitives.

    def _branch(self) -> int:
        """Which of a few a union says."""
        at = self._at
        self._at = at + 1
        byte = self._data[at]
        return byte >> 1 if not byte & 1 else -1

    def _index(self) -> int:
        """Which of two a union or an enumeration says."""
        byte = self._data[self._at]
        if byte & 0xFD:  # Neither 0 nor 1 in zigzag.
            raise Unread
        self._at += 1
        return byte >> 1

    def _flag(self) -> bool:
        found = _FLAGS[self._data[self._at]]
        self._at += 1
        return found

    def _long(self) -> int:
        data, at = self._data, self._at
        byte = data[at]
        if byte < 0x80:  # As nearly all are that are no times.
            self._at = at + 1
            return (byte >> 1) ^ -(byte & 1)
        number = byte & 0x7F
        shift = 7
        while byte > 0x7F:
            at += 1
            byte = data[at]
            number |= (byte & 0x7F) << shift
            shift += 7
        if shift > 63:  # Ten bytes may say more than 64 bits.
            raise Unread
        self._at = at + 1
        return (number >> 1) ^ -(number & 1)

    def _maybe_long(self) -> int | None:
        if self._data[self._at] == 0:
            self._at += 1
            return None
        return self._long() if self._index() else None

    def _double(self) -> float:
        found: float = _DOUBLE(self._data, self._at)[0]
        self._at += 8
        return found

    def _text(self) -> str:
        data, at = self._data, self._at
        byte = data[at]
        if byte & 0x81:  # More than 63 bytes, or nonsense.
            length = self._long()
            if length < 0:
                raise Unread
            begin = self._at
        else:
            length, begin = byte >> 1, at + 1
        self._at = end = begin + length
        return data[begin:end].decode()

    def _maybe_text(self) -> str | None:
        if self._data[self._at] == 0:
            self._at += 1
            return None
        return self._text() if self._index() else None
