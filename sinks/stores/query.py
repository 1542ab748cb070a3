"""Questions to the SPARQL query endpoint of a store: how much it holds, and whether it holds a triple."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from headstream.sinks.errors import StoreIncomplete, StoreUnknown
from headstream.sinks.stores.http import Http, first_line

_JSON: Final = {"Accept": "application/sparql-results+json"}
_COUNT: Final = "SELECT (COUNT(*) AS ?n) WHERE { ?s ?p ?o }"
_EVERYTHING: Final = "CONSTRUCT { ?s ?p ?o } WHERE { ?s ?p ?o }"


class QueryEndpoint:
    """SPARQL 1.1 queries over one HTTP client; an answer that is none raises StoreUnknown."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def count(self) -> int:
        """The number of triples."""
        answer, text = self._answer(_COUNT)
        try:
            return int(answer["results"]["bindings"][0]["n"]["value"])
        except (ValueError, LookupError, TypeError) as error:
            raise StoreUnknown(f"{self._http.url} did not answer a count: {first_line(text)}") from error

    def holds(self, triple: str) -> bool:
        """Whether the graph has this triple, given as a line of N-Triples."""
        answer, text = self._answer(f"ASK {{ {triple} }}")
        if not isinstance(answer, dict) or not isinstance(answer.get("boolean"), bool):
            raise StoreUnknown(
                f"{self._http.url} did not answer whether it holds a triple: {first_line(text)}"
            )
        return bool(answer["boolean"])

    def dump(self) -> Iterator[bytes]:
        """Yield the graph as N-Triples; StoreIncomplete if fewer came than there were at the start."""
        expected, seen = self.count(), 0
        for block in self._http.stream({"Accept": "application/n-triples"}, {"query": _EVERYTHING}):
            seen += block.count(b"\n")
            yield block
        if seen < expected:
            raise StoreIncomplete(f"the dump of {self._http.url} has {seen} of {expected} triples")

    def close(self) -> None:
        self._http.close()

    def _answer(self, query: str) -> tuple[Any, str]:
        text = self._http.get(_JSON, {"query": query})
        try:
            return json.loads(text), text
        except ValueError:
            return None, text
