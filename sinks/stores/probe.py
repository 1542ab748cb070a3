"""Whether a store still holds what was once written into it: a few triples stand for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import pyoxigraph as oxigraph

from headstream.sinks.errors import StoreUnknown
from headstream.sinks.stores.blazegraph import BlazegraphStore
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.store import MemoryStore, Store


def witness(ntriples: bytes) -> str | None:
    """A triple that a store gives back as it was written: one between two IRIs, the last there is."""
    end = len(ntriples)
    while end > 0:
        start = ntriples.rfind(b"\n", 0, end - 1) + 1
        line = ntriples[start:end]
        if line.endswith(b"> .\n") and b'"' not in line:
            return line.decode().removesuffix("\n")
        end = start
    return None


def holds(store: Store, triples: Sequence[str]) -> bool:
    """Whether the store has all of these triples; False too for a store that cannot be asked."""
    if isinstance(store, OxigraphStore):
        found = oxigraph.parse("\n".join(triples), oxigraph.RdfFormat.N_TRIPLES)
        return all(quad in store.graph for quad in found)
    if isinstance(store, MemoryStore):
        return all(f"{triple}\n".encode() in store.lines for triple in triples)
    if isinstance(store, BlazegraphStore):
        try:
            return all(store.ask(f"ASK {{ {triple} }}") for triple in triples)
        except ValueError as error:
            raise StoreUnknown(f"{store.url} did not answer whether it holds a triple: {error}") from error
    return False
