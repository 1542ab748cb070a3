"""Serialise values as RDF terms of SPARQL: whatever the value, the result is exactly one term.

The grammar is SPARQL 1.1 section 19.8; faults row 37 has the attacks this must withstand.
"""

from __future__ import annotations

import math
import re

from headstream.query_api.errors import InvalidValue
from headstream.schemas.vocabulary import PREFIXES

_ZEROS = re.compile(r"(?:\.0+|(\.[0-9]*[1-9])0+)(?=[Z+-]|$)")

XSD = PREFIXES["xsd"]

# What SPARQL forbids inside <...>; a codepoint escape needs the backslash, so it is shut out too.
_ILLEGAL = re.compile(r"[\x00-\x20<>\"{}|^`\\\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_CURIE = re.compile(r"([A-Za-z][A-Za-z0-9]*):(?!//)(.*)", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_SURROGATE = re.compile("[\ud800-\udfff]")

_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
    **{chr(code): f"\\U{code:08X}" for code in (*range(0x08), 0x0B, *range(0x0E, 0x20), 0x7F)},
}
_SPECIAL = re.compile(r"\\[uU]|[\x00-\x1f\x7f\"\\]")


def string(text: str) -> str:
    """A plain literal. Raises InvalidValue for a lone surrogate, which has no UTF-8 form."""
    if _SURROGATE.search(text):
        raise InvalidValue("a text holds half of a surrogate pair", remedy="send valid Unicode")
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    special = match.group()
    if len(special) == 2:
        # `\u0022` in the value: section 19.2 decodes codepoint escapes before the grammar, and engines
        # disagree whether `\\u0022` is one. With the u escaped as well both readings give the value
        # (in eight digits: rdflib would take a hex digit that follows into a shorter escape).
        return f"\\\\\\U{ord(special[1]):08X}"
    return _ESCAPES[special]


def iri(text: str, *, base: str) -> str:
    """An absolute IRI, a CURIE of a known prefix, or an id relative to the instance base (spec 5.2).

    Raises InvalidValue for anything that could not stand between < and >.
    """
    full = absolute(text, base=base)
    illegal = _ILLEGAL.search(full)
    if illegal:
        raise InvalidValue(
            f"{text[:200]!r} cannot be an IRI: it holds {illegal.group()!r}",
            remedy="percent-encode it, for example a space as %20",
        )
    if not _SCHEME.match(full):
        raise InvalidValue(f"{text[:200]!r} is no absolute IRI, not even after the base {base!r}")
    return f"<{full}>"


def absolute(text: str, *, base: str) -> str:
    """Resolve a CURIE or a relative id; what has another scheme stays as it is. Checks nothing."""
    if not text:
        raise InvalidValue("an IRI cannot be empty", remedy="give one such as provml:Training")
    curie = _CURIE.fullmatch(text)
    if curie and curie.group(1) in PREFIXES:
        return PREFIXES[curie.group(1)] + curie.group(2)
    return text if _SCHEME.match(text) else base + text


def integer(value: object) -> str:
    """An xsd:integer of at most 18 digits, from a number or its decimal text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _not(value, "a whole number such as 400")
    text = str(value) if not isinstance(value, int) or abs(value) < 10**18 else "too long"
    if not _INTEGER.fullmatch(text) or not text.isascii():
        raise _not(value, "a whole number such as 400")
    return str(int(text))


def double(value: object) -> str:
    """A finite xsd:double, from a number or its decimal text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _not(value, "a number such as 2.5")
    if isinstance(value, str) and not _DOUBLE.fullmatch(value):
        raise _not(value, "a number such as 2.5")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise _not(value, "a finite number such as 2.5") from None
    if not math.isfinite(number):
        raise _not(value, "a finite number such as 2.5")
    return f'"{number!r}"^^<{XSD}double>'


def _not(value: object, wanted: str) -> InvalidValue:
    shown = repr(value) if isinstance(value, str | float | bool) or value is None else type(value).__name__
    return InvalidValue(f"{shown[:200]} is not {wanted}")


def without_trailing_zeros(text: str) -> str:
    """A date-time without zeros at the end of its fraction, which one store keeps and another does not."""
    return _ZEROS.sub(lambda match: match.group(1) or "", text)
