"""Arrays of text in Avro's binary encoding, a whole column at once.

A third of the tracker's time went into fastavro's writer, which looks at the schema again for
each text. The bytes are the same as fastavro's (a test holds the two equal).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


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
    """What `text` makes of each word, made once."""

    def __missing__(self, word: str) -> bytes:
        found = self[word] = text(word)
        return found


def varied(column: Sequence[str]) -> bytes:
    """An array of strings most of which stand there once."""
    if not column:
        return b"\0"
    if "".join(column).isascii():
        try:
            items = "".join([_LENGTHS[len(item)] + item for item in column]).encode("latin-1")
            return long(len(column)) + items + b"\0"
        except IndexError:  # One is long; each is then looked at by itself.
            pass
    return long(len(column)) + b"".join(map(text, column)) + b"\0"


def repeated(column: Sequence[str]) -> bytes:
    """An array of strings of which there are few different ones."""
    if not column:
        return b"\0"
    return long(len(column)) + b"".join(map(_Texts().__getitem__, column)) + b"\0"


def longs(column: Sequence[int]) -> bytes:
    """An array of longs."""
    if not column:
        return b"\0"
    return long(len(column)) + b"".join(map(long, column)) + b"\0"
