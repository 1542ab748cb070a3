"""A learning run as W3C ML Schema sees it: CONSTRUCT queries of the ontology over the run's own triples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Final

import pyoxigraph
from pyoxigraph import NamedNode, Quad

from headstream.query_api.catalogue import ONTOLOGY
from headstream.query_api.errors import NotAcceptable
from headstream.query_api.export.nodes import Node, Term, node
from headstream.query_api.export.rdf import Write, write_turtle

_LEARNING_RUN: Final = "provml:LearningProcessExecution"


def write_ml_schema(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """Turtle in the terms of ML Schema."""
    write_turtle(ml_schema(list(nodes)), write, base_iri=base_iri)


def ml_schema(nodes: list[Node]) -> Iterator[Node]:
    """The view of a run, of which these are the nodes, sorted by subject; raises NotAcceptable."""
    if not any(each.is_a(_LEARNING_RUN) for each in nodes):
        raise NotAcceptable(
            f"{nodes[0].iri} is no learning run, so ML Schema has nothing to say of it",
            remedy="ask for another format, or publish a definition with `workflow_type: Experiment`",
        )
    # In memory: so the view is the same whatever the store, and asks it nothing more.
    graph = pyoxigraph.Store()
    graph.extend(
        Quad(NamedNode(each.iri), NamedNode(predicate), term)
        for each in nodes
        for predicate, term in each.edges
    )
    edges: dict[str, list[tuple[str, Term]]] = {}
    for text in equivalences():
        for triple in graph.query(text):  # type: ignore[union-attr]
            edges.setdefault(triple.subject.value, []).append((triple.predicate.value, triple.object))
    for iri in sorted(edges):
        yield node(iri, edges[iri])


@cache
def equivalences() -> tuple[str, ...]:
    """The queries that say what PROV-ML is in ML Schema, in the order of their files."""
    folder = resources.files(ONTOLOGY).joinpath("equivalence")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".rq"))
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
