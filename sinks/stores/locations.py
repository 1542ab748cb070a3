"""Which store a location means."""

from __future__ import annotations

from pathlib import Path

from headstream.sinks.errors import ConfigurationError
from headstream.sinks.stores.blazegraph import BlazegraphStore
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.sparql import SparqlStore
from headstream.sinks.stores.store import MemoryStore, Store


def open_store(location: str) -> Store:
    """Open what HEADSTREAM_STORE_URL names.

    "oxigraph:PATH" is a folder, "oxigraph:" and "memory:" are gone with the process,
    "blazegraph:URL" the SPARQL endpoint of a namespace, "graph-store:URL" any graph-store endpoint.
    A bare http URL with a /namespace/ in it is Blazegraph, any other a graph store.
    """
    kind, _, rest = location.partition(":")
    if location.startswith("oxigraph:"):
        return OxigraphStore(Path(rest) if rest else None)
    if location == "memory:":
        return MemoryStore()
    url = rest if kind in ("blazegraph", "graph-store") else location
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{location!r} names no store: give http://HOST:PORT/blazegraph/namespace/NAME/sparql, "
            "graph-store:http://..., or oxigraph:PATH"
        )
    if kind == "blazegraph" or (kind != "graph-store" and "/namespace/" in url):
        return BlazegraphStore(url)
    return SparqlStore(url)
