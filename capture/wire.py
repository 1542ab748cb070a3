"""Values and records as compact JSON for the spool: exact for every value, and cheap to write.

A record is a list that begins with one letter; the rest stands in the order of the fields of the
event (format 2, named in the header of each segment; `records.py` has the events). Only the
standard library is used, so that the captured script never waits for a codec or its import; the
shipper turns records into Avro.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final, NamedTuple

from headstream.schemas.values import (
    AttributeValue,
    DictValue,
    Instant,
    Json,
    ListValue,
    Reference,
    Value,
    references,
)

FORMAT = 1
# As in headstream.schemas.events, which a script that only spools need not import.
IN = "in"
OUT = "out"
Wire = Any

quote: Final = encode_basestring  # A text as JSON, with all that JSON need not escape left as it is.

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLAIN_INT: Final = 1 << 63
_PLAIN_TEXT: Final = 1000

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def text(record: Wire) -> str:
    return _encode(record)


def dump(record: Wire) -> bytes:
    return _encode(record).encode()


class Named(NamedTuple):
    """A name without lone surrogates, as JSON text, and as what holds a value that has no other identity."""

    clean: str
    text: str
    held: str


@lru_cache(maxsize=4096)
def named(name: str) -> Named:
    """The forms in which a name is written, made once for each."""
    cleaned = clean(name)
    quoted = _encode(cleaned)
    return Named(clean=cleaned, text=quoted, held=f"[{quoted},null]")


def scalar(given: Any) -> str | None:
    """The JSON text of a plain value, as `coerce` and `attributes_to` would give it; None if it is none."""
    kind = type(given)
    if kind is float:
        return repr(given) if isfinite(given) else _encode(given)
    if kind is int:
        return repr(given) if -_PLAIN_INT < given < _PLAIN_INT else None
    if kind is bool:
        return "true" if given else "false"
    if kind is str and len(given) <= _PLAIN_TEXT and given.isascii():
        return quote(given)
    return None


def clean(text: str) -> str:
    """The text with U+FFFD for every lone surrogate, which has no UTF-8 form (faults.md row 35)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def load(payload: bytes) -> Wire:
    return json.loads(payload)


def held(values: tuple[AttributeValue, ...]) -> list[Wire]:
    """Values by identity: a reference names itself, anything else is named by its attribute."""
    found: list[Wire] = []
    for given in values:
        value = given.value
        if isinstance(value, Reference):
            found.append([given.name, reference_to(value)])
            continue
        found.append([given.name, None])
        if isinstance(value, (ListValue, DictValue)):
            found.extend([None, reference_to(reference)] for reference in references(value))
    return found


def context(
    *,
    cluster: str | None = None,
    job: str | None = None,
    hosts: tuple[str, ...] = (),
    peak_memory_bytes: int | None = None,
    cpu_seconds: float | None = None,
    metadata: str | None = None,
) -> Wire:
    """Execution data, in the order of the fields of `Context`."""
    return [cluster, job, hosts, peak_memory_bytes, cpu_seconds, None, None, metadata]


def value_to(value: Value) -> Wire:
    match value:
        case bool() | int() | float() | str():
            return value
        case Json(text):
            return {"j": text}
        case Instant(microseconds):
            return {"t": microseconds}
        case Reference():
            return {"r": reference_to(value)}
        case ListValue(items):
            return {"l": [value_to(item) for item in items]}
        case DictValue(items):
            return {"d": [[key, value_to(item)] for key, item in items]}


def value_from(wire: Wire) -> Value:
    if not isinstance(wire, dict):
        scalar: Value = wire
        return scalar
    ((kind, body),) = wire.items()
    match kind:
        case "j":
            return Json(body)
        case "t":
            return Instant(body)
        case "r":
            return reference_from(body)
        case "l":
            return ListValue(tuple(value_from(item) for item in body))
    return DictValue(tuple((key, value_from(item)) for key, item in body))


def reference_to(reference: Reference) -> Wire:
    found = [reference.text, reference.store, reference.kind, reference.version, reference.checksum]
    if reference.size_bytes is None and reference.modified is None:
        return found
    return [*found, reference.size_bytes, reference.modified]


def reference_from(wire: Wire) -> Reference:
    text, store, kind, version, checksum, *facts = wire
    size, modified = facts or (None, None)
    return Reference(
        text=text,
        store=store,
        kind=kind,
        version=version,
        checksum=checksum,
        size_bytes=size,
        modified=modified,
    )


def attributes_to(values: tuple[AttributeValue, ...]) -> Wire:
    return [[v.name, value_to(v.value), v.metadata, v.note] for v in values]


def attributes_from(wire: Wire) -> tuple[AttributeValue, ...]:
    return tuple(AttributeValue(name, value_from(value), meta, note) for name, value, meta, note in wire)
