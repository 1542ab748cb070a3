"""The layout of a spool segment: frames that a reader can tell complete from torn.

    frame   = length u32 | crc32 u32 | kind u8 | 3 zero bytes | payload | zeros up to a multiple of 8
    segment = HEADER frame, then frames, then zeros; END says that a further segment follows

The writer puts payload and crc down first and the length last, so a frame exists for a reader
only when it is whole; a kill in between leaves a length of zero, which is the end of the data.
The crc covers kind and payload, for ROWS only the part that never changes.

    ROWS payload = meta length u32 | row size u32 | capacity u32 | sealed u8 | 3 zeros
                   | meta (JSON) | zeros | rows

A row is one turn of a loop. Its first part is published by `opened`, its second by `closed`, and
each value by its own tag, always written after what it vouches for:

    0 started i64 | 8 ordinal i64 | 16 index i64 | 24 opened u8 | 32 ended i64 | 40 closed u8
    | 48 + 16 i: value 8 bytes, tag u8
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

FRAME: Final = struct.Struct("<IIB3x")
LENGTH: Final = struct.Struct("<I")
REST: Final = struct.Struct("<IB3x")
ROWS_HEAD: Final = struct.Struct("<III")
ROWS_SEALED: Final = 12
ROWS_META: Final = 16

OPEN: Final = struct.Struct("<qqqB")
CLOSE: Final = struct.Struct("<qB")
DOUBLE: Final = struct.Struct("<dB")
LONG: Final = struct.Struct("<qB")
OPENED: Final = 24
ENDED: Final = 32
CLOSED_AT: Final = 40
COLUMNS: Final = 48
COLUMN: Final = 16
FINISHED: Final = 1
MOVED: Final = 2

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
    return COLUMNS + COLUMN * columns


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
    """One row as read: `closed` is 0 while the turn is open, else FINISHED or MOVED."""

    started: int
    ordinal: int
    position: int
    ended: int
    closed: int
    values: tuple[Any, ...]  # One a column; None where the turn said nothing.


def read_row(data: bytes | mmap.mmap, at: int, columns: int) -> Row | None:
    """The row at this offset, or None if it was never opened."""
    started, ordinal, index, opened = OPEN.unpack_from(data, at)
    if not opened:
        return None
    ended, closed = CLOSE.unpack_from(data, at + ENDED)
    values: list[Any] = []
    for number in range(columns):
        place = at + COLUMNS + COLUMN * number
        tag = data[place + 8]
        if tag == IS_FLOAT:
            values.append(DOUBLE.unpack_from(data, place)[0])
        elif tag in (IS_INT, IS_BOOL):
            found = LONG.unpack_from(data, place)[0]
            values.append(bool(found) if tag == IS_BOOL else found)
        else:
            values.append(None)
    return Row(
        started=started, ordinal=ordinal, position=index, ended=ended, closed=closed, values=tuple(values)
    )
