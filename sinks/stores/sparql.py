"""Any store that speaks the SPARQL 1.1 Graph Store HTTP Protocol, or SPARQL 1.1 Update (W3C, 2013)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from headstream.sinks.errors import StoreRefused, StoreUnknown
from headstream.sinks.statements import NTriplesRenderer
from headstream.sinks.stores.http import Answer, Http, first_line
from headstream.sinks.stores.query import QueryEndpoint
from headstream.sinks.stores.store import Written
from headstream.sinks.stores.witness import witness

_CONFIRMED: Final = frozenset({200, 201, 204})
_PAGE: Final = re.compile(r"\s*<(!doctype\s|html)", re.IGNORECASE)
# A text that holds \u or \U itself: before its string is read, SPARQL takes that for a character.
_LOOKS_ESCAPED: Final = re.compile(rb"(?<!\\)((?:\\\\)+)([uU])")


class SparqlStore:
    """The default graph behind a graph-store endpoint; `url` is that endpoint, without `?default`.

    With `query_url` each write is checked by asking for its last triple. Without it an answer that
    says success is believed, be it that of a proxy.
    """

    def __init__(self, url: str, query_url: str | None = None) -> None:
        self.url = url
        self._http = Http(url)
        self.queries = QueryEndpoint(Http(query_url)) if query_url else None

    def renderer(self, base: str) -> NTriplesRenderer:
        return NTriplesRenderer(base)

    def write(self, ntriples: bytes) -> Written:
        """Merge triples into the default graph (section 5.5 of the protocol)."""
        headers = {"Content-Type": "application/n-triples"}
        answer = self._http.post(ntriples, headers, {"default": ""})
        _demand_confirmed(answer, self.url)
        # Fuseki counts the statements it read, repeats and all.
        count, sent = _counted(answer.text), ntriples.count(b"\n")
        if count is not None and count < sent:
            raise StoreUnknown(f"{self.url} took only {count} of {sent} statements")
        _demand_held(self.queries, ntriples, self.url)
        return Written(modified=count, seconds=answer.seconds)

    def size(self) -> int:
        """Count the triples: by a query where one can be asked, else by reading them all."""
        if self.queries is not None:
            return self.queries.count()
        return sum(block.count(b"\n") for block in self.dump())

    def dump(self) -> Iterator[bytes]:
        yield from self._http.stream({"Accept": "application/n-triples"}, {"default": ""})

    def close(self) -> None:
        self._http.close()
        if self.queries is not None:
            self.queries.close()


class SparqlUpdateStore:
    """The default graph behind a SPARQL 1.1 update endpoint, for stores without a graph-store one.

    Slower (`INSERT DATA` is parsed as a query), so the second choice. Each write is checked by asking
    the query endpoint for its last triple.
    """

    def __init__(self, url: str, query_url: str | None = None) -> None:
        self.url = url
        self._http = Http(url)
        self.queries = QueryEndpoint(Http(query_url or url))

    def renderer(self, base: str) -> NTriplesRenderer:
        return NTriplesRenderer(base)

    def write(self, ntriples: bytes) -> Written:
        """Add triples by one `INSERT DATA`, which is atomic where the store's updates are."""
        body = b"INSERT DATA {\n" + in_query(ntriples) + b"}"
        answer = self._http.post(body, {"Content-Type": "application/sparql-update"})
        _demand_confirmed(answer, self.url)
        _demand_held(self.queries, ntriples, self.url)
        return Written(modified=None, seconds=answer.seconds)

    def size(self) -> int:
        return self.queries.count()

    def dump(self) -> Iterator[bytes]:
        return self.queries.dump()

    def close(self) -> None:
        self._http.close()
        self.queries.close()


def in_query(ntriples: bytes) -> bytes:
    r"""Return N-Triples as the data of an update: the same triples, whatever their texts hold.

    SPARQL replaces \uXXXX anywhere in a query before it reads its strings (19.2), so a text with a
    backslash before a u could end its own string.
    """
    if b"\\\\u" not in ntriples and b"\\\\U" not in ntriples:
        return ntriples
    return _LOOKS_ESCAPED.sub(lambda found: found[1] + b"\\u%04X" % ord(found[2]), ntriples)


def _demand_confirmed(answer: Answer, url: str) -> None:
    """Raise what an answer means that does not confirm a write."""
    refusal = answer.refusal()
    if refusal is None and answer.status == 400:
        refusal = StoreRefused(f"{url} refused the statements (400): {first_line(answer.text)}")
    if refusal is not None:
        raise refusal
    if answer.status not in _CONFIRMED or _PAGE.match(answer.text):
        raise answer.unavailable()  # A page with status 200 is the answer of some proxy.


def _demand_held(queries: QueryEndpoint | None, ntriples: bytes, url: str) -> None:
    triple = witness(ntriples) if queries is not None else None
    if queries is not None and triple is not None and not queries.holds(triple):
        raise StoreUnknown(f"{url} said that it has written, but does not hold {triple}")


def _counted(text: str) -> int | None:
    """How many statements the store says that it read, if it says so."""
    if not text.startswith("{"):
        return None
    try:
        count = json.loads(text).get("count")
    except ValueError:
        return None
    return count if isinstance(count, int) else None
