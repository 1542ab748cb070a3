"""Any store that speaks the SPARQL 1.1 Graph Store HTTP Protocol (W3C, 2013)."""

from __future__ import annotations

from collections.abc import Iterator

from headstream.sinks.errors import StoreRefused
from headstream.sinks.stores.http import Http, first_line
from headstream.sinks.stores.store import Written

_CONFIRMED = frozenset({200, 201, 204})


class SparqlStore:
    """The default graph behind a graph-store endpoint; `url` is that endpoint, without `?default`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = Http(url)

    def write(self, ntriples: bytes) -> Written:
        """Merge triples into the default graph (section 5.5 of the protocol)."""
        headers = {"Content-Type": "application/n-triples"}
        answer = self._http.post(ntriples, headers, {"default": ""})
        refusal = answer.refusal()
        if refusal is None and answer.status == 400:
            refusal = StoreRefused(f"{self.url} refused the statements (400): {first_line(answer.text)}")
        if refusal is not None:
            raise refusal
        if answer.status not in _CONFIRMED or answer.text.lstrip()[:1] == "<":
            raise answer.unavailable()  # A page with status 200 is the answer of some proxy.
        return Written(modified=None, seconds=answer.seconds)

    def size(self) -> int:
        """Count the triples by reading them all: the protocol has no count."""
        return sum(block.count(b"\n") for block in self.dump())

    def dump(self) -> Iterator[bytes]:
        yield from self._http.stream({"Accept": "application/n-triples"}, {"default": ""})

    def close(self) -> None:
        self._http.close()
