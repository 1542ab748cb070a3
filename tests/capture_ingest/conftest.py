"""What was imported, all the way: mapped, left in the spool, tracked, and asked for by the catalogue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pyshacl
import pytest
import rdflib

from headstream.capture.ingest.told import Item
from headstream.importing import Report, fill
from headstream.places import Places
from headstream.query_api.ask import ask
from headstream.query_api.store import OxigraphStore
from headstream.schemas.documents import Document
from headstream.schemas.identifiers import DEFAULT_BASE

ONTOLOGY = Path(__file__).parents[2] / "schemas" / "ontology"
PREFIXES = """\
PREFIX prov: <http://www.w3.org/ns/prov#>
PREFIX provml: <https://w3id.org/provml/ns#>
PREFIX dcterms: <http://purl.org/dc/terms/>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A graph that was made from a source, and what was said of it. `store` is where it lies."""

    graph: ox.Store
    report: Report
    hash: str
    store: str

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """Rows of a SELECT as Python values; IRIs under the instance base as their relative form."""
        found = self.graph.query(PREFIXES + text)
        assert isinstance(found, ox.QuerySolutions)
        width = len(found.variables)
        return [tuple(_value(row[column]) for column in range(width)) for row in found]

    def question(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """The answer to a question of the catalogue, as the query API gives it."""
        given = {key: f"{DEFAULT_BASE}{value}" if key in IRIS else value for key, value in values.items()}
        answer: Any = ask(OxigraphStore(self.graph), name, given)
        return [{key: _relative(value) for key, value in record.items()} for record in answer.records()]

    def triples(self) -> set[str]:
        return {str(quad) for quad in self.graph}


IRIS = frozenset({"run", "dataset", "model", "file", "artefact"})


def _relative(value: Any) -> Any:
    return value.removeprefix(DEFAULT_BASE) if isinstance(value, str) else value


def _value(term: Any) -> Any:
    match term:
        case None:
            return None
        case ox.NamedNode():
            return term.value.removeprefix(DEFAULT_BASE)
        case ox.Literal():
            kind = term.datatype.value.rpartition("#")[2]
            return {"double": float, "integer": int, "boolean": lambda text: text == "true"}.get(kind, str)(
                term.value
            )
    return term


Build = Callable[..., Imported]


def build(folder: Path, items: Iterable[Item], documents: tuple[Document, ...] = ()) -> Imported:
    """The graph of some items in a store of its own below a folder."""
    report = Report()
    number = sum(1 for _ in folder.glob("store-*"))
    store = folder / f"store-{number}"
    environ = {**os.environ, "HEADSTREAM_DATA": str(folder / "data")}
    built = fill(
        items, "test", environ, report, Places(folder / "data"), f"oxigraph:{store}", documents=documents
    )
    assert built is not None and built.refused_by_store == 0 and not built.replayed.refused
    assert built.hash is not None
    return Imported(
        graph=ox.Store.read_only(str(store)), report=report, hash=built.hash, store=f"oxigraph:{store}"
    )


@pytest.fixture
def imported(tmp_path: Path) -> Build:
    return lambda items, documents=(): build(tmp_path, items, documents)


def assert_updates_add_nothing(graph: ox.Store) -> None:
    """The derived edges that the ontology defines are there already (spec section 6.3)."""
    copy = ox.Store()
    copy.extend(graph)
    before = len(copy)
    for path in sorted((ONTOLOGY / "updates").glob("*.ru")):
        copy.update(path.read_text("utf-8"))
    assert len(copy) == before


def assert_conforms(graph: ox.Store) -> None:
    """SHACL finds no violation."""
    data = rdflib.Graph().parse(
        data=graph.dump(format=ox.RdfFormat.N_TRIPLES, from_graph=ox.DefaultGraph()), format="nt"
    )
    shapes = rdflib.Graph().parse(data=(ONTOLOGY / "shapes.ttl").read_text("utf-8"), format="turtle")
    terms = rdflib.Graph().parse(data=(ONTOLOGY / "provml.ttl").read_text("utf-8"), format="turtle")
    conforms, _, text = pyshacl.validate(
        data, shacl_graph=shapes, ont_graph=terms, advanced=True, allow_warnings=True
    )
    assert conforms, text
