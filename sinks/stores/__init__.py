"""Graph stores that the sink can write to."""

from headstream.sinks.stores.blazegraph import BlazegraphStore
from headstream.sinks.stores.locations import open_store
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.room import Room
from headstream.sinks.stores.sparql import SparqlStore, SparqlUpdateStore
from headstream.sinks.stores.store import MemoryStore, Store, Written

__all__ = [
    "BlazegraphStore",
    "MemoryStore",
    "OxigraphStore",
    "Room",
    "SparqlStore",
    "SparqlUpdateStore",
    "Store",
    "Written",
    "open_store",
]
