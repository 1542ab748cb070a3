"""Arrays of text in Avro's binary encoding, a whole column at once.

A third of the tracker's time went into fastavro's writer, which looks at the schema again for
each text; numbers it writes faster than Python could. The bytes are the same as fastavro's (a
test holds the two equal).
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Final

from fastavro import parse_schema, schemaless_writer


def long(number: int) -> bytes:
    """A long: zigzag, then seven bits a byte, the lowest first."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def text(value: str) -> bytes:
    """A string: its length in bytes, then UTF-8."""
    data = value.encode()
    return long(len(data)) + data


# The length of a short text as characters that latin-1 turns into the bytes of `long`.
_LENGTHS: Final = tuple(long(length).decode("latin-1") for length in range(512))


class _Texts(dict[str, bytes]):
    """What `text` makes of each word, made once; forgotten together, before there are too many."""

    def __missing__(self, word: str) -> bytes:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[word] = text(word)
        return found


# Predicates and kinds of facts, of which a stream has some dozens.
_REMEMBERED: Final = 4096
_TEXTS: Final = _Texts()
_LONGS: Final = parse_schema({"type": "array", "items": "long"})


def varied(column: Sequence[str]) -> bytes:
    """An array of strings most of which stand there once."""
    if not column:
        return b"\0"
    pairs = [""] * (2 * len(column))
    try:
        pairs[::2] = [_LENGTHS[len(item)] for item in column]
    except IndexError:  # One is long; each is looked at by itself.
        return long(len(column)) + b"".join(map(text, column)) + b"\0"
    pairs[1::2] = column
    items = "".join(pairs)
    if not items.isascii() and not "".join(column).isascii():  # The lengths alone may be beyond ASCII.
        return long(len(column)) + b"".join(map(text, column)) + b"\0"
    return long(len(column)) + items.encode("latin-1") + b"\0"


def repeated(column: Sequence[str]) -> bytes:
    """An array of strings of which there are few different ones, in this column and in the next."""
    if not column:
        return b"\0"
    return long(len(column)) + b"".join(map(_TEXTS.__getitem__, column)) + b"\0"


def longs(column: Sequence[int]) -> bytes:
    """An array of longs."""
    out = BytesIO()
    schemaless_writer(out, _LONGS, column)
    return out.getvalue()
