"""The seam to the graph: one method that asks and never writes, and the store in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import pyoxigraph
from pyoxigraph import QueryBoolean, QueryTriples

from headstream.query_api.deadline import DeadlinePassed, within
from headstream.query_api.errors import StoreError, StoreRefused, StoreTimeout, StoreUnavailable, TooBusy
from headstream.query_api.guard import Form, Term

Row: TypeAlias = tuple[Term | None, ...]
Item = TypeVar("Item", Row, pyoxigraph.Triple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one answer may cost; a longer answer is cut and marked, a slower one is an error."""

    seconds: float = 60.0
    rows: int = 20_000
    bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The answer to SELECT; `truncated` means that the store had more."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """The answer to CONSTRUCT and DESCRIBE; `truncated` means that the store had more."""

    triples: tuple[pyoxigraph.Triple, ...]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """The answer to ASK."""

    value: bool


Answer: TypeAlias = Table | Graph | Truth


class QueryStore(Protocol):
    """A graph that can be asked."""

    def query(self, text: str, *, form: Form, limits: Limits, best_as_written: bool = False) -> Answer:
        """Run one query of SPARQL 1.1 that the guard or the catalogue vouches for.

        The answer is complete or marked as truncated by `limits`, never silently partial. Raises StoreError
        or TooBusy. Safe from any thread. `best_as_written` says that the patterns stand in the order in
        which they should run.
        """

    def close(self) -> None:
        """Let go of connections; no query may follow."""


class OxigraphStore:
    """A pyoxigraph store in this process (embedded mode): opened by somebody else, or by `open`.

    Iteration stops at the deadline. Work before the first row (aggregates, sorting) cannot be interrupted:
    the asker gets StoreTimeout on time, and the work keeps its place among `max_concurrent` until it ends.
    """

    def __init__(self, store: pyoxigraph.Store, *, max_concurrent: int = 8) -> None:
        self._store = store
        self._places = threading.BoundedSemaphore(max_concurrent)

    @classmethod
    def open(cls, path: str | Path, *, max_concurrent: int = 8) -> OxigraphStore:
        """Open an on-disk store for reading only; raises StoreUnavailable."""
        try:
            store = pyoxigraph.Store.read_only(str(path))
        except (OSError, ValueError, RuntimeError) as unreadable:
            raise StoreUnavailable(
                f"no Oxigraph store can be read at {path}: {str(unreadable)[:200]}",
                remedy="check HEADSTREAM_STORE_PATH",
            ) from unreadable
        return cls(store, max_concurrent=max_concurrent)

    def query(self, text: str, *, form: Form, limits: Limits, best_as_written: bool = False) -> Answer:
        """See QueryStore; Oxigraph orders patterns well by itself, so `best_as_written` is not needed."""
        started = time.monotonic()
        if not self._places.acquire(timeout=limits.seconds):
            raise TooBusy("the store runs as many queries as it may", remedy="ask again later")

        def work(stop: threading.Event) -> Answer:
            try:
                return _evaluate(self._store, text, limits, stop)
            finally:
                self._places.release()

        try:
            return within(max(0.001, limits.seconds - (time.monotonic() - started)), work)
        except DeadlinePassed:
            raise timed_out(limits) from None

    def close(self) -> None:
        """Nothing to let go of: the store belongs to who opened it."""


def timed_out(limits: Limits) -> StoreTimeout:
    """The error of a query that met its deadline."""
    return StoreTimeout(
        f"no full answer within {limits.seconds:g} s, so the query was cancelled",
        remedy="ask for less (a LIMIT, one run), or raise HEADSTREAM_API_TIMEOUT_SECONDS",
    )


def _evaluate(store: pyoxigraph.Store, text: str, limits: Limits, stop: threading.Event) -> Answer:
    try:
        found = store.query(text)
        if isinstance(found, QueryBoolean):
            return Truth(bool(found))
        if isinstance(found, QueryTriples):
            triples, truncated = _capped(found, limits, stop)
            return Graph(triples, truncated)
        columns = tuple(variable.value for variable in found.variables)
        rows, truncated = _capped((tuple(solution) for solution in found), limits, stop)
        return Table(columns=columns, rows=rows, truncated=truncated)
    except (SyntaxError, RuntimeError) as refused:
        raise StoreRefused(f"Oxigraph refused the query: {str(refused)[:300]}") from refused
    except OSError as broken:
        raise StoreError(f"the Oxigraph store could not be read: {str(broken)[:300]}") from broken


def _capped(items: Iterable[Item], limits: Limits, stop: threading.Event) -> tuple[tuple[Item, ...], bool]:
    """Take items until one would be over the rows or bytes allowed; the flag says that there was more."""
    kept: list[Item] = []
    size = 0
    for item in items:
        size += size_of(item)
        if len(kept) == limits.rows or size > limits.bytes:
            return tuple(kept), True
        kept.append(item)
        if stop.is_set():
            break  # Nobody waits for the answer any more.
    return tuple(kept), False


def size_of(item: Row | pyoxigraph.Triple) -> int:
    """Estimate the bytes of a row or triple in JSON: the text of its terms and what stands around them."""
    return sum(50 + len(str(term)) for term in item if term is not None)
