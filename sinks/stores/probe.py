"""Whether a store still holds what was once written into it: a few triples stand for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import pyoxigraph as oxigraph

from headstream.sinks.stores.blazegraph import BlazegraphStore
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.sparql import SparqlStore, SparqlUpdateStore
from headstream.sinks.stores.store import MemoryStore, Store


def holds(store: Store, triples: Sequence[str]) -> bool:
    """Whether the store has all of these triples; False too for a store that cannot be asked."""
    if isinstance(store, OxigraphStore):
        found = oxigraph.parse("\n".join(triples), oxigraph.RdfFormat.N_TRIPLES)
        return all(quad in store.graph for quad in found)
    if isinstance(store, MemoryStore):
        return all(f"{triple}\n".encode() in store.lines for triple in triples)
    if isinstance(store, (BlazegraphStore, SparqlStore, SparqlUpdateStore)) and store.queries is not None:
        return all(map(store.queries.holds, triples))
    return False
