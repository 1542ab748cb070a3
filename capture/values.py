"""Whatever a script hands over, as a value that can cross the wire: never an exception.

| given | becomes | note |
|---|---|---|
| bool, int of any size, float (NaN and infinities too), str | itself | |
| str with lone surrogates | str with U+FFFD in their place | yes |
| None | Json `null` | |
| bytes, bytearray, memoryview | Json `{bytes, sha256, head}`, head in hex | yes |
| datetime | Instant; without a zone it is local time | if naive |
| date | Instant of its midnight, UTC | yes |
| timedelta | float seconds | yes |
| Path | its text | |
| Decimal, Fraction, complex, UUID | its text | yes |
| Enum | its value | |
| array or tensor of one element (numpy, torch, ...) | the number | |
| array of up to 1,024 elements | Json list | |
| larger array | Json `{dtype, shape, bytes, sha256, head}` | yes |
| dataclass instance, mapping, list, tuple, set | Json; keys as text, sets sorted | |
| ... with a reference somewhere inside, or `as_list` / `as_dict` | ListValue / DictValue | |
| NaN or infinity inside Json | its text: "NaN", "Infinity", "-Infinity" | |
| str or Json longer than the limit (256 KiB) | Json `{type, bytes, sha256, head}` | yes |
| anything else, and anything that fails on the way | its repr, cut to 1,000 characters | yes |

Neither numpy nor torch is imported: arrays are known by their `dtype`, `shape` and `item`.
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

from headstream.capture.files import OFF, Wanted
from headstream.capture.references import AsDict, AsList, Catalogue, Described, Given, file
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
# Python itself refuses to write integers of more than 4,300 digits as decimal text.
_INT_BITS = 14_000
_BY_TEXT = frozenset({("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID")})


class Coerced(NamedTuple):
    """A value, and what had to be changed to make it one."""

    value: Value
    note: str | None = None


class Rules(NamedTuple):
    """What applies to the values of one run."""

    catalogue: Catalogue
    limit: int = 256 << 10
    file_facts: bool = True
    checksum: str | None = None  # The algorithm for all files that name none.
    files: dict[Reference, Wanted] | None = None  # Where files that were met are noted, if anywhere.


def attribute_value(name: str, given: Any, attribute: Attribute | None, rules: Rules) -> AttributeValue:
    """The value of one attribute. Never raises: what cannot be represented becomes its repr."""
    facts = None
    try:
        if isinstance(given, Described):
            facts = _json(given.metadata, rules)
            given = given.value
        value, note = coerce(given, attribute, rules)
    except Exception as error:
        value, note = _repr(given), f"not representable: {type(error).__name__}"
    return AttributeValue(clean(name), value, facts, note)


def coerce(given: Any, attribute: Attribute | None, rules: Rules) -> Coerced:
    """The value that stands for what was given, by the table above."""
    declared = attribute is not None and attribute.semantics in REFERENCE_SEMANTICS
    if declared and isinstance(given, (str, PurePath)):
        assert attribute is not None
        return Coerced(_declared_reference(str(given), attribute, rules))
    if isinstance(given, Given):
        return Coerced(_resolved(given, attribute, rules))
    if isinstance(given, Described):
        return coerce(given.value, attribute, rules)
    if isinstance(given, AsList):
        return _elements(given.values, attribute, rules)
    if isinstance(given, AsDict):
        return _members(given.values, attribute, rules)
    if isinstance(given, (list, tuple, Mapping)) and (declared or _holds_reference(given, _DEPTH)):
        if isinstance(given, Mapping):
            return _members(given, attribute, rules)
        return _elements(given, attribute, rules)
    return _scalar(given, rules) or _structured(given, rules)


def _scalar(given: Any, rules: Rules) -> Coerced | None:
    match given:
        case Enum():
            return coerce(given.value, None, rules)
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
            return _bytes(bytes(given))
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
    if isinstance(given, complex) or (type(given).__module__, name) in _BY_TEXT:
        return Coerced(clean(str(given))[:_REPR], f"the text of a {name}")
    return None


def _integer(given: int) -> Coerced:
    if given.bit_length() <= _INT_BITS:
        return Coerced(given)
    return Coerced(hex(given)[:_REPR], f"an integer of {given.bit_length()} bits, in hexadecimal, cut")


def _text(given: str, rules: Rules) -> Coerced:
    text = clean(given)
    if len(text) > rules.limit or (len(text) * 4 > rules.limit and len(text.encode()) > rules.limit):
        return _digest("text", text.encode(), text[:_HEAD])
    return Coerced(text, None if text is given or text == given else "lone surrogates replaced by U+FFFD")


def _bytes(given: bytes) -> Coerced:
    return _digest("bytes", given, given[: _HEAD // 2].hex())


def _digest(kind: str, data: bytes, head: Any, **more: Any) -> Coerced:
    import hashlib  # Imported late, like all that only some scripts need.

    facts = {"type": kind, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "head": head}
    return Coerced(Json(_dump({**facts, **more})), f"{kind} of {len(data)} bytes by its digest")


def _datetime(given: datetime) -> Coerced:
    note = None if given.tzinfo is not None else "without a zone: taken as local time"
    return Coerced(Instant((given.astimezone(_EPOCH.tzinfo) - _EPOCH) // _MICROSECOND), note)


def _structured(given: Any, rules: Rules) -> Coerced:
    shape = getattr(given, "shape", None)
    if shape is not None and hasattr(given, "dtype") and hasattr(given, "item"):
        return _array(given, tuple(int(n) for n in shape), rules)
    plain = _plain(given, _DEPTH)
    if plain is _NOT_PLAIN:
        return Coerced(_repr(given), f"the repr of a {type(given).__name__}")
    return _limited(_dump(plain), type(given).__name__, rules)


def _limited(text: str, kind: str, rules: Rules) -> Coerced:
    if len(text) > rules.limit or len(text.encode()) > rules.limit:
        return _digest(kind, text.encode(), text[:_HEAD])
    return Coerced(Json(text))


def _array(given: Any, shape: tuple[int, ...], rules: Rules) -> Coerced:
    size = math.prod(shape)
    if size == 1:
        return coerce(given.item(), None, rules)
    if size <= _ARRAY:
        return _limited(_dump(_plain(given.tolist(), _DEPTH)), "array", rules)
    flat = given.reshape(-1) if hasattr(given, "reshape") else given
    head = _plain(flat[:8].tolist(), _DEPTH)
    if hasattr(given, "detach"):  # A tensor: its numbers are wherever the device is.
        given = given.detach().cpu().numpy()
    return _digest("array", given.tobytes(), head, dtype=str(given.dtype), shape=list(shape))


_NOT_PLAIN = object()


def _plain(given: Any, depth: int) -> Any:
    """JSON-like data for a structure, or `_NOT_PLAIN` at its top if it is none."""
    if depth == 0:
        return _repr(given)
    match given:
        case Enum():
            return _inner(given.value, depth)
        case Mapping():
            return {_key(key): _inner(value, depth) for key, value in given.items()}
        case list() | tuple():
            return [_inner(value, depth) for value in given]
        case set() | frozenset():
            return sorted((_inner(value, depth) for value in given), key=_dump)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {f.name: _inner(getattr(given, f.name), depth) for f in dataclasses.fields(given)}
    return _NOT_PLAIN


def _inner(given: Any, depth: int) -> Any:
    kind = type(given)
    if kind is bool or given is None:
        return given
    if kind is float:
        return given if math.isfinite(given) else _special(given)
    if kind is str:
        return clean(given)
    if kind is int and given.bit_length() <= _INT_BITS:
        return given
    plain = _plain(given, depth - 1)
    if plain is not _NOT_PLAIN:
        return plain
    value = coerce(given, None, _NO_RULES).value
    match value:
        case Json(text):
            return json.loads(text)
        case float():
            return value if math.isfinite(value) else _special(value)
        case Instant(microseconds):
            return (_EPOCH + microseconds * _MICROSECOND).isoformat().replace("+00:00", "Z")
        case Reference():
            return value.text
    return value


def _special(number: float) -> str:
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _key(key: Any) -> str:
    return clean(key if isinstance(key, str) else str(key.value if isinstance(key, Enum) else key))


def _json(given: Any, rules: Rules) -> str:
    value, _ = _limited(_dump(_plain(given, _DEPTH)), "metadata", rules)
    assert isinstance(value, Json)
    return value.text


def _dump(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _repr(given: Any) -> str:
    try:
        return clean(repr(given))[:_REPR]
    except Exception:
        return f"<{type(given).__name__}>"


def _resolved(given: Given, attribute: Attribute | None, rules: Rules) -> Reference:
    found = rules.catalogue.resolve(given, None if attribute is None else attribute.store)
    cleaned = [None if t is None else clean(t) for t in (found.store, found.version, found.checksum)]
    reference = Reference(
        text=clean(found.text), store=cleaned[0], kind=found.kind, version=cleaned[1], checksum=cleaned[2]
    )
    if given.path is not None and rules.files is not None:
        algorithm = given.algorithm or (rules.checksum if given.checksum is None else None)
        wanted = Wanted(given.path, rules.file_facts, None if algorithm == OFF else algorithm)
        if wanted.facts or wanted.algorithm is not None:
            rules.files[reference] = wanted
    return reference


def _declared_reference(text: str, attribute: Attribute, rules: Rules) -> Reference:
    if attribute.semantics == "KG_REFERENCE":
        return _resolved(Given(text=text, kind="kg"), attribute, rules)
    return _resolved(
        file(text) if attribute.semantics == "FILE_REFERENCE" else Given(text=text), attribute, rules
    )


def _holds_reference(given: Any, depth: int) -> bool:
    if depth == 0:
        return False
    match given:
        case Given() | AsList() | AsDict():
            return True
        case Mapping():
            return any(_holds_reference(value, depth - 1) for value in given.values())
        case list() | tuple():
            return any(_holds_reference(value, depth - 1) for value in given)
    return False


def _elements(values: Any, attribute: Attribute | None, rules: Rules) -> Coerced:
    coerced = [coerce(value, attribute, rules) for value in values[:_ELEMENTS]]
    note = f"the first {_ELEMENTS} of {len(values)} elements" if len(values) > _ELEMENTS else None
    return Coerced(ListValue(tuple(c.value for c in coerced)), _first_note(note, coerced))


def _members(values: Mapping[Any, Any], attribute: Attribute | None, rules: Rules) -> Coerced:
    pairs = list(values.items())[:_ELEMENTS]
    coerced = [coerce(value, attribute, rules) for _, value in pairs]
    note = f"the first {_ELEMENTS} of {len(values)} elements" if len(values) > _ELEMENTS else None
    keys = [_key(key) for key, _ in pairs]
    items = tuple((key, c.value) for key, c in zip(keys, coerced, strict=True))
    return Coerced(DictValue(items), _first_note(note, coerced))


def _first_note(note: str | None, coerced: list[Coerced]) -> str | None:
    return note or next((c.note for c in coerced if c.note is not None), None)


_NO_RULES = Rules(Catalogue())
