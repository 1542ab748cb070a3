"""Oxigraph in this process: the store of the embedded mode."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyoxigraph as oxigraph

from headstream.sinks.errors import StoreBusy, StoreRefused, StoreUnknown
from headstream.sinks.statements import NTriplesRenderer
from headstream.sinks.stores.room import FREE_BYTES, Room
from headstream.sinks.stores.store import Written

# Measured: `bulk_load` 395,000 triples/s against 150,000 of `load`, but 5 ms against 1 ms for 60 triples.
_BULK = 500_000  # bytes: some 4,000 triples
# Larger ones are read and sorted in two halves at once, where Oxigraph by itself would use one core.
_HALVED = 16 << 20
_BLOCK = 1 << 20


class OxigraphStore:
    """A graph in a folder, or in memory without a path. `graph` may be queried meanwhile, by any thread.

    IRIs and language tags are stored as they come, since `NTriplesRenderer` has checked them: to check
    them here once more is a sixth of the cost of a write (decision 0014). What is no N-Triples is refused.
    A write that would find less than `free_bytes` on the disk raises StoreBusy and changes nothing.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        graph: oxigraph.Store | None = None,
        free_bytes: int = FREE_BYTES,
    ) -> None:
        self.room = None if path is None else Room(path, free_bytes)
        try:
            self.graph = graph or oxigraph.Store(None if path is None else str(path))
        except OSError as error:
            raise StoreBusy(f"{path} cannot be opened: {error}; only one process can have it open") from error
        self._one = threading.Lock()
        # Oxigraph reads and sorts a body in half as many threads as there are cores.
        self._one_thread = _cores() in (2, 3)

    def renderer(self, base: str) -> NTriplesRenderer:
        return NTriplesRenderer(base)

    def write(self, ntriples: bytes) -> Written:
        """Add triples to the default graph; refused statements may be stored in part.

        Other threads of the process go on meanwhile: the next request can be rendered.
        """
        if self.room is not None:
            self.room.demand()
        started = time.perf_counter()
        try:
            with self._one:
                self._load(ntriples)
        except SyntaxError as error:
            raise StoreRefused(f"Oxigraph refused the statements: {error}") from error
        except (OSError, ValueError) as error:
            raise StoreUnknown(
                f"Oxigraph could not write: {error}; "
                "if the disk was full, make room and start this process again"
            ) from error
        # Counting would scan the whole graph, so how much was new is not known.
        return Written(modified=None, seconds=time.perf_counter() - started)

    def _load(self, ntriples: bytes) -> None:
        load = partial(
            self.graph.load if len(ntriples) < _BULK else self.graph.bulk_load,
            format=oxigraph.RdfFormat.N_TRIPLES,
            lenient=True,
        )
        if len(ntriples) < _HALVED or not self._one_thread:
            load(ntriples)
            return
        middle = ntriples.find(b"\n", len(ntriples) // 2) + 1
        with ThreadPoolExecutor(1, "bulk-load") as other:
            half = other.submit(load, ntriples[middle:])
            load(ntriples[:middle])
            half.result()

    def size(self) -> int:
        return len(self.graph)

    def dump(self) -> Iterator[bytes]:
        lines = io.BytesIO()
        for triple in self.graph.quads_for_pattern(None, None, None, oxigraph.DefaultGraph()):
            lines.write(f"{triple.triple} .\n".encode())
            if lines.tell() >= _BLOCK:
                yield lines.getvalue()
                lines = io.BytesIO()
        yield lines.getvalue()

    def close(self) -> None:
        self.graph.flush()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
