"""Ask a store for one run, node after node, in an order that is the same for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pyoxigraph import NamedNode

from headstream.query_api import terms
from headstream.query_api.errors import ExportTooLarge, StoreError
from headstream.query_api.export import belonging
from headstream.query_api.export.naming import Name, named, spelled_out, unknown
from headstream.query_api.export.nodes import Node, Term, node
from headstream.query_api.guard import Form
from headstream.query_api.runs import list_runs
from headstream.query_api.store import Limits, QueryStore, Row, Table
from headstream.schemas import identifiers

# Nodes asked for in one query: as many as an answer within the usual limits has room for.
BATCH: Final = 400
# What bounds one query of an export without `Demand.max_triples`.
_ROWS: Final = 5_000_000
_BYTES: Final = 2 * 1024**3

# Nodes seen so far, and nodes known to be there so far.
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Which run, and how much of what is around it."""

    run: Name
    base_iri: str
    lineage: bool = False
    seconds: float = 60.0
    max_triples: int | None = None

    @property
    def iri(self) -> str:
        """The IRI of the run."""
        return self.base_iri + identifiers.run(self.run.workflow, self.run.execution)

    @property
    def limits(self) -> Limits:
        """What one query may answer.

        Each row is a triple of the export, or a node that has one (but for what a project gathers beside
        the run): with one more than it may have triples it is known to be too large.
        """
        rows = _ROWS if self.max_triples is None else self.max_triples + 1
        return Limits(seconds=self.seconds, rows=rows, bytes=_BYTES)


def runs(store: QueryStore, *, base_iri: str, seconds: float) -> list[Name]:
    """The names of all runs in the graph."""
    found, _ = list_runs(store, base_iri=base_iri, limits=Limits(seconds=seconds, rows=_ROWS, bytes=_BYTES))
    return sorted(
        {Name(each["workflow"], each["execution"]) for each in found},
        key=lambda run: (run.workflow, run.execution),
    )


def find(store: QueryStore, text: str, *, base_iri: str, seconds: float) -> Name:
    """The run that a text names; raises UnknownRun where it names none, or several."""
    whole = spelled_out(text, base_iri=base_iri)
    if whole is not None:
        return whole  # Whether it is there shows with its first node.
    return named(text, runs(store, base_iri=base_iri, seconds=seconds))


def subgraph(
    store: QueryStore, demand: Demand, advance: Advance = lambda done, known: None
) -> Iterator[Node]:
    """Yield every node that belongs to a run: the run first, projects last, the rest in waves by IRI.

    Memory holds the IRIs of the nodes and one batch of them. Raises UnknownRun before the first node,
    and ExportTooLarge.
    """
    root = _described(store, [demand.iri], demand)[0]
    if not belonging.is_run(root):
        raise unknown(str(demand.run), runs(store, base_iri=demand.base_iri, seconds=demand.seconds))
    seen, wave = {demand.iri}, [demand.iri]
    projects: list[Node] = []
    triples = done = 0
    while wave:
        reached: set[str] = set()
        for batch in _batches(wave):
            found = _described(store, batch, demand)
            ahead = _subjects(store, found, demand)
            for each in found:
                if belonging.is_project(each):
                    projects.append(each)
                    continue
                ahead |= belonging.followed(each, lineage=demand.lineage)
                triples += len(each.edges)
                _demand_room(triples, demand)
                if each.edges:
                    yield each
            # Each is looked at once: a union with all that was seen would cost as much for every batch.
            reached |= ahead - seen
            seen |= ahead
            done += len(batch)
            advance(done, len(seen))
        wave = sorted(reached)
    for project in projects:
        yield belonging.without_strangers(project, seen)


def _subjects(store: QueryStore, found: Sequence[Node], demand: Demand) -> set[str]:
    """The nodes that belong because an edge of theirs leads to one of these."""
    asked: dict[str, list[str]] = {}
    for each in found:
        for predicate in belonging.followed_backwards(each, root=each.iri == demand.iri):
            asked.setdefault(predicate, []).append(each.iri)
    subjects: set[str] = set()
    for predicate, objects in sorted(asked.items()):
        text = f"SELECT DISTINCT ?s WHERE {{ VALUES ?o {{ {_values(objects)} }} ?s <{predicate}> ?o }}"
        subjects |= {term.value for (term,) in _rows(store, text, demand) if isinstance(term, NamedNode)}
    return subjects


def _described(store: QueryStore, iris: Sequence[str], demand: Demand) -> list[Node]:
    """All triples of these subjects, one node for each."""
    edges: dict[str, list[tuple[str, Term]]] = {iri: [] for iri in iris}
    text = f"SELECT ?s ?p ?o WHERE {{ VALUES ?s {{ {_values(iris)} }} ?s ?p ?o }}"
    for subject, predicate, value in _rows(store, text, demand):
        if isinstance(subject, NamedNode) and isinstance(predicate, NamedNode) and value is not None:
            edges[subject.value].append((predicate.value, value))
    return [node(iri, found) for iri, found in edges.items()]


def _values(iris: Sequence[str]) -> str:
    return " ".join(terms.iri(iri, base="") for iri in iris)


def _rows(store: QueryStore, text: str, demand: Demand) -> tuple[Row, ...]:
    # As written: the VALUES block is the selective part, and it stands first.
    answer = store.query(text, form=Form.SELECT, limits=demand.limits, best_as_written=True)
    if not isinstance(answer, Table):
        raise StoreError(f"a SELECT was answered by {type(answer).__name__}")
    _demand_room(len(answer.rows), demand)
    if answer.truncated:
        raise ExportTooLarge("the run has more than one query of an export may answer")
    return answer.rows


def _demand_room(triples: int, demand: Demand) -> None:
    if demand.max_triples is not None and triples > demand.max_triples:
        raise ExportTooLarge(
            f"run {demand.run} has more than {demand.max_triples} triples",
            remedy="raise HEADSTREAM_API_MAX_EXPORT_TRIPLES; `headstream export --store` has no limit",
        )


def _batches(iris: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(iris), BATCH):
        yield iris[start : start + BATCH]
