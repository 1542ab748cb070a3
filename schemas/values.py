"""What a captured value can be once it is coerced: the types that cross the wire.

A plain scalar is itself. Everything else is one of the small classes below, so that a reader
never guesses from the shape of a dictionary what somebody meant (spec sections 5.3, 5.4, 9.4).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, Literal

from headstream.schemas.immutable import immutable

DATA: Final = "data"
KNOWLEDGE_GRAPH: Final = "kg"


@immutable()
class Json:
    """A list, dictionary or null as one value: canonical JSON text (sorted keys, no spaces)."""

    text: str


@immutable()
class Instant:
    """A moment: microseconds since 1970-01-01T00:00:00Z."""

    microseconds: int


@immutable(kw_only=True)
class Reference:
    """Text that identifies data held in a store (path, row key, document id, IRI of a resource).

    What the data was when it was looked at is no part of what it is: checksum, size in bytes, and
    time of the last change in microseconds since the epoch.
    """

    text: str
    store: str | None = None
    kind: Literal["data", "kg"] = "data"
    version: str | None = None
    checksum: str | None = None
    size_bytes: int | None = None
    modified: int | None = None


@immutable()
class ListValue:
    """A list whose elements are values of their own."""

    items: tuple[Value, ...]


@immutable()
class DictValue:
    """A dictionary whose elements are values of their own."""

    items: tuple[tuple[str, Value], ...]


Value = bool | int | float | str | Json | Instant | Reference | ListValue | DictValue


@immutable()
class AttributeValue:
    """One value in the slot of an attribute.

    `metadata` is canonical JSON the user attached to it; `note` says what coercion had to change.
    """

    name: str
    value: Value
    metadata: str | None = None
    note: str | None = None


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, every character literal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def double(number: float) -> str:
    """The lexical form of xsd:double: the shortest that reads back as the same number."""
    if math.isfinite(number):
        return repr(number)
    return "NaN" if math.isnan(number) else "INF" if number > 0 else "-INF"


def plain(value: Value) -> Any:
    """The value as JSON-like Python data, with references as their text (spec section 5.4)."""
    match value:
        case Json(text):
            return json.loads(text)
        case Instant(microseconds):
            return microseconds
        case Reference():
            return value.text
        case ListValue(items):
            return [plain(item) for item in items]
        case DictValue(items):
            return {key: plain(item) for key, item in items}
        case float() if not math.isfinite(value):
            # JSON has no such numbers; their XSD names are text that every reader knows.
            return double(value)
    return value


def references(value: Value) -> Iterator[Reference]:
    """Every reference inside a value, depth first."""
    match value:
        case Reference():
            yield value
        case ListValue(items):
            for item in items:
                yield from references(item)
        case DictValue(items):
            for _, item in items:
                yield from references(item)
