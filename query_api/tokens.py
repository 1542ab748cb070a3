"""Cut SPARQL 1.1 text into tokens, so that words inside strings, IRIs and comments are never mistaken.

Follows the terminals of SPARQL 1.1 section 19.8: the longest match wins, and an IRI is tried before `<`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a token is."""

    COMMENT = "comment"
    IRI = "iri"
    STRING = "string"
    VARIABLE = "variable"
    PREFIXED = "prefixed name"
    BLANK = "blank node"
    LANGUAGE = "language tag"
    NUMBER = "number"
    WORD = "word"
    PUNCTUATION = "punctuation"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` is `source[start:end]`."""

    kind: Kind
    text: str
    start: int
    end: int


class NotSparql(ValueError):
    """The text has a character or an unclosed string that no SPARQL token can hold."""


_BASE = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d"
    "\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_U = f"{_BASE}_"
_CHARS = f"{_U}\\-0-9\u00b7\u0300-\u036f\u203f-\u2040"
# At most 256 characters: without a bound `a.a.a.` would be scanned to its end again from every letter.
_PREFIX = rf"[{_BASE}](?:[{_CHARS}.]{{0,254}}[{_CHARS}])?"
_PLX = r"%[0-9A-Fa-f]{2}|\\[_~.\-!$&'()*+,;=/?#@%]"
_LOCAL = rf"(?:[{_U}:0-9]|{_PLX})(?:(?:[{_CHARS}.:]|{_PLX})*(?:[{_CHARS}:]|{_PLX}))?"
_ESCAPE = r"\\[tbnrf\\\"'uU]"

_TOKEN = re.compile(
    "|".join(
        (
            r"(?P<SPACE>[ \t\r\n]+)",
            r"(?P<COMMENT>#[^\r\n]*)",
            r"(?P<IRI><[^\x00-\x20<>\"{}|^`]*>)",
            rf'(?P<STRING>"""(?:"{{0,2}}(?:[^"\\]|{_ESCAPE}))*"""'
            rf"|'''(?:'{{0,2}}(?:[^'\\]|{_ESCAPE}))*'''"
            rf'|"(?:[^"\\\n\r]|{_ESCAPE})*"|\'(?:[^\'\\\n\r]|{_ESCAPE})*\')',
            rf"(?P<VARIABLE>[?$][{_U}0-9][{_U}0-9\u00b7\u0300-\u036f\u203f-\u2040]*)",
            rf"(?P<BLANK>_:[{_U}0-9](?:[{_CHARS}.]*[{_CHARS}])?)",
            rf"(?P<PREFIXED>(?:{_PREFIX})?:(?:{_LOCAL})?)",
            r"(?P<LANGUAGE>@[A-Za-z]+(?:-[A-Za-z0-9]+)*)",
            r"(?P<NUMBER>(?:[0-9]+\.[0-9]*|\.?[0-9]+)(?:[eE][+-]?[0-9]+)?)",
            r"(?P<WORD>[A-Za-z_][A-Za-z0-9_]*)",
            r"(?P<PUNCTUATION>\^\^|&&|\|\||!=|<=|>=|[{}()\[\].;,*/+\-=<>!|^?&])",
        )
    )
)


def tokens(text: str) -> tuple[Token, ...]:
    """Cut the text into tokens, comments included; raises NotSparql where no token fits."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotSparql(f"no SPARQL token begins with {text[position : position + 12]!r} at {position}")
        name = match.lastgroup or ""
        # An unclosed string must not fall apart into quotes and words: quotes are no punctuation above.
        if name != "SPACE":
            found.append(Token(Kind[name], match.group(), match.start(), match.end()))
        position = match.end()
    return tuple(found)
