"""One hash for a graph, the same for equal graphs in whatever store, order and spelling (oracle 2).

Stores rewrite literals (spec section 5.4): Blazegraph writes 1.0E-5 for 0.00001 and lower-cases language
tags, Oxigraph the reverse. So literals are compared by value. The hash is the sum of the SHA-256
of the distinct triples, which needs no sorting.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import IO, Final

from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse

from headstream.schemas.values import canonical_json
from headstream.schemas.vocabulary import PREFIXES, expand
from headstream.sinks.errors import BlankNodeFound

_XSD: Final = PREFIXES["xsd"]
_STRING: Final = f"{_XSD}string"
_JSON: Final = f"{PREFIXES['rdf']}JSON"
_LANGUAGE: Final = f"{PREFIXES['rdf']}langString"
_WHOLE: Final = frozenset(
    f"{_XSD}{name}"
    for name in (
        "integer", "long", "int", "short", "byte", "nonNegativeInteger", "positiveInteger",
        "nonPositiveInteger", "negativeInteger", "unsignedLong", "unsignedInt", "unsignedShort",
        "unsignedByte",
    )
)  # fmt: skip
_FLOATS: Final = frozenset({f"{_XSD}double", f"{_XSD}float"})
_SPECIAL: Final = {"INF": "INF", "+INF": "INF", "-INF": "-INF", "NaN": "NaN"}
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+\Z", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII
)
_HELD: Final = 1_000_000  # Digests kept in memory; above, they go to files.
_BLOCK: Final = 1 << 20
BUCKETS: Final = 4096


def canonical(subject: str, predicate: str, value: Literal | str) -> bytes:
    """Return one text for all spellings of a triple; IRIs as text, a literal as pyoxigraph reads it."""
    return f"<{subject}> <{predicate}> {_term(value)}".encode()


def canonical_literal(text: str, datatype: str, language: str | None = None) -> str:
    """Return one text for all spellings of a literal; what does not fit its datatype stays as it is."""
    if language is not None:
        return f"{json.dumps(text)}@{language.lower()}"
    if datatype == _STRING:
        return json.dumps(text)
    return f"{json.dumps(_by_value(text, datatype))}^^<{datatype}>"


def _by_value(text: str, datatype: str) -> str:
    if datatype in _WHOLE:
        return _integer(text)
    if datatype in _FLOATS:
        if text in _SPECIAL:
            return _SPECIAL[text]
        # Adding zero turns -0.0 into 0.0: Blazegraph does not tell them apart.
        return repr(float(text) + 0.0) if _NUMBER.match(text) else text
    if datatype == f"{_XSD}decimal":
        return _decimal(text)
    if datatype == f"{_XSD}boolean":
        return {"1": "true", "0": "false"}.get(text, text)
    if datatype == f"{_XSD}dateTime":
        return _instant(text)
    if datatype == _JSON:
        return _json(text)
    return text


def _integer(text: str) -> str:
    if not _INTEGER.match(text):
        return text
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.removeprefix("+"))
    digits = digits.lstrip("0")  # As text: int() refuses more than 4,300 digits.
    return sign + digits if digits else "0"


def _decimal(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    plain = format(number, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return _integer(plain) if "." not in plain else plain


def _instant(text: str) -> str:
    found = _INSTANT.match(text)
    if found is None:
        return text
    *parts, fraction, zone = found.groups()
    try:
        moment = datetime(*map(int, parts))  # type: ignore[arg-type]
        if zone not in (None, "Z"):
            hours, minutes = int(zone[1:3]), int(zone[4:6])
            shift = timedelta(hours=hours, minutes=minutes)
            moment += -shift if zone[0] == "+" else shift
    except (ValueError, OverflowError):
        return text
    part = (fraction or "").rstrip("0")
    return f"{moment.isoformat()}{'.' + part if part else ''}{'' if zone is None else 'Z'}"


def _json(text: str) -> str:
    try:
        return canonical_json(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _term(value: Literal | str) -> str:
    if isinstance(value, str):
        return f"<{value}>"
    return canonical_literal(value.value, value.datatype.value, value.language)


def triples(lines: Iterable[bytes | str]) -> Iterator[tuple[str, bytes]]:
    """Yield predicate and canonical text of each triple of N-Triples, given as lines or blocks of lines.

    Raises SyntaxError for what is no N-Triples and BlankNodeFound.
    """
    for block in _blocks(lines):
        # Lenient: Blazegraph may hold IRIs that others wrote and a strict reader refuses.
        for quad in parse(block, RdfFormat.N_TRIPLES, lenient=True):
            subject, predicate, value = quad.subject, quad.predicate, quad.object
            if isinstance(subject, NamedNode) and isinstance(value, NamedNode):
                yield predicate.value, canonical(subject.value, predicate.value, value.value)
            elif isinstance(subject, NamedNode) and isinstance(value, Literal):
                yield predicate.value, canonical(subject.value, predicate.value, value)
            else:
                assert isinstance(subject, BlankNode | Triple | NamedNode)
                raise BlankNodeFound(
                    f"{subject} {predicate} {value} has a blank node, which headstream never writes"
                )


def graph_hash(lines: Iterable[bytes | str], *, without: Collection[str] = frozenset()) -> str:
    """Return the hash of a graph, leaving out triples of the predicates in `without` (names or IRIs)."""
    return fingerprint(lines, without=without).hash


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a graph and of each of its BUCKETS parts; triples are parted by their digest."""

    parts: tuple[int, ...]

    @property
    def hash(self) -> str:
        return f"{sum(self.parts) % 2**256:064x}"


def fingerprint(lines: Iterable[bytes | str], *, without: Collection[str] = frozenset()) -> Fingerprint:
    """The hashes of a graph, in bounded memory."""
    left_out = frozenset(map(expand, without))
    with _Distinct() as distinct:
        for predicate, text in triples(lines):
            if predicate not in left_out:
                distinct.add(sha256(text).digest())
        return Fingerprint(tuple(distinct.sums()))


def bucket(digest: bytes) -> int:
    """The part of its graph that a triple belongs to."""
    return (digest[0] << 4) | (digest[1] >> 4)


def _blocks(lines: Iterable[bytes | str]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        data = line.encode() if isinstance(line, str) else line
        held.append(data if data.endswith(b"\n") else data + b"\n")
        size += len(data)
        if size >= _BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


class _Distinct:
    """The sum of distinct digests modulo 2**256, in bounded memory: above a million, they go to files."""

    def __init__(self) -> None:
        self._held: set[bytes] = set()
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> _Distinct:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()

    def add(self, digest: bytes) -> None:
        self._held.add(digest)
        if len(self._held) >= _HELD:
            self._spill()

    def sums(self) -> list[int]:
        """The sum of the distinct digests of each bucket."""
        sums = [0] * BUCKETS
        if not self._files:
            _sum_into(sums, self._held)
            return sums
        self._spill()
        for file in self._files:  # Equal digests are in one file.
            file.seek(0)
            data = file.read()
            _sum_into(sums, {data[place : place + 32] for place in range(0, len(data), 32)})
        return sums

    def _spill(self) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile() for _ in range(64)]  # noqa: SIM115 - closed on exit
        for digest in self._held:
            self._files[digest[0] & 63].write(digest)
        self._held.clear()


def _sum_into(sums: list[int], digests: Iterable[bytes]) -> None:
    for digest in digests:
        sums[bucket(digest)] += int.from_bytes(digest)
