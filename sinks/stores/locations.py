"""Which store a location means."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from headstream.sinks.errors import ConfigurationError
from headstream.sinks.stores.blazegraph import BlazegraphStore
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.room import FREE_BYTES
from headstream.sinks.stores.sparql import SparqlStore, SparqlUpdateStore
from headstream.sinks.stores.store import MemoryStore, Store

_KINDS: Final = ("blazegraph", "graph-store", "sparql-update")


def open_store(location: str, *, free_bytes: int = FREE_BYTES) -> Store:
    """Open what HEADSTREAM_STORE_URL names.

    "oxigraph:PATH" is a folder, "oxigraph:" and "memory:" are gone with the process,
    "blazegraph:URL" the SPARQL endpoint of a namespace, "graph-store:URL" any graph-store endpoint,
    "sparql-update:URL" an update endpoint; for the last two ",QUERY_URL" may follow.
    A bare http URL with a /namespace/ in it is Blazegraph, any other a graph store.
    """
    kind, _, rest = location.partition(":")
    if location.startswith("oxigraph:"):
        return OxigraphStore(Path(rest) if rest else None, free_bytes=free_bytes)
    if location == "memory:":
        return MemoryStore()
    url, _, query_url = (rest if kind in _KINDS else location).partition(",")
    if not all(one.startswith(("http://", "https://")) for one in (url, query_url or url)):
        raise ConfigurationError(
            f"{location!r} names no store: give http://HOST:PORT/blazegraph/namespace/NAME/sparql, "
            "graph-store:http://..., sparql-update:http://..., or oxigraph:PATH"
        )
    if kind == "blazegraph" or (kind not in _KINDS and "/namespace/" in url):
        return BlazegraphStore(url)
    if kind == "sparql-update":
        return SparqlUpdateStore(url, query_url or None)
    return SparqlStore(url, query_url or None)
