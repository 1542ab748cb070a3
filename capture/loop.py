"""Loops: each turn is a step, and most turns cost one row of a table (iteration.py).

A row is laid down in three stores: opened, all values, closed; each is in the mapped spool, and so
survives the process, when the store is done. A turn begins when its item is there and ends when
the next item is asked for: the time that an iterable takes to produce its items is in no turn.
A row that is open when the process dies is told as a step that has started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, Final, Generic, TypeVar

from headstream.capture import deferred, frames, thinning
from headstream.capture.budget import Meter
from headstream.capture.clock import OFFSET, monotonic, now
from headstream.capture.errors import swallow
from headstream.capture.families import Family
from headstream.capture.iteration import LONG, Block, Iteration, tell_late, turn_type
from headstream.capture.leaving import consumer_of, left_by_exception
from headstream.capture.opening import ENDED, OPEN, Inside, Opener
from headstream.capture.outcomes import verdict
from headstream.capture.step import Step
from headstream.capture.wire import named
from headstream.schemas.vocabulary import ERRORED, FINISHED

T = TypeVar("T")
_MOST_ROWS: Final = 512
_CHUNK_BYTES: Final = 128 << 10
_MOST_COLUMNS: Final = 64
_MOST_LATE: Final = 1024
_LATE: Final = object()  # What no turn calls its own: the next one is closed with care.
_CELLS: Final = frames.COLUMNS
_ENDED: Final = frames.ENDED
_references: Final = sys.getrefcount
_open_row: Final = frames.OPEN.pack_into
_close_row: Final = frames.TIME.pack_into


class Loop(Generic[T]):
    """The turns of one loop; iterate over it once. `len()` is that of what it iterates over."""

    __slots__ = (
        "_around",
        "_consumer",
        "_iterable",
        "_next_capacity",
        "_start",
        "_turn",
        "block",
        "columns",
        "family",
        "index_as",
        "inside",
        "late",
        "meter",
        "recorder",
    )

    def __init__(
        self,
        inside: Opener,
        around: Inside,
        family: Family,
        iterable: Iterable[T],
        index_as: str | None = None,
        start: int = 0,
    ) -> None:
        self.recorder = family.recorder
        self.inside = inside
        self.family = family
        self.index_as = None if index_as is None else named(index_as).clean
        self.columns: dict[str, int] = {}  # What turns have said so far, and as which kind of number.
        self.block: Block | None = None
        # Rows whose end is known, and which wait for what only an accelerator knows.
        self.late: list[tuple[Block, int, int, deferred.Values]] = []
        self._around = around
        self._iterable = iterable
        self._start = start
        self._next_capacity = 1
        self._turn: Iteration[T] | None = None
        self._consumer: CodeType | None = None
        self.meter = None if self.recorder.settings.budget is None else thinning.meter_of(self)

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def parent(self) -> Step | None:
        return self.family.parent

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Iteration[T]]:
        return self._all() if self.meter is None else self._within(self.meter)

    def _all(self) -> Iterator[Iteration[T]]:
        """Every turn, each for as little as it can be had."""
        self._consumer = consumer_of(sys._getframe(1))
        self._begin()
        recorder, counter, index = self.recorder, self.family.counter, self._start
        at = end = size = 0
        block: Block | None = None
        turn: Any = None
        before: Any = object()
        data: Any = None
        made: Any = None
        epoch = mark = _LATE
        alone = _references(before)  # So many has a turn that nobody but us holds.
        try:
            for item in self._iterable:
                if at < end and epoch is recorder.epoch:
                    # The consumer may hold the last turn until it has the next, but not the one before.
                    if _references(before) == alone:
                        turn, before = before, turn
                    else:
                        before, turn = turn, made(self, block)
                    turn.item = item
                    turn.index = index
                    turn._at = at
                    turn._free = at + _CELLS
                    self._turn = turn
                    _open_row(data, at, next(counter), index, monotonic())
                    at += size
                else:
                    if block is not None:
                        block.next = at
                    before, turn = None, self._open(item, index)
                    block, mark = turn._ours, _LATE
                    at = end = 0
                    if block is not None:
                        at, end, size, data = block.next, block.end, block.size, block.data
                        epoch, made, mark = block.epoch, block.turn, _LATE if self.late else block
                try:
                    yield turn
                except GeneratorExit:
                    self._left(sys._getframe(0).f_back)
                    raise
                except BaseException as error:  # Thrown in by who drives this generator.
                    self.finish(*verdict(ERRORED, error))
                    raise
                if turn._ours is mark and epoch is recorder.epoch:
                    _close_row(data, turn._at + _ENDED, monotonic())
                    turn._free = 0
                else:
                    self._settle()
                    turn._close()
                    turn = None
                    if self.block is not block:
                        block, at, end = None, 0, 0
                    mark = _LATE if self.late or block is None else block
                index += 1
        finally:
            if block is not None and block is self.block:
                block.next = max(at, block.next)
            self._end()

    def _within(self, meter: Meter) -> Iterator[Iteration[T]]:
        """The turns of a loop that has a budget: those that it leaves out cost next to nothing."""
        self._consumer = consumer_of(sys._getframe(1))
        self._begin()
        counter, index, left_out, kept = self.family.counter, self._start, 0, 0
        last, seen = index, 0
        spare, before = thinning.LeftOut(self), thinning.LeftOut(self)
        alone = _references(before)
        meter.pause()
        turn: Iteration[T]
        try:
            for item in self._iterable:
                began = monotonic()
                seen += 1
                if left_out:
                    left_out -= 1
                    spare, before = before, spare
                    if spare.told or _references(spare) > alone:
                        spare = thinning.LeftOut(self)
                    spare.item, spare.index, spare.ordinal = item, index, next(counter)
                    spare.began, spare.said, spare._state = began, None, OPEN
                    turn = self._turn = spare
                else:
                    meter.keep(began, index - last)
                    last, kept = index, kept + 1
                    turn = self._open(item, index)
                opened = monotonic()
                try:
                    yield turn
                except GeneratorExit:
                    self._left(sys._getframe(0).f_back)
                    raise
                except BaseException as error:  # Thrown in by who drives this generator.
                    self.finish(*verdict(ERRORED, error))
                    raise
                index += 1
                if turn is spare:
                    if spare.told:
                        turn._close()
                    spare._state = ENDED
                    continue
                over = monotonic()
                self._settle()
                turn._close()
                left_out = meter.cost(opened - began + monotonic() - over)
                if left_out:
                    thinning.begun(self, meter)
        finally:
            thinning.count(self, meter, seen, kept)
            self._end()

    def is_at(self, turn: object) -> bool:
        """Tell whether this is the turn that was handed out last."""
        return self._turn is turn

    def finish(self, outcome: str, error: str | None) -> None:
        """End the turn that is still open, because the loop is left or the step around it ends."""
        try:
            turn, self._turn = self._turn, None
            if turn is not None:
                if outcome == FINISHED:
                    turn._close()
                elif turn._is_open():
                    turn._general()._end(outcome, error)
        except Exception as failure:
            swallow(failure, "loop-end")
        self._settle()

    def reserve(self, columns: Mapping[str, int], *, grown: bool = True) -> bool:
        """Make room for rows with these columns; False if rows cannot be had."""
        recorder, parent = self.recorder, self.parent
        self._seal()
        self.block = None
        if len(columns) > _MOST_COLUMNS or recorder.closed:
            return False
        epoch, process = recorder.epoch, recorder.process
        if self.family.process is not process:  # We are in a forked child now.
            self.family = self.inside._family(self.name, cycle=True)
        names, kinds = tuple(columns), tuple(columns.values())
        around, enclosing = ("null", "") if parent is None else (parent.ref, parent.enclosing())
        index_as = "null" if self.index_as is None else named(self.index_as).text
        meta = (
            f'[{named(self.name).text},{around},"{self.family.prefix}","{self.family.suffix}",{index_as},'
            f"[{','.join([named(name).text for name in names])}],[{enclosing}],{OFFSET}]"
        )
        most = max(1, _CHUNK_BYTES // frames.row_size(len(names)))
        rows = recorder.writer.reserve(meta.encode(), len(names), min(self._next_capacity, most))
        self._next_capacity = min(_MOST_ROWS, self._next_capacity * 8)
        self.columns = dict(columns)
        if rows is not None:
            # A turn that grows may do so again: what is compiled is a set of columns that stays.
            turn = Iteration if grown else turn_type(names, kinds)
            if self.meter is not None:
                turn = thinning.metered(turn)
            numbers = {name: number for number, name in enumerate(names)}
            self.block = Block(rows, numbers, turn, epoch, process)
        return rows is not None

    def _begin(self) -> None:
        try:
            self._around.loops.append(self)
            known = self.recorder.columns.get(self.family.key)
            if known is None:
                return
            # An earlier loop of this name has shown what its turns say.
            self.columns = dict(known)
            name = self.name, self.index_as
            if name not in self._around.blocks:
                try:
                    self._next_capacity = max(1, min(len(self), _MOST_ROWS))
                except TypeError:
                    self._next_capacity = 1
                return
            self._next_capacity = _MOST_ROWS  # There may be many more: they go on with the same rows.
            block, self._around.blocks[name] = self._around.blocks[name], None
            if (
                block is not None
                and block.epoch is self.recorder.epoch
                and block.columns.keys() == known.keys()
            ):
                self.block = block
            elif block is not None:
                block.seal(self.recorder.process)
        except Exception as error:
            swallow(error, "loop-begin")

    def _open(self, item: T, index: int) -> Iteration[T]:
        """Begin a turn where the loop cannot simply go on to its next row."""
        turn: Iteration[T] | None = None
        try:
            block = self.block
            if block is None or block.next >= block.end or block.epoch is not self.recorder.epoch:
                self.reserve(self.columns, grown=False)
                block = self.block
            if block is not None and index in LONG:
                turn = _handed_out(block.turn(self, block), item, index, block.next)
                _open_row(block.data, block.next, next(self.family.counter), index, monotonic())
                block.next += block.size
            else:
                turn = _handed_out(Iteration(self, None), item, index, 0)
                turn._become_general(now(), next(self.family.counter))
        except Exception as error:
            swallow(error, "loop-turn")
        if turn is None:
            turn = _handed_out(Iteration(self, None), item, index, 0)
        self._turn = turn
        return turn

    def _settle(self, *, wait: bool = False) -> None:
        """Close rows whose values have come from an accelerator, and if we may wait those of others too."""
        if self.late:
            late, self.late = self.late, []
            wait = wait or len(late) > _MOST_LATE
            for row in late:
                block, at, ended, values = row
                try:
                    if not wait and not all(deferred.is_ready(value) for *_, value in values):
                        self.late.append(row)
                        continue
                    if block.process is self.recorder.process:  # Else it is for the process that forked us.
                        tell_late(self, block, at, ended, values)
                except Exception as error:
                    swallow(error, "loop-late")

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
            self._around.unexplained = turn

    def _seal(self) -> None:
        if self.block is not None:
            self.block.seal(self.recorder.process)

    def _leave_block(self) -> None:
        """Leave what is free of the rows to the next loop of this name, as long as it says the same."""
        block, name = self.block, (self.name, self.index_as)
        other = self._around.blocks.get(name)
        if other is not None:
            other.seal(self.recorder.process)
        if block is not None and (block.next >= block.end or block.epoch is not self.recorder.epoch):
            block.seal(self.recorder.process)
            block = None
        self._around.blocks[name] = block

    def _end(self) -> None:
        try:
            self._turn = None
            self._settle(wait=True)
            self._leave_block()
            if self.columns:
                self.recorder.columns[self.family.key] = self.columns
            loops = self._around.loops
            if self in loops:
                loops.remove(self)
        except Exception as error:
            swallow(error, "loop-end")


def _handed_out(turn: Iteration[T], item: T, index: int, at: int) -> Iteration[T]:
    turn.item = item
    turn.index = index
    turn._at = at
    turn._free = at + _CELLS if at else 0
    return turn


Opener.loops = Loop
