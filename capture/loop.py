"""Loops: each turn is a step, and most turns cost one row of a table.

A turn that has only its times, its index and scalar outputs is a row in the mapped spool, laid
down in three stores: opened, one a value, closed. A turn that uses something, refers to data or
opens steps becomes a general step at that moment; both say the same (tests/capture/test_loop.py).
A row that is open when the process dies is told as a step that has started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from types import CodeType
from typing import Any, Generic, TypeVar

from headstream.capture import wire
from headstream.capture.clock import now
from headstream.capture.errors import LOSSES, swallow
from headstream.capture.frames import (
    CLOSE,
    COLUMN,
    COLUMNS,
    DOUBLE,
    IS_BOOL,
    IS_FLOAT,
    IS_INT,
    LONG,
    MOVED,
    read_row,
)
from headstream.capture.frames import ENDED as ENDED_AT
from headstream.capture.frames import FINISHED as ROW_FINISHED
from headstream.capture.frames import OPEN as OPEN_ROW
from headstream.capture.leaving import consumer_of, left_by_exception
from headstream.capture.spool import Rows
from headstream.capture.step import ENDED, OPEN, Opener, Step, verdict
from headstream.capture.values import clean
from headstream.capture.wire import IN, OUT
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import ERRORED, FINISHED

T = TypeVar("T")
_MOST_ROWS = 512
_CHUNK_BYTES = 128 << 10
_MOST_COLUMNS = 64
_LONG = range(-(2**63), 2**63)


class Loop(Generic[T]):
    """The turns of one loop; iterate over it once. `len()` is that of what it iterates over."""

    def __init__(
        self,
        inside: Opener,
        parent: Step | None,
        name: str,
        iterable: Iterable[T],
        *,
        index_as: str | None = None,
        start: int = 0,
    ) -> None:
        self.recorder = inside.recorder
        self.inside = inside
        self.parent = parent
        self.name = name
        self.index_as = None if index_as is None else clean(index_as)
        self.counter: count[int] = inside._counter(name)
        self.columns: dict[str, int] = {}  # Offset of each column inside a row.
        self._iterable = iterable
        self._start = start
        self._rows: Rows | None = None
        self._slot = 0
        self._next_capacity = 1
        self._epoch: object = None
        self._process: object = self.recorder.process
        self._suffix = ""
        self._turn: Iteration[T] | None = None
        self._consumer: CodeType | None = None

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Iteration[T]]:
        self._consumer = consumer_of(sys._getframe(1))
        self._begin()
        index = self._start
        try:
            for item in self._iterable:
                turn = self._open(item, index)
                try:
                    yield turn
                except GeneratorExit:
                    self._left(sys._getframe(0).f_back)
                    raise
                except BaseException as error:  # Thrown in by who drives this generator.
                    self.finish(*verdict(ERRORED, error))
                    raise
                if turn._state == OPEN:
                    turn._close()
                index += 1
        finally:
            self._end()

    def finish(self, outcome: str, error: str | None) -> None:
        """End the turn that is still open, because the loop is left or the step around it ends."""
        try:
            turn, self._turn = self._turn, None
            if turn is not None and turn._state == OPEN:
                if outcome == FINISHED:
                    turn._close()
                else:
                    turn._general()._end(outcome, error)
        except Exception as failure:
            swallow(failure, "loop-end")

    def reserve(self, columns: tuple[str, ...]) -> bool:
        """Make room for rows with these columns; False if rows cannot be had."""
        if self._rows is not None and self._process is self.recorder.process:
            self._rows.seal()
        self._rows, self._slot = None, 0
        if len(columns) > _MOST_COLUMNS or self.recorder.closed:
            return False
        self._epoch, self._process = self.recorder.epoch, self.recorder.process
        self._suffix = self.recorder.suffix
        parent = self.parent
        prefix = "" if parent is None else f"{parent._path}."
        around = None if parent is None else [parent.name, parent.task_id]
        enclosing = () if parent is None else parent._enclosing()
        meta = wire.dump([self.name, around, prefix, self.recorder.suffix, self.index_as, columns, enclosing])
        most = max(1, _CHUNK_BYTES // (COLUMNS + COLUMN * len(columns)))
        self._rows = self.recorder.writer.reserve(meta, len(columns), min(self._next_capacity, most))
        self._next_capacity = min(_MOST_ROWS, self._next_capacity * 8)
        self.columns = {name: COLUMNS + COLUMN * number for number, name in enumerate(columns)}
        return self._rows is not None

    def row(self, started: int, ordinal: int, index: int) -> tuple[Rows, int] | None:
        """Open the next row."""
        rows = self._rows
        if rows is None or self._slot >= rows.capacity:
            return None
        at = rows.base + self._slot * rows.size
        self._slot += 1
        OPEN_ROW.pack_into(rows.data, at, started, ordinal, index, 1)
        return rows, at

    def _begin(self) -> None:
        try:
            self.inside._loops.append(self)
            known = self.recorder.columns.get(self._columns_key)
            try:
                expected = len(self)
            except TypeError:
                expected = 1
            if known is not None:  # An earlier loop of this name has shown what its turns say.
                self._next_capacity = max(1, min(expected, _MOST_ROWS))
                self.columns = dict.fromkeys(known, 0)  # Their places are settled with the first row.
        except Exception as error:
            swallow(error, "loop-begin")

    @property
    def _columns_key(self) -> tuple[str, str | None]:
        return self.name, None if self.parent is None else self.parent.name

    def _open(self, item: T, index: int) -> Iteration[T]:
        turn = Iteration(self, item, index)
        self._turn = turn
        try:
            rows = self._rows
            if rows is None or self._slot >= rows.capacity or self._epoch is not self.recorder.epoch:
                self.reserve(tuple(self.columns))
                rows = self._rows
            if rows is None or index not in _LONG:
                turn._become_general(now(), next(self.counter))
                return turn
            at = rows.base + self._slot * rows.size
            self._slot += 1
            OPEN_ROW.pack_into(rows.data, at, now(), next(self.counter), index, 1)
            turn._data = rows.data
            turn._at = at
            turn._columns = self.columns
            turn._epoch = self._epoch
            turn._process = self._process
        except Exception as error:
            swallow(error, "loop-turn")
        return turn

    def _left(self, frame: Any) -> None:
        """The loop was left in mid turn; see how, and end the turn accordingly."""
        try:
            failed = left_by_exception(frame, self._consumer)
        except Exception as error:
            swallow(error, "loop-left")
            failed = False
        turn = self._turn
        self.finish(ERRORED if failed else FINISHED, None)
        if failed:
            self.inside._unexplained = turn

    def _end(self) -> None:
        try:
            self._turn = None
            if self._rows is not None and self._process is self.recorder.process:
                self._rows.seal()
            if self.columns:
                self.recorder.columns[self._columns_key] = tuple(self.columns)
            if self in self.inside._loops:
                self.inside._loops.remove(self)
        except Exception as error:
            swallow(error, "loop-end")


class Iteration(Step, Generic[T]):
    """One turn of a loop: its `item`, its `index`, and a step like any other."""

    __slots__ = ("_at", "_columns", "_data", "_epoch", "_loop", "index", "item")

    _at: int
    _columns: dict[str, int]
    _data: Any
    _epoch: object

    def __init__(self, loop: Loop[T], item: T, index: int) -> None:
        # Nothing of Step is set here: most turns never need it (`_become_general`).
        self.item = item
        self.index = index
        self.recorder = loop.recorder
        self._loop = loop
        self._state = OPEN
        self._at = -1

    def begin(self) -> Iteration[T]:
        """A turn has begun when it is handed out."""
        return self

    def generated(self, **values: Any) -> Iteration[T]:
        """Say what the turn has generated; numbers go straight into its row."""
        try:
            at = self._at
            if at >= 0 and self._process is self.recorder.process and self._state == OPEN:
                columns, data, rest = self._columns, self._data, None
                for name, value in values.items():
                    place = columns.get(name)
                    kind = type(value)
                    if place is None or data[at + place + 8]:
                        rest = {} if rest is None else rest
                        rest[name] = value
                    elif kind is float:
                        DOUBLE.pack_into(data, at + place, value, IS_FLOAT)
                    elif kind is int and -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
                        LONG.pack_into(data, at + place, value, IS_INT)
                    elif kind is bool:
                        LONG.pack_into(data, at + place, value, IS_BOOL)
                    else:
                        rest = {} if rest is None else rest
                        rest[name] = value
                if rest is not None:
                    self._generate(rest)
            else:
                self._generate(values)
        except Exception as error:
            swallow(error, "generated")
        return self

    def used(self, **values: Any) -> Iteration[T]:
        """Say what the turn uses besides its index."""
        try:
            self._general()._add(IN, values)
        except Exception as error:
            swallow(error, "used")
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End the turn now rather than when the next one is asked for."""
        try:
            if self._state == OPEN:
                said, text = verdict(outcome, error)
                if said == FINISHED and text is None:
                    self._close()
                else:
                    self._general()._end(said, text)
        except Exception as failure:
            swallow(failure, "end")

    def _as_parent(self) -> Step:
        try:
            self._general()
        except Exception as error:
            swallow(error, "turn")
        return super()._as_parent()

    def _close(self) -> None:
        """End the turn as finished."""
        try:
            if self._at < 0:
                self._end(FINISHED, None)
                return
            if self._epoch is not self.recorder.epoch:
                self._catch_up()
                return
            self._state = ENDED
            CLOSE.pack_into(self._data, self._at + ENDED_AT, now(), ROW_FINISHED)
        except Exception as error:
            swallow(error, "loop-turn")

    def _catch_up(self) -> None:
        """End a turn during which a step around it took something: rows must say what enclosed them."""
        if self._owned() and self._move(tuple(self._columns)):
            self._state = ENDED
            CLOSE.pack_into(self._data, self._at + ENDED_AT, now(), ROW_FINISHED)
        else:
            self._general()._end(FINISHED, None)

    def _generate(self, values: Mapping[str, Any]) -> None:
        """Put into the row what fits there after coercion; anything else makes the turn a general step."""
        if self._state == ENDED:
            LOSSES.add("values-after-end")
            return
        if self._at >= 0 and self._owned() and self._grow(values):
            return
        self._general()._add(OUT, values)

    def _owned(self) -> bool:
        return self._process is self.recorder.process

    def _grow(self, given: Mapping[str, Any]) -> bool:
        """Give the row the columns it lacks and write the values; False if one of them is no plain number."""
        loop = self._loop
        columns = self._columns
        values = loop.recorder.values(OUT, loop.name, given)
        for v in values:
            plain = isinstance(v.value, (bool, float)) or (isinstance(v.value, int) and v.value in _LONG)
            place = columns.get(v.name)
            repeated = bool(place) and self._data[self._at + (place or 0) + 8]
            if not plain or v.note is not None or v.metadata is not None or repeated:
                return False
        names = tuple(dict.fromkeys((*columns, *(v.name for v in values))))
        if names != tuple(columns) and not self._move(names):
            return False
        for v in values:
            self._put(self._columns[v.name], v.value)
        return True

    def _put(self, place: int, value: Any) -> None:
        if isinstance(value, bool):
            LONG.pack_into(self._data, self._at + place, value, IS_BOOL)
        elif isinstance(value, int):
            LONG.pack_into(self._data, self._at + place, value, IS_INT)
        else:
            DOUBLE.pack_into(self._data, self._at + place, value, IS_FLOAT)

    def _move(self, columns: tuple[str, ...]) -> bool:
        """Repeat the row in rows with more columns, then give the old one up: a kill between is harmless."""
        loop = self._loop
        before = self._columns
        data, at = self._data, self._at
        row = read_row(data, at, len(before))
        assert row is not None
        if not loop.reserve(columns):
            return False
        fresh = loop.row(row.started, row.ordinal, row.position)
        if fresh is None:
            return False
        self._data, self._at, self._columns, self._epoch = fresh[0].data, fresh[1], loop.columns, loop._epoch
        for name, value in zip(before, row.values, strict=True):
            if value is not None:
                self._put(self._columns[name], value)
        CLOSE.pack_into(data, at + ENDED_AT, 0, MOVED)
        return True

    def _general(self) -> Iteration[T]:
        """Make this turn a general step if it is still a row: what the row said is said by events first."""
        at = self._at
        if at < 0:
            return self
        loop, data = self._loop, self._data
        row = read_row(data, at, len(self._columns))
        assert row is not None
        self._at = -1
        if not self._owned():
            # The row belongs to the process that forked us; it tells the start and the end.
            begun_by = self._process
            self._identify_turn(row.ordinal)
            self._process = begun_by
            self.task_id = self._path + loop._suffix
            self.started = row.started
            if loop.index_as is not None:
                self._used.append([loop.index_as, None])
            return self
        self._become_general(row.started, row.ordinal)
        said = [(n, v) for n, v in zip(self._columns, row.values, strict=True) if v is not None]
        if said:
            self._write_values(OUT, tuple(AttributeValue(name, value) for name, value in said))
        CLOSE.pack_into(data, at + ENDED_AT, 0, MOVED)
        return self

    def _become_general(self, started: int, ordinal: int) -> None:
        self._identify_turn(ordinal)
        self._given = None
        if self._loop.index_as is not None:
            self._given = {self._loop.index_as: self.index}
        self._begin(started)

    def _identify_turn(self, ordinal: int) -> None:
        loop = self._loop
        self.person = None
        self._identify(loop.inside, loop.parent, loop.name, ordinal)
        self.cycle = True
        self.iteration = self.index if self.index in _LONG else None
        self._state = OPEN
