"""Nodes as Turtle and as JSON-LD: one node after another, so that a run of any size fits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from pyoxigraph import Literal, NamedNode

from headstream.query_api.export.nodes import BOOLEAN, INTEGER, STRING, TYPE, Node, Term
from headstream.schemas.vocabulary import PREFIXES

Write = Callable[[str], object]

_LOCAL: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
# A relative IRI that no reader can take for anything else: no scheme, no segment that resolving removes.
_RELATIVE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9%~;=_.\-]*(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9%~;=_.\-]+)+")


def write_turtle(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """Turtle: one subject a line, as the worked example of the specification is written."""
    write(f"@base <{base_iri}> .\n")
    for prefix, namespace in PREFIXES.items():
        write(f"@prefix {prefix}: <{namespace}> .\n")
    for each in nodes:
        parts = [
            f"{'a' if predicate == TYPE else _named(predicate, base_iri)} "
            + ", ".join(_turtle(term, base_iri) for term in terms)
            for predicate, terms in by_predicate(each).items()
        ]
        write(f"{_named(each.iri, base_iri)} {' ; '.join(parts)} .\n")


def by_predicate(node: Node) -> dict[str, list[Term]]:
    """The objects of each predicate, classes first."""
    found: dict[str, list[Term]] = {TYPE: []}
    for predicate, term in node.edges:
        found.setdefault(predicate, []).append(term)
    return {predicate: terms for predicate, terms in found.items() if terms}


def relative(iri: str, base_iri: str) -> str:
    """The IRI without the instance base, where it means the same without it."""
    rest = iri.removeprefix(base_iri)
    return rest if rest != iri and base_iri.endswith("/") and _RELATIVE.fullmatch(rest) else iri


@lru_cache(maxsize=4096)  # Predicates and classes are few, and met at every node.
def curie(iri: str) -> str | None:
    """`prov:used` for an IRI of the vocabulary."""
    for prefix, namespace in PREFIXES.items():
        if iri.startswith(namespace) and _LOCAL.fullmatch(iri, len(namespace)):
            return f"{prefix}:{iri[len(namespace) :]}"
    return None


def _named(iri: str, base_iri: str) -> str:
    return curie(iri) or f"<{relative(iri, base_iri)}>"


def _turtle(term: Term, base_iri: str) -> str:
    if isinstance(term, NamedNode):
        return _named(term.value, base_iri)
    if isinstance(term, Literal) and not term.language and term.datatype.value != STRING:
        datatype, text = term.datatype.value, term.value
        if datatype == INTEGER and _INTEGER.fullmatch(text):
            return text
        if datatype == BOOLEAN and text in ("true", "false"):
            return text
        return f"{Literal(text)}^^{_named(datatype, base_iri)}"
    return str(term)


def context(base_iri: str) -> dict[str, Any]:
    """The JSON-LD context: the prefixes of the vocabulary, and the base of what happened here."""
    return {"@base": base_iri, **PREFIXES}


def write_json_ld(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """JSON-LD 1.1: a context and a graph, one node a line; every literal keeps its datatype and its text."""
    write(f'{{"@context": {_json(context(base_iri))},\n"@graph": [')
    between = "\n"
    for each in nodes:
        write(between + _json(json_ld(each, base_iri)))
        between = ",\n"
    write("\n]}\n")


def json_ld(node: Node, base_iri: str) -> dict[str, Any]:
    """One node as an object."""
    found: dict[str, Any] = {"@id": relative(node.iri, base_iri)}
    for predicate, terms in by_predicate(node).items():
        if predicate == TYPE:
            found["@type"] = [curie(str(getattr(term, "value", ""))) or term.value for term in terms]  # type: ignore[union-attr]
        else:
            found[curie(predicate) or predicate] = [_object(term, base_iri) for term in terms]
    return found


def _object(term: Term, base_iri: str) -> Mapping[str, str] | str:
    if isinstance(term, NamedNode):
        return {"@id": curie(term.value) or relative(term.value, base_iri)}
    if not isinstance(term, Literal):
        raise TypeError(f"{term} is neither an IRI nor a literal, and headstream writes no other")
    if term.language:
        return {"@value": term.value, "@language": term.language}
    if term.datatype.value == STRING:
        return term.value
    return {"@value": term.value, "@type": curie(term.datatype.value) or term.datatype.value}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
