"""Decide whether raw SPARQL may go to the store: plain reads only (faults rows 38 and 39).

1. The text is read in every way in which an engine may decode codepoint escapes (SPARQL 1.1, section 19.2).
2. In each reading no word that writes or reaches outside the store may stand as a word of the language.
3. It must be small enough to be parsed (headstream.query_api.complexity).
4. pyoxigraph's parser must accept it. Nothing is evaluated: the query is given a substitution for a
   variable that it does not have, which the engine refuses after parsing and before running anything
   (evaluating would make ASK { SERVICE ... } call out, and let a cartesian product run in the guard).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TypeAlias

import pyoxigraph

from headstream.query_api.complexity import measure
from headstream.query_api.errors import QueryRefused
from headstream.query_api.tokens import Kind, NotSparql, Token, tokens

Term: TypeAlias = pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal | pyoxigraph.Triple


class Form(Enum):
    """The four forms of a SPARQL query."""

    SELECT = "SELECT"
    ASK = "ASK"
    CONSTRUCT = "CONSTRUCT"
    DESCRIBE = "DESCRIBE"


# No legal word of a query contains one of these, so `trueSERVICE`, which lenient parsers read as two
# words, is caught as well.
_FORBIDDEN = {
    "SERVICE": "it would make the store call another host",
    "FROM": "it would make the store read another graph or file",
    "LOAD": "it would make the store read another host or file",
    **dict.fromkeys(
        ("INSERT", "DELETE", "DROP", "CLEAR", "CREATE", "COPY", "MOVE", "ADD", "USING", "WITH"),
        "it belongs to SPARQL Update, and this API only reads",
    ),
}
# `SERVICE:x` is the word SERVICE and the name `:x` to a lenient parser.
_FORBIDDEN_IN_PREFIX = ("SERVICE", "FROM")
_GLUED = re.compile(r"\.(?:service|from)", re.IGNORECASE)

# Java's reader takes more than one u, and only after an odd number of backslashes; rdflib's takes any.
_ANY_ESCAPE = re.compile(r"\\u+([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})")
_ODD_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)(?:\\u+([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8}))")

_PROBE_NAME = "headstream_guard_probe"
_PROBE: dict[pyoxigraph.Variable, Term] = {pyoxigraph.Variable(_PROBE_NAME): pyoxigraph.Literal("")}
_REWRITE = "write a query of the form SELECT, ASK, CONSTRUCT or DESCRIBE over the store's own graph"


def check(text: str, *, max_bytes: int = 64 * 1024) -> Form:
    """Return the form of a query that only reads; raises QueryRefused for everything else."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise QueryRefused("the query holds half of a surrogate pair", remedy="send valid UTF-8") from None
    if size > max_bytes:
        raise QueryRefused(f"the query has {size} bytes, more than {max_bytes}", remedy="make it shorter")
    for reading in _readings(text):
        if _PROBE_NAME in reading:
            raise QueryRefused(f"the query uses the name {_PROBE_NAME}", remedy="rename it")
        _demand_harmless(reading)
    form = _form(tokens(text))
    _demand_syntax(text)
    return form


def _readings(text: str) -> tuple[str, ...]:
    try:
        naive = _ANY_ESCAPE.sub(lambda m: chr(int(m.group(1) or m.group(2), 16)), text)
        careful = _ODD_ESCAPE.sub(lambda m: m.group(1) + chr(int(m.group(2) or m.group(3), 16)), text)
    except (ValueError, OverflowError):
        raise QueryRefused("a codepoint escape names no character") from None
    return tuple(dict.fromkeys((text, naive, careful)))


def _demand_harmless(text: str) -> None:
    try:
        cut = tokens(text)
    except NotSparql as wrong:
        raise QueryRefused(f"the query is malformed: {wrong}", remedy=_REWRITE) from None
    for token in cut:
        word = _forbidden_word(token)
        if word:
            raise QueryRefused(
                f"{token.text[:60]!r} at character {token.start} is not allowed: {_FORBIDDEN[word]}",
                remedy=_REWRITE + (", or rename the prefix" if token.kind is Kind.PREFIXED else ""),
            )
    excess = measure(cut).excess
    if excess:
        raise QueryRefused(
            f"the query is too large: {excess}", remedy="split it, or use VALUES for long lists"
        )


def _forbidden_word(token: Token) -> str | None:
    if token.kind is Kind.WORD:
        upper = token.text.upper()
        return next((word for word in _FORBIDDEN if word in upper), None)
    if token.kind is Kind.PREFIXED:
        prefix, _, local = token.text.upper().partition(":")
        return next((word for word in _FORBIDDEN_IN_PREFIX if word in prefix), _glued(local))
    return _glued(token.text) if token.kind is Kind.BLANK else None


def _glued(name: str) -> str | None:
    match = _GLUED.search(name)
    return match.group()[1:].upper() if match else None


def _form(cut: tuple[Token, ...]) -> Form:
    code = [token for token in cut if token.kind is not Kind.COMMENT]
    index = 0
    while index < len(code) and code[index].text.upper() in ("PREFIX", "BASE"):
        index += 3 if code[index].text.upper() == "PREFIX" else 2
    first = code[index].text.upper() if index < len(code) else ""
    try:
        return Form(first)
    except ValueError:
        shown = first[:40] or "nothing"
        raise QueryRefused(f"the query begins with {shown!r}", remedy=_REWRITE) from None


def _demand_syntax(text: str) -> None:
    try:
        pyoxigraph.Store().query(text, substitutions=_PROBE)
    except SyntaxError as wrong:
        raise QueryRefused(f"the query is malformed: {str(wrong)[:300]}", remedy=_REWRITE) from None
    except RuntimeError:
        return  # Parsed; refused for the probe variable, as it should be.
    raise QueryRefused("the query could not be parsed without running it", remedy=_REWRITE)
