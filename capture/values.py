"""Whatever a script hands over, as a value that can cross the wire: never an exception.

| given | becomes | note |
|---|---|---|
| bool, int of up to 14,000 bits, float (NaN and infinities too), str | itself | |
| larger int | its hexadecimal text, cut to 1,000 characters | yes |
| str with lone surrogates | str with U+FFFD in their place | yes |
| None | Json `null` | |
| bytes, bytearray, memoryview | Json `{type, bytes, sha256, head}`, head in hex | yes |
| datetime | Instant; without a zone it is local time | if naive |
| date | Instant of its midnight, UTC | yes |
| timedelta | float seconds | yes |
| numpy datetime64, timedelta64 | Instant, float seconds; NaT: Json `null` | if cut, or a duration |
| Path | its text | |
| device, dtype, layout (numpy, torch) | its text | |
| Decimal, Fraction, complex, UUID | its text | yes |
| Enum | its value, or the name of the member if that is no plain value | if a name |
| array or tensor of one element (numpy, torch, ...) | its element | as of that |
| array of up to 1,024 elements | Json list; records as dictionaries, masked elements as `null` | |
| larger array | Json `{dtype, shape, bytes, sha256, head}` | yes |
| ... sparse, without data (meta), or of objects | Json of those of these facts that there are | yes |
| dataclass instance, mapping, list, tuple, set | Json; keys as text, sets sorted | |
| ... with a reference somewhere inside, or `as_list` / `as_dict` | ListValue / DictValue | |
| keys that are the same as text | the later ones with ` (2)`, ` (3)`, ... | yes |
| NaN or infinity inside Json | its text: "NaN", "Infinity", "-Infinity" | |
| str or Json longer than the limit (256 KiB) | Json `{type, bytes, sha256, head}` | yes |
| more bytes than the limit of digests (64 MiB) | the same without `sha256` | yes |
| a structure in itself, 64 deep, or of more than 200,000 elements | cut there | yes |
| anything else, and anything that fails on the way | its repr, cut to 1,000 characters | yes |

What of these happens inside a list or dictionary is noted as well, the first of them.
Neither numpy nor torch is imported (arrays.py).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from headstream.capture import arrays
from headstream.capture.references import AsDict, AsList, Catalogue, Described, Given
from headstream.capture.resolving import Rules as Rules
from headstream.capture.resolving import declared_reference, holds_reference, resolved
from headstream.capture.wire import clean as clean
from headstream.schemas.values import (
    AttributeValue,
    DictValue,
    Instant,
    Json,
    ListValue,
    Reference,
    Value,
)
from headstream.schemas.vocabulary import REFERENCE_SEMANTICS

if TYPE_CHECKING:
    from headstream.schemas.definition import Attribute

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  (datetime.UTC is the same object)
_MICROSECOND = timedelta(microseconds=1)
_REPR = 1000
_HEAD = 64
_ARRAY = 1024
_ELEMENTS = 10_000
_DEPTH = 64
_NODES = 200_000
_SURROGATES = "lone surrogates replaced by U+FFFD"
_YEARS = range(-62_135_596_800_000_000, 253_402_300_800_000_000)  # 1 to 9999, in microseconds.
# Python itself refuses to write integers of more than 4,300 digits as decimal text.
_INT_BITS = 14_000
_BY_TEXT = frozenset({("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID")})


class Coerced(NamedTuple):
    """A value, and what had to be changed to make it one."""

    value: Value
    note: str | None = None


def attribute_value(name: str, given: Any, attribute: Attribute | None, rules: Rules) -> AttributeValue:
    """The value of one attribute. Never raises: what cannot be represented becomes its repr."""
    facts = about = None
    try:
        if isinstance(given, Described):
            facts, about = _json(given.metadata, rules)
            given = given.value
        value, note = coerce(given, attribute, rules)
        note = note or about
    except Exception as error:
        value, note = _repr(given), f"not representable: {type(error).__name__}"
    return AttributeValue(clean(name), value, facts, note)


def coerce(given: Any, attribute: Attribute | None, rules: Rules) -> Coerced:
    """The value that stands for what was given, by the table above."""
    declared = attribute is not None and attribute.semantics in REFERENCE_SEMANTICS
    if declared and isinstance(given, (str, PurePath)):
        assert attribute is not None
        return Coerced(declared_reference(str(given), attribute, rules))
    if isinstance(given, Given):
        return Coerced(resolved(given, attribute, rules))
    if isinstance(given, Described):
        return coerce(given.value, attribute, rules)
    if isinstance(given, AsList):
        return _elements(given.values, attribute, rules)
    if isinstance(given, AsDict):
        return _members(given.values, attribute, rules)
    if isinstance(given, (list, tuple, Mapping)) and (declared or holds_reference(given)):
        if isinstance(given, Mapping):
            return _members(given, attribute, rules)
        return _elements(given, attribute, rules)
    return _scalar(given, rules) or _structured(given, rules)


def _scalar(given: Any, rules: Rules) -> Coerced | None:
    match given:
        case Enum():
            return _member(given, rules)
        case bool():
            return Coerced(bool(given))
        case int():
            return _integer(int(given))
        case float():
            return Coerced(float(given))
        case str():
            return _text(str.__str__(given), rules)
        case None:
            return Coerced(Json("null"))
        case bytes() | bytearray() | memoryview():
            return _bytes(given, rules)
        case datetime():
            return _datetime(given)
        case date():
            midnight = datetime(given.year, given.month, given.day, tzinfo=_EPOCH.tzinfo)
            return Coerced(Instant((midnight - _EPOCH) // _MICROSECOND), "a date: midnight, UTC")
        case timedelta():
            return Coerced(given.total_seconds(), "a duration, in seconds")
        case PurePath():
            return _text(str(given), rules)
    name = type(given).__name__
    # Known by name: what the script has not imported need not be imported here.
    if (text := arrays.described(given)) is not None:
        return Coerced(text)
    if isinstance(given, complex) or (type(given).__module__, name) in _BY_TEXT:
        return Coerced(clean(str(given))[:_REPR], f"the text of a {name}")
    return None


def _integer(given: int) -> Coerced:
    if given.bit_length() <= _INT_BITS:
        return Coerced(given)
    return Coerced(hex(given)[:_REPR], f"an integer of {given.bit_length()} bits, in hexadecimal, cut")


def _member(given: Enum, rules: Rules) -> Coerced:
    found = coerce(given.value, None, rules)
    if found.note is not None and isinstance(found.value, str):
        return Coerced(
            clean(f"{type(given).__name__}.{given.name}"), "a member of an enumeration by its name"
        )
    return found


def _text(given: str, rules: Rules) -> Coerced:
    if len(given) > max(rules.digest, rules.limit):
        facts = {"type": "text", "characters": len(given), "head": clean(given[:_HEAD])}
        return Coerced(Json(_dump(facts)), f"text of {len(given)} characters by its head")
    text = clean(given)
    if len(text) > rules.limit or (len(text) * 4 > rules.limit and len(text.encode()) > rules.limit):
        return _digest("text", text.encode(), text[:_HEAD], rules)
    return Coerced(text, None if text is given or text == given else _SURROGATES)


def _bytes(given: bytes | bytearray | memoryview, rules: Rules) -> Coerced:
    if isinstance(given, memoryview) and not given.contiguous:
        given = given.tobytes()
    data = memoryview(given).cast("B")
    return _digest("bytes", data, data[: _HEAD // 2].hex(), rules)


def _digest(kind: str, data: bytes | memoryview, head: Any, rules: Rules) -> Coerced:
    facts = {"type": kind, "bytes": len(data), "head": head}
    if len(data) > rules.digest:
        return Coerced(Json(_dump(facts)), f"{kind} of {len(data)} bytes by its head: too large for a digest")
    import hashlib  # Imported late, like all that only some scripts need.

    facts["sha256"] = hashlib.sha256(data).hexdigest()
    return Coerced(Json(_dump(facts)), f"{kind} of {len(data)} bytes by its digest")


def _datetime(given: datetime) -> Coerced:
    note = None if given.tzinfo is not None else "without a zone: taken as local time"
    return Coerced(Instant((given.astimezone(_EPOCH.tzinfo) - _EPOCH) // _MICROSECOND), note)


def _structured(given: Any, rules: Rules) -> Coerced:
    shape = arrays.shape_of(given)
    if shape is not None:
        return _array(given, shape, rules)
    walk = _Walk()
    plain = walk.structure(given, _DEPTH)
    if plain is _NOT_PLAIN:
        return Coerced(_repr(given), f"the repr of a {type(given).__name__}")
    return _limited(_dump(plain), type(given).__name__, rules, walk.note)


def _limited(text: str, kind: str, rules: Rules, note: str | None = None) -> Coerced:
    if len(text) > rules.limit or len(text.encode()) > rules.limit:
        found = _digest(kind, text.encode(), text[:_HEAD], rules)
        return Coerced(found.value, found.note if note is None else f"{found.note}; {note}")
    return Coerced(Json(text), note)


def _array(given: Any, shape: tuple[int, ...], rules: Rules) -> Coerced:
    try:
        size = math.prod(shape)
        if size == 1 and (time := arrays.moment(given)) is not None:
            return _moment(given, time)
        if str(getattr(given, "device", "cpu")).startswith("meta"):
            found = arrays.summary(given, shape, rules.digest)
        elif size == 1:
            element = arrays.single(given)
            if arrays.shape_of(element) is None:
                return coerce(element, None, rules)
            return Coerced(_repr(given), f"the repr of a {type(given).__name__}")
        elif size <= _ARRAY:
            walk = _Walk()
            return _limited(_dump(walk.inner(arrays.elements(given), _DEPTH)), "array", rules, walk.note)
        else:
            found = arrays.summary(given, shape, rules.digest)
    except Exception as error:  # What a library has made in its own way is said by what is sure.
        facts = {"dtype": str(given.dtype), "shape": list(shape), "head": _repr(given)[:_HEAD]}
        return Coerced(Json(_dump(facts)), f"an array whose elements cannot be read: {type(error).__name__}")
    walk = _Walk()
    return _limited(_dump(walk.inner(found.facts, _DEPTH)), "array", rules, found.note)


def _moment(given: Any, time: arrays.Moment) -> Coerced:
    if time.microseconds is None:
        return Coerced(Json("null"))
    if given.dtype.kind == "m":
        return Coerced(time.microseconds / 1e6, "a duration, in seconds")
    moment = int(time.microseconds)
    if moment not in _YEARS:
        return Coerced(clean(str(given)), "the text of a time outside the years 1 to 9999")
    return Coerced(Instant(moment), None if time.exact else "cut to microseconds")


_NOT_PLAIN = object()


class _Walk:
    """Goes through one structure: how much of it there may be, what it is inside of, and the first note."""

    def __init__(self) -> None:
        self.note: str | None = None
        self._left = _NODES
        self._around: set[int] = set()

    def structure(self, given: Any, depth: int) -> Any:
        """JSON-like data for a structure, or `_NOT_PLAIN` if it is none."""
        if depth == 0 or id(given) in self._around:
            return self._said(f"<{type(given).__name__}>", "cut where it is in itself, or too deep")
        self._around.add(id(given))
        try:
            match given:
                case Mapping():
                    items = [(_key(key), value) for key, value in self._some(given.items())]
                    distinct, note = _distinct([key for key, _ in items])
                    self._said(None, note)
                    values = (value for _, value in items)
                    return {key: self.inner(v, depth - 1) for key, v in zip(distinct, values, strict=True)}
                case list() | tuple():
                    return [self.inner(value, depth - 1) for value in self._some(given)]
                case set() | frozenset():
                    return sorted((self.inner(value, depth - 1) for value in self._some(given)), key=_dump)
            if dataclasses.is_dataclass(given) and not isinstance(given, type):
                return {
                    f.name: self.inner(getattr(given, f.name), depth - 1) for f in dataclasses.fields(given)
                }
        finally:
            self._around.discard(id(given))
        return _NOT_PLAIN

    def inner(self, given: Any, depth: int) -> Any:
        """JSON-like data for anything."""
        kind = type(given)
        if kind is bool or given is None:
            return given
        if kind is float:
            return given if math.isfinite(given) else _special(given)
        if kind is str and len(given) <= _ARRAY:
            text = clean(given)
            return text if text is given else self._said(text, _SURROGATES)
        if kind is int and given.bit_length() <= _INT_BITS:
            return given
        try:
            plain = _NOT_PLAIN if isinstance(given, Enum) else self.structure(given, depth)
            return plain if plain is not _NOT_PLAIN else self._coerced(coerce(given, None, _NO_RULES))
        except Exception as error:
            return self._said(_repr(given), f"not representable: {type(error).__name__}")

    def _some(self, given: Any) -> Any:
        """As many of the elements as may still be taken."""
        for value in given:
            if self._left <= 0:
                self._said(None, f"cut after {_NODES} elements")
                return
            self._left -= 1
            yield value

    def _coerced(self, found: Coerced) -> Any:
        self._said(None, found.note)
        match found.value:
            case Json(text):
                return json.loads(text)
            case float():
                return found.value if math.isfinite(found.value) else _special(found.value)
            case Instant(microseconds):
                return (_EPOCH + microseconds * _MICROSECOND).isoformat().replace("+00:00", "Z")
            case Reference():
                return found.value.text
        return found.value

    def _said(self, value: Any, note: str | None) -> Any:
        self.note = self.note or note
        return value


def _distinct(keys: list[str]) -> tuple[list[str], str | None]:
    """Keys that differ: those that are the same as text are numbered."""
    if len(set(keys)) == len(keys):
        return keys, None
    seen: set[str] = set()
    found = []
    for key in keys:
        name, number = key, 1
        while name in seen:
            number += 1
            name = f"{key} ({number})"
        seen.add(name)
        found.append(name)
    return found, "keys that are the same as text are numbered"


def _special(number: float) -> str:
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _key(key: Any) -> str:
    return clean(key if isinstance(key, str) else str(key.value if isinstance(key, Enum) else key))


def _json(given: Any, rules: Rules) -> tuple[str, str | None]:
    walk = _Walk()
    value, note = _limited(_dump(walk.inner(given, _DEPTH)), "metadata", rules, walk.note)
    assert isinstance(value, Json)
    return value.text, note


def _dump(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _repr(given: Any) -> str:
    try:
        return clean(repr(given))[:_REPR]
    except Exception:
        return f"<{type(given).__name__}>"


def _elements(values: Any, attribute: Attribute | None, rules: Rules) -> Coerced:
    coerced = [coerce(value, attribute, rules) for value in values[:_ELEMENTS]]
    note = f"the first {_ELEMENTS} of {len(values)} elements" if len(values) > _ELEMENTS else None
    return Coerced(ListValue(tuple(c.value for c in coerced)), _first_note(note, coerced))


def _members(values: Mapping[Any, Any], attribute: Attribute | None, rules: Rules) -> Coerced:
    pairs = list(values.items())[:_ELEMENTS]
    coerced = [coerce(value, attribute, rules) for _, value in pairs]
    note = f"the first {_ELEMENTS} of {len(values)} elements" if len(values) > _ELEMENTS else None
    keys, same = _distinct([_key(key) for key, _ in pairs])
    note = note or same
    items = tuple((key, c.value) for key, c in zip(keys, coerced, strict=True))
    return Coerced(DictValue(items), _first_note(note, coerced))


def _first_note(note: str | None, coerced: list[Coerced]) -> str | None:
    return note or next((c.note for c in coerced if c.note is not None), None)


_NO_RULES = Rules(Catalogue())
