"""Answers in the forms that people and programs read: typed rows, JSON, CSV, text tables, triples."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyoxigraph
from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat

from headstream.query_api.guard import Term
from headstream.query_api.store import Graph, Table, Truth
from headstream.query_api.terms import without_trailing_zeros
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.values import double
from headstream.schemas.vocabulary import PREFIXES

# JSON-friendly: None, bool, int, finite float, str, or what an rdf:JSON literal holds.
Value: TypeAlias = Any

_XSD = PREFIXES["xsd"]
_INTEGERS = frozenset(
    [_XSD + name for name in ("integer", "int", "long", "short", "byte")]
    + [_XSD + f"unsigned{name}" for name in ("Int", "Long", "Short", "Byte")]
    + [_XSD + f"{sign}Integer" for sign in ("positive", "nonPositive", "negative", "nonNegative")]
)
_FLOATS = frozenset(_XSD + name for name in ("double", "float", "decimal"))
_JSON = PREFIXES["rdf"] + "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table of plain values; `truncated` means that there was more than the limits let through."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    truncated: bool = False

    def records(self) -> list[dict[str, Value]]:
        """Each row as a mapping of column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def rows_of(table: Table) -> Rows:
    """Make plain values of RDF terms."""
    rows = tuple(tuple(plain(term) for term in row) for row in table.rows)
    return Rows(columns=table.columns, rows=rows, truncated=table.truncated)


def plain(term: Term | None) -> Value:
    """A number as a number, NaN and INF as text, an IRI or date as text, rdf:JSON as what it holds."""
    if term is None:
        return None
    if isinstance(term, NamedNode):
        return term.value
    if not isinstance(term, Literal):
        return str(term)
    datatype = term.datatype.value
    try:
        if datatype in _INTEGERS:
            return int(term.value)
        if datatype in _FLOATS:
            number = float(term.value)
            return number if math.isfinite(number) else double(number)
        if datatype == _JSON:
            return json.loads(term.value, parse_constant=str)
    except ValueError:
        return term.value  # An ill-typed literal is still a text.
    if datatype == _XSD + "dateTime":
        # Blazegraph writes milliseconds always; without trailing zeros equal instants read the same.
        return without_trailing_zeros(term.value)
    if datatype == _XSD + "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(term.value, term.value)
    return term.value


def as_json(rows: Rows, **first: str) -> str:
    """One object with what is given first, columns, rows as objects, and whether the answer was cut."""
    content = {**first, "columns": rows.columns, "rows": rows.records(), "truncated": rows.truncated}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def as_csv(rows: Rows) -> str:
    """RFC 4180 with a header line; an absent value is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(rows.columns)
    writer.writerows([text_of(value) for value in row] for row in rows.rows)
    return out.getvalue()


def as_table(rows: Rows, *, base_iri: str = DEFAULT_BASE) -> str:
    """Aligned text; IRIs are shortened to instance ids and prefixed names, as in spec section 8."""
    shown = [[_shown(shorten(text_of(value), base_iri)) for value in row] for row in rows.rows]
    widths = [max([len(name), *(len(row[i]) for row in shown)]) for i, name in enumerate(rows.columns)]
    lines = [_line(rows.columns, widths), _line(["-" * width for width in widths], widths)]
    lines += [_line(row, widths) for row in shown]
    count = f"{len(shown)} row{'' if len(shown) == 1 else 's'}"
    lines.append(f"({count}, truncated: there are more)" if rows.truncated else f"({count})")
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _shown(text: str) -> str:
    """Keep a cell on its line and a terminal's control codes out of it."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def text_of(value: Value) -> str:
    """The value as a cell: nothing for None, `true`, compact JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def shorten(text: str, base_iri: str) -> str:
    """An instance IRI without its base, a vocabulary IRI with its prefix, all else as it is."""
    if text.startswith(base_iri):
        return text.removeprefix(base_iri)
    for prefix, namespace in PREFIXES.items():
        if text.startswith(namespace):
            return f"{prefix}:{text.removeprefix(namespace)}"
    return text


def as_sparql_json(answer: Table | Truth) -> str:
    """SPARQL 1.1 Query Results JSON."""
    if isinstance(answer, Truth):
        return json.dumps({"head": {}, "boolean": answer.value})
    bindings = [
        {name: _binding(term) for name, term in zip(answer.columns, row, strict=True) if term is not None}
        for row in answer.rows
    ]
    content = {"head": {"vars": answer.columns}, "results": {"bindings": bindings}}
    return json.dumps(content, ensure_ascii=False)


def _binding(term: Term) -> dict[str, Any]:
    if isinstance(term, NamedNode):
        return {"type": "uri", "value": term.value}
    if isinstance(term, BlankNode):
        return {"type": "bnode", "value": term.value}
    if isinstance(term, Literal):
        found = {"type": "literal", "value": term.value}
        if term.language:
            return {**found, "xml:lang": term.language}
        plain_string = term.datatype.value == _XSD + "string"
        return found if plain_string else {**found, "datatype": term.datatype.value}
    parts = {"subject": term.subject, "predicate": term.predicate, "object": term.object}
    return {"type": "triple", "value": {name: _binding(part) for name, part in parts.items()}}


def as_n_triples(graph: Graph) -> str:
    """Sorted lines, so that equal graphs without blank nodes are equal texts."""
    data = pyoxigraph.serialize(graph.triples, format=RdfFormat.N_TRIPLES) or b""
    lines = sorted(set(data.decode("utf-8").split("\n")) - {""})
    return _marked("".join(f"{line}\n" for line in lines), graph)


def as_turtle(graph: Graph) -> str:
    """Turtle with the prefixes of the vocabulary, sorted by subject."""
    triples = sorted(dict.fromkeys(graph.triples), key=str)
    data = pyoxigraph.serialize(triples, format=RdfFormat.TURTLE, prefixes=PREFIXES) or b""
    return _marked(data.decode("utf-8"), graph)


def _marked(text: str, graph: Graph) -> str:
    return text + "# truncated: the store had more\n" if graph.truncated else text
