"""Reading the scalars of a ProvLake message: identifiers, times, texts and execution data.

A message is JSON that somebody else wrote: every reader here either returns what the field says or
raises MessageRefused, and none raises anything else on a message that `cleaned` let through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from headstream.capture.gateway.errors import MessageRefused
from headstream.schemas.events import Context
from headstream.schemas.values import canonical_json

# Deeper nesting is no provenance, and would exhaust the stack of an encoder further down.
MAX_DEPTH: Final = 100
# Python refuses to print integers of more than 4300 digits (sys.set_int_max_str_digits).
_MAX_BITS: Final = 4300 * 3
_LONG: Final = range(-(2**63), 2**63)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_AS_IT_IS = frozenset({bool, float, type(None)})
# xsd:dateTime as Python and the stores can write it: the years 1 to 9999.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799

_BYTES = ("peak_memory_bytes", "gpu_peak_memory_bytes")
_SECONDS = ("cpu_seconds", "gpu_seconds")


def is_plain(text: bytes) -> bool:
    """Tell of the text of a bag, by what C can see of it, that `cleaned` would give back all that it says.

    A third of the time of a translation went into looking at each value. False only means: look. (An integer
    that Python would not print, it does not parse either.)
    """
    if not text.isascii() or b"\\" in text:
        return False
    brackets = text.translate(None, _NO_BRACKETS).replace(b'""', b"")
    if b'"' in brackets:
        # Without escapes every other part is a string, whose brackets nest nothing.
        brackets = b"".join(brackets.split(b'"')[::2])
    for _ in range(MAX_DEPTH // 2):
        if not brackets:
            return True
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")  # A level or two, the innermost first.
    return not brackets  # Else it is deep.


def cleaned(value: Any, depth: int = 0) -> Any:
    """The value as plain JSON data that every encoder takes, or MessageRefused.

    A lone surrogate (JSON can spell one, UTF-8 cannot) becomes U+FFFD, as in `identifiers`.
    """
    # What json gives, without a further look at what is plain: a bag has thousands of these.
    kind = type(value)
    if kind in _AS_IT_IS or (kind is str and value.isascii()) or (kind is int and value in _LONG):
        return value
    if depth > MAX_DEPTH:
        raise MessageRefused("too-deep", f"the message is nested more than {MAX_DEPTH} levels deep")
    if kind is dict:
        return {
            key if type(key) is str and key.isascii() else _SURROGATE.sub("\ufffd", str(key)): cleaned(
                item, depth + 1
            )
            for key, item in value.items()
        }
    match value:
        case None | bool():
            return value
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case int():
            if value.bit_length() > _MAX_BITS:
                raise MessageRefused("number-too-long", f"an integer of {value.bit_length()} bits")
            return int(value)
        case float():
            return float(value)
        case Mapping():
            return {
                _SURROGATE.sub("\ufffd", str(key)): cleaned(item, depth + 1) for key, item in value.items()
            }
        case list() | tuple():
            return [cleaned(item, depth + 1) for item in value]
    raise MessageRefused("not-json", f"a {type(value).__name__} is no JSON value")


def json_text(value: Any) -> tuple[str, bool]:
    """Canonical JSON, and whether NaN or infinity had to become text, which JSON has no number for."""
    try:
        # The fast path for the usual case; json refuses what is not finite.
        return canonical_json(_finite(value, strict=True)), False
    except ValueError:
        return canonical_json(_finite(value, strict=False)), True


def _finite(value: Any, *, strict: bool) -> Any:
    match value:
        case float() if not math.isfinite(value):
            if strict:
                raise ValueError(value)
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: _finite(item, strict=strict) for key, item in value.items()}
        case list():
            return [_finite(item, strict=strict) for item in value]
    return value


def identifier(value: Any, what: str) -> str:
    """The text of an identifier: text is itself, numbers as spec section 5.1 writes them."""
    if isinstance(value, str):  # As nearly all are.
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise MessageRefused("bad-identifier", f"{what} must be text or a number, found {_kind(value)}")


def optional_identifier(value: Any, what: str) -> str | None:
    return None if value is None else identifier(value, what)


def iteration(value: Any) -> int | None:
    """The number of a turn, if its id is an integer that fits the wire."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _LONG else None


def instant(body: Mapping[str, Any], key: str) -> int | None:
    """Float seconds since the epoch as integer microseconds; None when the key is absent or null."""
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise MessageRefused("bad-time", f"{key} must be seconds since 1970, found {_kind(value)}")
    if not _FIRST <= value < _LAST:  # also false for NaN
        raise MessageRefused("bad-time", f"{key} is {value!r} s since 1970, outside the years 1 to 9999")
    return round(value * 1_000_000)


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise MessageRefused("bad-message", f"{what} must be an object, found {_kind(value)}")


def person(value: Any) -> str | None:
    """The id of the person; newer clients may send an object with an `id`."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return None if value is None or value == "" else identifier(value, "person")


def text(value: Any) -> str | None:
    """Output that a program printed, as text; None when there was none."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json_text(value)[0]


def context(custom_metadata: Any, further: Mapping[str, Any] | None = None) -> Context | None:
    """Execution data from the keys of spec section 6.2; whatever else there is stays as metadata.

    `further` is metadata that came by another way. A key whose value cannot be used stays metadata too.
    """
    if custom_metadata is None and not further:
        return None
    rest: dict[str, Any] = dict(further or {})
    if isinstance(custom_metadata, Mapping):
        rest |= custom_metadata
    elif custom_metadata is not None:
        rest["custom_metadata"] = custom_metadata
    fields: dict[str, Any] = {}
    for key, name in (("cluster_name", "cluster"), ("job_id", "job")):
        if isinstance(rest.get(key), str | int | float):
            fields[name] = identifier(rest.pop(key), key)
    hosts = rest.get("host_names")
    if isinstance(hosts, str):
        hosts = [hosts]
    if isinstance(hosts, list) and all(isinstance(host, str) for host in hosts):
        fields["hosts"] = tuple(hosts)
        del rest["host_names"]
    if isinstance(rest.get("telemetry"), Mapping):
        telemetry = dict(rest.pop("telemetry"))
        fields |= _telemetry(telemetry)
        if telemetry:
            rest["telemetry"] = telemetry
    if rest:
        fields["metadata"] = json_text(rest)[0]
    return Context(**fields) if fields else None


def _telemetry(telemetry: dict[str, Any]) -> dict[str, Any]:
    """Take the known measurements out of the dictionary."""
    found: dict[str, Any] = {}
    for key in (*_BYTES, *_SECONDS):
        value = telemetry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not _LONG.start <= value < _LONG.stop - 1024:  # also false for NaN
            continue
        found[key] = float(value) if key in _SECONDS else round(value)
        del telemetry[key]
    return found


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
