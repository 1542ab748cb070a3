"""A node of the graph with what it is the subject of, its literals written in one way for one value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from pyoxigraph import BlankNode, Literal, NamedNode, Triple

from headstream.query_api.terms import without_trailing_zeros
from headstream.schemas.values import double
from headstream.schemas.vocabulary import PREFIXES, expand

Term: TypeAlias = NamedNode | Literal | BlankNode | Triple

TYPE: Final = expand("rdf:type")
XSD: Final = PREFIXES["xsd"]
STRING: Final = XSD + "string"
INTEGER: Final = XSD + "integer"
DOUBLE: Final = XSD + "double"
BOOLEAN: Final = XSD + "boolean"
DATE_TIME: Final = XSD + "dateTime"
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """A subject and its edges, sorted: equal nodes of two stores are equal."""

    iri: str
    edges: tuple[tuple[str, Term], ...]

    @property
    def types(self) -> frozenset[str]:
        """The IRIs of its classes."""
        return frozenset(
            term.value for name, term in self.edges if name == TYPE and isinstance(term, NamedNode)
        )

    def terms(self, name: str) -> tuple[Term, ...]:
        """The objects of one predicate, by its prefixed name."""
        predicate = expand(name)
        return tuple(term for each, term in self.edges if each == predicate)

    def iris(self, name: str) -> tuple[str, ...]:
        """The IRIs to which one predicate leads."""
        return tuple(term.value for term in self.terms(name) if isinstance(term, NamedNode))

    def texts(self, name: str) -> tuple[str, ...]:
        """The literals of one predicate, as text."""
        return tuple(term.value for term in self.terms(name) if isinstance(term, Literal))

    def text(self, name: str) -> str | None:
        """The first literal of one predicate, if there is one."""
        return next(iter(self.texts(name)), None)

    def is_a(self, name: str) -> bool:
        """Tell whether it has a class, by its prefixed name."""
        return expand(name) in self.types


def node(iri: str, edges: Iterable[tuple[str, Term]]) -> Node:
    """Make a node: edges once each, in order, values in canonical form."""
    kept = {(predicate, canonical(term)) for predicate, term in edges}
    return Node(iri, tuple(sorted(kept, key=lambda edge: (edge[0], str(edge[1])))))


def canonical(term: Term) -> Term:
    """One text for one value: Oxigraph stores numbers by value, Blazegraph gives back what was written."""
    if not isinstance(term, Literal) or term.language:
        return term
    text = _canonical(term.value, term.datatype.value)
    return term if text == term.value else Literal(text, datatype=term.datatype)


def _canonical(text: str, datatype: str) -> str:
    try:
        if datatype == INTEGER:
            return str(int(text))
        if datatype in (DOUBLE, XSD + "float"):
            return double(float(text))
    except ValueError:
        return text  # An ill-typed literal is kept as it is.
    if datatype == XSD + "decimal":
        return _decimal(text)
    if datatype == BOOLEAN:
        return {"1": "true", "0": "false"}.get(text, text)
    if datatype == DATE_TIME:
        return without_trailing_zeros(text).replace("+00:00", "Z")
    return text


def _decimal(text: str) -> str:
    if not _DECIMAL.fullmatch(text):
        return text
    # As text: arithmetic, `normalize` too, would round to the digits of its context.
    whole, _, fraction = f"{Decimal(text):f}".partition(".")
    fraction = fraction.rstrip("0")
    if fraction:
        return f"{whole}.{fraction}"
    return "0" if whole == "-0" else whole
