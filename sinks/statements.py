"""Facts to N-Triples (spec section 5.4, W3C RDF 1.1 N-Triples) without an RDF library on the way.

The text is UTF-8 with literals escaped as in JSON, whose escapes are a subset of those of N-Triples.
Characters beyond ASCII are never written as `\\UXXXXXXXX`: Blazegraph keeps only the last four digits.
Texts are plain literals, without ^^xsd:string, which is another term to Blazegraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from json.encoder import encode_basestring as quoted  # In C: 5 times faster than a regular expression.
from typing import Final, Protocol

from pyoxigraph import Literal, NamedNode

from headstream.schemas.facts import (
    BOOLEAN,
    DATE_TIME,
    DOUBLE,
    ID,
    INTEGER,
    IRI,
    JSON,
    STRING,
    TERM,
    Fact,
    Identified,
)
from headstream.schemas.vocabulary import PREFIXES, expand
from headstream.sinks.errors import IllegalFact

XSD_STRING: Final = PREFIXES["xsd"] + "string"
_DATATYPES: Final[dict[str, str]] = {
    STRING: XSD_STRING,
    INTEGER: PREFIXES["xsd"] + "integer",
    DOUBLE: PREFIXES["xsd"] + "double",
    BOOLEAN: PREFIXES["xsd"] + "boolean",
    DATE_TIME: PREFIXES["xsd"] + "dateTime",
    JSON: PREFIXES["rdf"] + "JSON",
}
# What RFC 3987 forbids inside <...>, or allows only once, as bytes; and a % that begins no escape.
_DOUBTFUL: Final = bytes(range(0x21)) + b'<>"{}|^`\\[]#\x7f'
_BARE_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
# Types that only a language tag gives.
_NO_DATATYPE: Final = frozenset(PREFIXES["rdf"] + name for name in ("langString", "dirLangString"))
SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LIMIT: Final = 100_000  # Names remembered between messages: some 20 MB.


class Renderer(Protocol):
    """Makes of facts what one kind of store takes; `Store.renderer` says which."""

    def render(self, facts: Sequence[Fact]) -> bytes:
        """Return statements, which may stand before and behind others; raises IllegalFact."""

    def document(self, parts: Iterable[bytes], statements: int) -> bytes:
        """Put what was rendered together, as a request holds it."""


class NTriplesRenderer:
    """Renders facts against one instance base and remembers the names it has checked.

    A strict parser takes whatever it renders, so a store need not check it once more (`stores/oxigraph.py`).
    Of use to one thread. The memory only saves time: the text is a pure function of the facts.
    """

    __slots__ = ("_base", "_names", "_nodes", "_suffixes", "_terms")

    def __init__(self, base: str) -> None:
        self._base = base
        check_base(base)
        self._nodes: dict[str, str] = {}  # relative or absolute IRI -> <IRI>
        self._names: dict[str, str] = {}  # predicate -> " <IRI> ", as predicates stand
        self._terms: dict[str, str] = {}  # prefixed name -> "<IRI> .\n", as objects stand
        self._suffixes: dict[str, str] = {}  # kind -> what follows the text of such a literal

    def render(self, facts: Sequence[Fact]) -> bytes:
        """Return the facts as N-Triples, one a line; raises IllegalFact and then keeps nothing of them."""
        nodes, names, terms, suffixes = self._nodes, self._names, self._terms, self._suffixes
        base = self._base
        fresh: list[str] = []
        lines: list[str] = []
        add = lines.append
        try:
            for subject, predicate, kind, text in facts:
                if (node := nodes.get(subject)) is None:
                    node = self._node(subject, base, fresh)
                if (name := names.get(predicate)) is None:
                    name = self._name(predicate)
                if kind == ID:
                    if (target := nodes.get(text)) is None:
                        target = self._node(text, base, fresh)
                    add(f"{node}{name}{target} .\n")
                elif (suffix := suffixes.get(kind)) is not None:
                    add(f"{node}{name}{quoted(text)}{suffix}")
                elif kind == TERM:
                    add(f"{node}{name}{terms.get(text) or self._term(text)}")
                elif kind == IRI:
                    add(f"{node}{name}<{check_iri(text)}> .\n")
                else:
                    add(f"{node}{name}{quoted(text)}{self._suffix(kind)}")
            check_names(base, fresh)
        except IllegalFact:
            for doubtful in fresh:
                nodes.pop(doubtful, None)
            raise
        if len(nodes) > _LIMIT:
            nodes.clear()
        document = "".join(lines)
        try:
            return document.encode()
        except UnicodeEncodeError:  # Lone surrogates have no UTF-8 form (faults.md row 35).
            return SURROGATE.sub("\ufffd", document).encode()

    def document(self, parts: Iterable[bytes], statements: int) -> bytes:
        return b"".join(parts)

    def _node(self, text: str, base: str, fresh: list[str]) -> str:
        if ":" in text:
            node = f"<{check_iri(text)}>"
        else:
            node = f"<{base}{text}>"
            fresh.append(text)
        self._nodes[text] = node
        return node

    def _name(self, name: str) -> str:
        if len(self._names) > _LIMIT:
            self._names.clear()
        text = self._names[name] = f" <{check_iri(expand(name))}> "
        return text

    def _term(self, name: str) -> str:
        if len(self._terms) > _LIMIT:
            self._terms.clear()
        text = self._terms[name] = f"<{check_iri(expand(name))}> .\n"
        return text

    def _suffix(self, kind: str) -> str:
        datatype, language = literal(kind)
        suffix = f"@{language} .\n" if language else f"^^<{datatype}> .\n" if datatype else " .\n"
        if len(self._suffixes) < _LIMIT:
            self._suffixes[kind] = suffix
        return suffix


def literal(kind: str) -> tuple[str, str]:
    """Return datatype and language tag of a kind of literal, both empty for text; raises IllegalFact."""
    datatype = _DATATYPES.get(kind)
    if datatype is None and kind.startswith("^^"):
        datatype = check_iri(kind[2:])
        if datatype in _NO_DATATYPE:
            raise IllegalFact(f"{kind!r} needs a language tag: give @TAG as the kind")
    if datatype is not None:
        return "" if datatype == XSD_STRING else datatype, ""
    if not kind.startswith("@"):
        raise IllegalFact(f"{kind!r} is no kind of object that a fact can have")
    try:
        Literal("", language=kind[1:])
    except ValueError as error:
        raise IllegalFact(f"{kind!r} is no language tag (BCP 47): {error}") from None
    return "", kind[1:]


def check_base(base: str) -> None:
    """Raise IllegalFact for a base that does not make IRIs of relative ones."""
    check_iri(base)
    check_iri(base + "a")  # http://host: is an IRI, http://host:a is none.


def check_names(base: str, names: Sequence[str]) -> None:
    """Check relative IRIs together, a hundred times cheaper than one by one; raises IllegalFact."""
    joined = "/".join(names)
    if (
        not joined.isascii()
        or len(joined.encode().translate(None, _DOUBTFUL)) != len(joined)
        or _BARE_PERCENT.search(joined)
    ):
        for name in names:
            check_iri(base + name)


def check_iri(text: str) -> str:
    """Return an absolute IRI as it is; raises IllegalFact for what a strict store would refuse.

    Blazegraph takes nearly anything, Oxigraph does not: both must hold the same graph.
    """
    try:
        NamedNode(text)
    except ValueError as error:
        raise IllegalFact(f"{text[:300]!r} is no absolute IRI: {error}") from None
    return text


def render(facts: Sequence[Fact], base: str) -> bytes:
    """Return facts as N-Triples; raises IllegalFact."""
    return NTriplesRenderer(base).render(facts)


def by_event(identified: Identified) -> list[tuple[Fact, ...]]:
    """Return the facts of each event of a message."""
    ends = list(accumulate(identified.counts))
    return [identified.facts[end - count : end] for end, count in zip(ends, identified.counts, strict=True)]


def statements(identified: Identified, base: str) -> list[bytes]:
    """Return the N-Triples of each event; raises IllegalFact, which names the event by its index."""
    renderer = NTriplesRenderer(base)
    documents = []
    for index, facts in enumerate(by_event(identified)):
        try:
            documents.append(renderer.render(facts))
        except IllegalFact as error:
            raise IllegalFact(f"event {index}: {error}", event=index) from None
    return documents
