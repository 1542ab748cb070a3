"""The engines with the graph in them: Blazegraph and Oxigraph on disk, rdflib in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import rdflib
from load_tests.questions import graph
from load_tests.questions.runs import Shape

from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.guard import Form
from headstream.query_api.store import Limits, OxigraphStore, Table
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.services.blazegraph import (
    BlazegraphService,
    create_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.ports import free_ports
from headstream.sinks.statements import NTriplesRenderer
from headstream.sinks.stores import Store, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """The graph to ask, how it is made, and where it is kept."""

    runs: int
    shape: Shape
    folder: Path
    heap: str
    namespace: str
    workers: int

    @property
    def triples(self) -> int:
        return graph.triples(self.runs, self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What an engine holds; `seconds` and `statements` are 0 where it was filled before."""

    triples: int
    statements: int
    seconds: float


class OtherGraph(Exception):
    """The folder holds another graph than the one that is to be asked, so its figures would be of that."""


class Engine(Protocol):
    """Answers a query with rows of terms, as they come."""

    filled: Filled
    location: str | None  # Where a writer can write meanwhile.

    def ask(self, text: str, *, best_as_written: bool, seconds: float) -> Table: ...


@dataclass(slots=True)
class _Asking:
    """An engine that the query API can ask."""

    store: SparqlEndpoint | OxigraphStore
    filled: Filled
    location: str | None

    def ask(self, text: str, *, best_as_written: bool, seconds: float) -> Table:
        limits = Limits(seconds=seconds, rows=10_000_000, bytes=1 << 31)
        found = self.store.query(text, form=Form.SELECT, limits=limits, best_as_written=best_as_written)
        assert isinstance(found, Table) and not found.truncated
        return found


@dataclass(slots=True)
class _Rdflib:
    """The engine of the tests; it knows no deadline."""

    graph: rdflib.Graph
    filled: Filled
    location: str | None = None

    def ask(self, text: str, *, best_as_written: bool, seconds: float) -> Table:
        found = self.graph.query(text)
        columns = tuple(str(name) for name in found.vars or ())
        return Table(columns=columns, rows=tuple(tuple(row) for row in found))  # type: ignore[arg-type, misc]


@contextmanager
def blazegraph(filling: Filling) -> Iterator[Engine]:
    """A server of its own on the journal in the folder, filled unless it holds the graph already."""
    service = BlazegraphService(filling.folder / "blazegraph", *free_ports(1))
    service = replace(service, settings=replace(service.settings, blazegraph_heap=filling.heap))
    service.start()
    try:
        name = filling.namespace
        create_namespace(service.url, name, namespace_properties(name))
        url = sparql_url(service.url, name)
        filled = _fill(open_store(url), filling, "blazegraph")
        store = SparqlEndpoint(url)
        try:
            yield _Asking(store, filled, url)
        finally:
            store.close()
    finally:
        service.stop()


@contextmanager
def oxigraph(filling: Filling) -> Iterator[Engine]:
    """A store on disk, filled unless it holds the graph already."""
    path = filling.folder / "oxigraph"
    writing = open_store(f"oxigraph:{path}")
    filled = _fill(writing, filling, "oxigraph")
    writing.close()
    del writing  # It lets go of the folder.
    yield _Asking(OxigraphStore.open(path), filled, None)


@contextmanager
def in_rdflib(filling: Filling) -> Iterator[Engine]:
    """The graph in memory: small ones only."""
    rdflib.NORMALIZE_LITERALS = False  # As written, or dates would be other terms (spec section 5.4).
    begun, statements, found = time.monotonic(), 0, rdflib.Graph()
    for chunk in graph.chunks(filling.runs, filling.shape, NTriplesRenderer(DEFAULT_BASE), workers=1):
        found.parse(data=chunk.document, format="nt")
        statements += chunk.statements
    filled = Filled(triples=len(found), statements=statements, seconds=time.monotonic() - begun)
    yield _Rdflib(found, filled)


ENGINES: Final[dict[str, Callable[[Filling], Any]]] = {
    "blazegraph": blazegraph,
    "oxigraph": oxigraph,
    "rdflib": in_rdflib,
}


def _fill(store: Store, filling: Filling, name: str) -> Filled:
    if (held := store.size()) == filling.triples:
        return Filled(triples=held, statements=0, seconds=0.0)
    if held > filling.triples:
        raise OtherGraph(
            f"{name} in {filling.folder} holds {held:,} triples, not {filling.triples:,}: it was filled with "
            "more runs, or --writing wrote into it; give another folder, or empty this one"
        )
    shown = 0.0

    def progress(done: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"\r{name}: {done:,} of {filling.triples:,}", end="", file=sys.stderr, flush=True)

    renderer = store.renderer(DEFAULT_BASE)
    source = graph.chunks(filling.runs, filling.shape, renderer, workers=filling.workers)
    loaded = graph.fill(store, source, progress)
    print(f"\r{name}: {loaded.statements:,} statements in {loaded.seconds:.0f} s", file=sys.stderr)
    if (held := store.size()) != filling.triples:
        raise OtherGraph(f"{name} holds {held:,} triples, not {filling.triples:,}: empty {filling.folder}")
    return Filled(triples=held, statements=loaded.statements, seconds=loaded.seconds)
