"""A turn of a loop: a row of a table as long as it says plain numbers, a general step from then on.

Rows and general steps say the same (tests/capture/test_loop.py). A turn leaves its row when it uses
something, refers to data or opens steps; what the row had said is then said by events.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from headstream.capture import columns, deferred, frames
from headstream.capture.clock import OFFSET, monotonic, now
from headstream.capture.errors import LOSSES, swallow
from headstream.capture.opening import ENDED, OPEN, Inside
from headstream.capture.outcomes import verdict
from headstream.capture.recorder import spelt
from headstream.capture.said import Said
from headstream.capture.spool import Rows
from headstream.capture.step import Step
from headstream.capture.wire import IN, OUT, named
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import FINISHED

if TYPE_CHECKING:
    from headstream.capture.loop import Loop

T = TypeVar("T")
LONG: Final = range(-(2**63), 2**63)


class Block:
    """A stretch of rows with the same columns; all of its rows say the same of what encloses them."""

    __slots__ = ("base", "capacity", "columns", "data", "epoch", "next", "process", "rows", "size", "turn")

    def __init__(
        self, rows: Rows, names: dict[str, int], turn: type[Iteration[Any]], epoch: object, process: object
    ) -> None:
        self.rows = rows
        self.data = rows.data
        self.base = rows.base
        self.size = rows.size
        self.capacity = rows.capacity
        self.columns = names  # The number of each column.
        self.turn = turn
        self.epoch = epoch
        self.process = process
        self.next = rows.base

    @property
    def end(self) -> int:
        return self.base + self.size * self.capacity

    def seal(self, process: object) -> None:
        """No further row will be opened here; another process leaves that to the one which made it."""
        if self.process is process:
            self.rows.seal()

    def row(self, at: int) -> frames.Row:
        found = frames.read_row(self.data, at, len(self.columns), OFFSET)
        assert found is not None
        return found

    def said(self, at: int, name: str) -> bool:
        number = self.columns.get(name)
        return number is not None and frames.read_cell(self.data, at, number, len(self.columns)) is not None


class Iteration(Step, Generic[T]):
    """One turn of a loop: its `item`, its `index`, and a step like any other.

    A turn that nobody holds any more is used again for a later one.
    """

    __slots__ = ("_at", "_block", "_free", "_loop", "_ours", "index", "item")

    item: T
    index: int
    _at: int  # Where its row lies; 0 if it is a general step.
    _free: int  # Where its values go as long as it has said none, else 0.
    _ours: Block | None  # The block, as long as the loop may simply close the row.
    _block: Block

    def __init__(self, loop: Loop[T], block: Block | None) -> None:
        # Nothing of Step is set here: most turns never need it (`_become_general`).
        self.recorder = loop.recorder
        self.family = loop.family
        self._loop = loop
        self._state = OPEN
        self._deferred = None
        self._ours = block
        if block is not None:
            self._block = block

    def __enter__(self) -> Iteration[T]:
        """Be the place of decorated functions, as any step is by `with`: a general step, then."""
        try:
            if self._is_open():
                self._general()
                return super().__enter__()
        except Exception as error:
            swallow(error, "turn")
        self._place = None  # An ended turn, or one that could not be made, is nobody's place.
        return self

    def begin(self) -> Iteration[T]:
        """A turn has begun when it is handed out."""
        return self

    def generated(self, /, **values: Any) -> Iteration[T]:
        """Say what the turn has generated; numbers go straight into its row."""
        return self._say(values)

    def used(self, /, **values: Any) -> Iteration[T]:
        """Say what the turn uses besides its index."""
        try:
            if self._is_open():
                self._general()._add(IN, values)
            elif values:
                LOSSES.add("values-after-end")
        except Exception as error:
            swallow(error, "used")
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End the turn now rather than when the next one is asked for."""
        try:
            if self._is_open():
                said, text = verdict(outcome, error)
                if said == FINISHED and text is None:
                    self._close()
                else:
                    self._general()._end(said, text)
        except Exception as failure:
            swallow(failure, "end")

    @property
    def path(self) -> str:
        if not self._at:
            return super().path
        return f"{self.family.prefix}{self.family.mark}{self._block.row(self._at).ordinal}"

    @property
    def task_id(self) -> str:
        return self.family.task_id(self._block.row(self._at).ordinal) if self._at else super().task_id

    @property
    def iteration(self) -> int | None:
        return self.index if self.index in LONG else None

    def _opened(self) -> Inside:
        try:
            self._general()
        except Exception as error:
            swallow(error, "turn")
        return super()._opened()

    def _is_open(self) -> bool:
        if self._state != OPEN:
            return False
        at = self._at
        if not at:
            return True
        if not self._owned():  # The process that forked us may close the row at any time; we may still speak.
            return self._loop.is_at(self)
        closed: int = frames.TIME.unpack_from(self._block.data, at + frames.ENDED)[0]
        return closed == 0

    def _close(self) -> None:
        """End the turn as finished, if it is still open."""
        try:
            if not self._is_open():
                return
            if not self._at:
                self._end(FINISHED, None)
            elif not self._owned() or (self._block.epoch is not self.recorder.epoch and not self._catch_up()):
                self._general()._end(FINISHED, None)
            else:
                self._close_row()
        except Exception as error:
            swallow(error, "loop-turn")

    def _close_row(self) -> None:
        self._state, self._free, self._ours = ENDED, 0, None
        late, self._deferred = self._deferred, None
        if late is None:
            frames.TIME.pack_into(self._block.data, self._at + frames.ENDED, monotonic())
        else:
            self._loop.late.append((self._block, self._at, monotonic(), late))

    def _catch_up(self) -> bool:
        """A step around the turn took something during it: its row must lie among rows that say so."""
        return self._move(self._loop.columns)

    def _owned(self) -> bool:
        return self._block.process is self.recorder.process

    def _say(self, values: Mapping[str, Any]) -> Iteration[T]:
        """Put into the row what fits there after coercion; anything else makes the turn a general step."""
        try:
            if not values:
                return self
            if not self._is_open():
                LOSSES.add("values-after-end")
                return self
            values = self._defer(OUT, values)
            if values and not (self._at and self._owned() and self._grow(values)):
                self._general()._add(OUT, values)
        except Exception as error:
            swallow(error, "generated")
        return self

    def _defer(self, direction: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep what an accelerator knows: till the row closes if it is a number, else till the step ends."""
        rest = super()._defer(direction, given)
        if rest is not given and self._at:
            self._free, self._ours = 0, None
            kept = self._deferred or []
            names = dict.fromkeys((name for _, name, _ in kept), frames.IS_FLOAT)
            if len(names) < len(kept) or not all(deferred.is_number(value) for *_, value in kept):
                self._general()
            elif self._owned() and not names.keys() <= self._block.columns.keys():
                self._move({**names, **self._loop.columns})
        return rest

    def _grow(self, given: Mapping[str, Any]) -> bool:
        """Give the row the columns it lacks and write the values; False if one of them is no plain number."""
        loop, block, at = self._loop, self._block, self._at
        values = loop.recorder.values(OUT, loop.name, given)
        if not all(plain(v) and not block.said(at, v.name) for v in values):
            return False
        kinds = {v.name: columns.KINDS[type(v.value)] for v in values}
        if not kinds.keys() <= block.columns.keys() and not self._move({**loop.columns, **kinds}):
            return False
        loop.columns.update(kinds)
        self._free = 0
        for v in values:
            self._write(v)
        return True

    def _write(self, value: AttributeValue) -> None:
        block = self._block
        number: Any = value.value
        frames.write_cell(block.data, self._at, block.columns[value.name], len(block.columns), number)

    def _move(self, names: Mapping[str, int]) -> bool:
        """Repeat the row among rows with these columns, then give it up: a kill between is harmless."""
        loop, old, at = self._loop, self._block, self._at
        opened = frames.OPEN.unpack_from(old.data, at)
        row = old.row(at)
        if not loop.reserve({**dict.fromkeys(old.columns, frames.IS_FLOAT), **names}):
            return False
        fresh = loop.block
        assert fresh is not None
        self._ours = None  # The loop has to see that it goes on elsewhere.
        self._free = 0
        frames.OPEN.pack_into(fresh.data, fresh.next, *opened)
        self._block, self._at = fresh, fresh.next
        fresh.next += fresh.size
        for name, value in zip(old.columns, row.values, strict=True):
            if value is not None:
                self._write(AttributeValue(name, value))
        frames.TIME.pack_into(old.data, at + frames.ENDED, frames.MOVED)
        return True

    def _general(self) -> Iteration[T]:
        """Make this turn a general step if it is still a row: what the row said is said by events first."""
        at = self._at
        if not at:
            return self
        loop, block = self._loop, self._block
        row = block.row(at)
        begun_by, over = block.process, not self._is_open()
        self._at, self._free, self._ours = 0, 0, None
        if begun_by is not self.recorder.process or over:
            # The row belongs to the process that forked us, or has ended; it tells the start and the end.
            self._identify(row.ordinal)
            self._process = begun_by
            self.started = row.started
            self._state = ENDED if over else OPEN
            if loop.index_as is not None:
                self._used = {named(loop.index_as).held: None}
            return self
        self._become_general(row.started, row.ordinal)
        said = [(n, v) for n, v in zip(block.columns, row.values, strict=True) if v is not None]
        if said:
            values = spelt(tuple(AttributeValue(name, value) for name, value in said))
            self._write_said(OUT, Said.of(OUT, values), {})
        frames.TIME.pack_into(block.data, at + frames.ENDED, frames.MOVED)
        return self

    def _become_general(self, started: int, ordinal: int) -> None:
        self._at = self._free = 0
        late = self._deferred
        self._identify(ordinal)
        self._deferred = late
        if self._loop.index_as is not None:
            self._given = {self._loop.index_as: self.index}
        self._begin(started)

    def _identify(self, ordinal: int) -> None:
        Step.__init__(self, self._loop.family, ordinal)
        self._state = OPEN


def plain(given: AttributeValue) -> bool:
    """Tell whether a coerced value fits into a cell."""
    if given.note is not None or given.metadata is not None:
        return False
    kind = type(given.value)
    return kind is float or kind is bool or (kind is int and given.value in LONG)


@lru_cache(maxsize=128)
def turn_type(names: tuple[str, ...], kinds: tuple[int, ...]) -> type[Iteration[Any]]:
    """The class of turns that mostly say these columns."""
    if not columns.compilable(names):
        return Iteration
    said = {"__slots__": (), "__module__": __name__, "generated": columns.speaker(names, kinds)}
    return type("Iteration", (Iteration,), said)


def tell_late(loop: Loop[Any], block: Block, at: int, ended: int, late: deferred.Values) -> None:
    """Read what an accelerator knew and close the row that waited for it; what is no number gets an event."""
    row = block.row(at)
    values = loop.recorder.values(OUT, loop.name, {name: deferred.read(value) for _, name, value in late})
    rest = []
    for v in values:
        number: Any = v.value
        if plain(v) and v.name in block.columns and not block.said(at, v.name):
            frames.write_cell(block.data, at, block.columns[v.name], len(block.columns), number)
        else:
            rest.append(v)
    if rest:
        said = spelt(tuple(rest))
        used = "" if loop.index_as is None else named(loop.index_as).held
        names = (n for n, value in zip(block.columns, row.values, strict=True) if value is not None)
        generated = ",".join(named(name).held for name in names)
        enclosing = "" if loop.parent is None else loop.parent.enclosing()
        ref = loop.family.ref(row.ordinal)
        scope = f"[[{used}],[{generated}],[{enclosing}]]"
        loop.recorder.write(f'["V",{ref},"{OUT}",[{said.values}],{now()},{scope}]')
    frames.TIME.pack_into(block.data, at + frames.ENDED, ended)
