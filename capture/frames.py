"""The layout of a spool segment: frames that a reader can tell complete from torn.

    frame   = length u32 | crc32 u32 | kind u8 | 3 zero bytes | payload | zeros up to a multiple of 8
    segment = HEADER frame, then frames, then zeros; END says that a further segment follows

The writer puts payload and crc down first and the length last, so a frame exists for a reader
only when it is whole; a kill in between leaves a length of zero, which is the end of the data.
The crc covers kind and payload, for ROWS only the part that never changes.

    ROWS payload = meta length u32 | row size u32 | capacity u32 | sealed u8 | 3 zeros
                   | meta (JSON) | zeros | rows

A row is one turn of a loop. `started` publishes what stands before it, `ended` that the turn is
over, and each tag its value; each is written after what it vouches for. Times are nanoseconds of
the monotonic clock, which is never 0; the meta has what to add to them (clock.py).

    0 ordinal i64 | 8 index i64 | 16 started i64 | 24 ended i64 (0: open, -1: told elsewhere)
    | 32 a value of 8 bytes for each column | a tag u8 for each column | zeros up to a multiple of 8

A step that says plain values is a chain of short frames; each names, by its offset in the segment,
the frame before it, and the FAMILY and FORM that say once what many steps have in common. A chain
never leaves its segment: whoever goes on in the next one says it by an EVENT (chains.py).

    FAMILY   = JSON [transformation, parent, prefix, suffix, is a turn, enclosing steps]
    FORM     = JSON [direction, names of attributes, a letter each: b bool, q int, d float, s str]
    BEGUN    = family u32 | form u32 | later u32 | ordinal i64 | iteration i64 (least: none) | started i64
               | cells | slots
    SAID     = family u32 | form u32 | before u32 | at i64 | cells
    FINISHED = family u32 | 0 u32 | before u32 | ended i64 | processor seconds f64 | peak bytes i64

`later` is where in the payload of BEGUN its slots begin, which are filled when the step goes on: in
place, so without a frame. The crc covers what stands before them. What is said first, before any
SAID, may go into the one slot, the end into the other if it is FINISHED by itself; the last field of
each is written last and vouches for the rest.

    processor seconds f64 | peak bytes i64 | before u32 | 4 zeros | ended i64 (0: open, -1: told elsewhere)
    | length u32 | form u32 | the bytes of a SAID behind its links, with room for some

Without a form, what follows is JSON: of values [direction, values, what is held because of them] as in
wire.py, of an end [outcome, error]; nothing at all says no value, or FINISHED.
Cells are the values of the form in its order, packed: bool u8, int i64, float f64, str its length u32;
behind them the texts in UTF-8. Times in chains are microseconds since the epoch.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Any, Final, NamedTuple

HEADER: Final = 1
DOCUMENT: Final = 2
EVENT: Final = 3
ROWS: Final = 4
END: Final = 5
CLOSED: Final = 6
FAMILY: Final = 7
FORM: Final = 8
BEGUN: Final = 9
SAID: Final = 10
FINISHED: Final = 11

FRAME: Final = struct.Struct("<IIB3x")
LENGTH: Final = struct.Struct("<I")
KIND: Final = 8
REST: Final = struct.Struct("<IB3x")
ROWS_HEAD: Final = struct.Struct("<III")
ROWS_SEALED: Final = 12
ROWS_META: Final = 16

LINK: Final = struct.Struct("<III")
BEGUN_TAIL: Final = struct.Struct("<qqq")
SAID_TAIL: Final = struct.Struct("<q")
FINISHED_TAIL: Final = struct.Struct("<qdq")
FINISH_SLOT: Final = struct.Struct("<dqI4xq")
FINISH_ENDED: Final = 24
SAY_SLOT: Final = struct.Struct("<II")
SAY_BODY: Final = FINISH_SLOT.size + SAY_SLOT.size
NO_ITERATION: Final = -(2**63)

OPEN: Final = struct.Struct("<qqq")
TIME: Final = struct.Struct("<q")
DOUBLE: Final = struct.Struct("<d")
LONG: Final = struct.Struct("<q")
ENDED: Final = 24
COLUMNS: Final = 32
CELL: Final = 8
MOVED: Final = -1

ABSENT: Final = 0
IS_FLOAT: Final = 1
IS_INT: Final = 2
IS_BOOL: Final = 3

MAX_LENGTH: Final = 1 << 30


def frame_size(length: int) -> int:
    """Bytes that a frame with this payload takes in its segment."""
    return (FRAME.size + length + 7) & ~7


def crc(kind: int, *parts: bytes) -> int:
    value = kind
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def row_size(columns: int) -> int:
    return COLUMNS + CELL * columns + ((columns + 7) & ~7)


class RowsHead(NamedTuple):
    """Where the rows of a ROWS payload begin, how large they are, and what they mean."""

    meta: bytes
    size: int
    capacity: int
    sealed: bool

    @property
    def start(self) -> int:
        return rows_start(len(self.meta))


def rows_start(meta_length: int) -> int:
    """Offset of the first row inside the payload."""
    # The frame header has 12 bytes: 4 more put rows on multiples of 8 in the file.
    return ((ROWS_META + meta_length + FRAME.size + 7) & ~7) - FRAME.size


def rows_head(payload: bytes) -> RowsHead:
    meta_length, size, capacity = ROWS_HEAD.unpack_from(payload)
    meta = payload[ROWS_META : ROWS_META + meta_length]
    return RowsHead(meta=meta, size=size, capacity=capacity, sealed=bool(payload[ROWS_SEALED]))


class Row(NamedTuple):
    """One row as read, with times in microseconds. `ended` is 0 while the turn is open."""

    started: int
    ordinal: int
    position: int
    ended: int
    moved: bool
    values: tuple[Any, ...]  # One a column; None where the turn said nothing.

    @property
    def closed(self) -> bool:
        return self.moved or self.ended != 0


def read_row(data: bytes | mmap.mmap, at: int, columns: int, offset: int) -> Row | None:
    """The row at this place, or None if it was never opened. `offset` makes its times those of the day."""
    ordinal, index, started = OPEN.unpack_from(data, at)
    if not started:
        return None
    (ended,) = TIME.unpack_from(data, at + ENDED)
    moved = ended == MOVED
    return Row(
        started=(started + offset) // 1000,
        ordinal=ordinal,
        position=index,
        ended=(ended + offset) // 1000 if ended > 0 else 0,
        moved=moved,
        values=tuple(read_cell(data, at, number, columns) for number in range(columns)),
    )


def read_cell(data: bytes | mmap.mmap, at: int, number: int, columns: int) -> bool | int | float | None:
    """What the row at this place says in one of its columns; None if it says nothing there."""
    tag = data[at + COLUMNS + CELL * columns + number]
    place = at + COLUMNS + CELL * number
    if tag == IS_FLOAT:
        number_read: float = DOUBLE.unpack_from(data, place)[0]
        return number_read
    if tag in (IS_INT, IS_BOOL):
        whole: int = LONG.unpack_from(data, place)[0]
        return bool(whole) if tag == IS_BOOL else whole
    return None


def write_cell(data: mmap.mmap, at: int, number: int, columns: int, value: float) -> None:
    """Say a plain number in a column of the row at this place; its tag comes last."""
    place = at + COLUMNS + CELL * number
    if isinstance(value, float):
        DOUBLE.pack_into(data, place, value)
        tag = IS_FLOAT
    else:
        LONG.pack_into(data, place, value)
        tag = IS_BOOL if isinstance(value, bool) else IS_INT
    data[at + COLUMNS + CELL * columns + number] = tag
