"""Statements into a store as fast as it takes them: large requests, in order, from a thread of its own.

For a replay, whose statements are rendered before and elsewhere; the live sink is `run.py`.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from headstream.schemas.facts import Identified
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import DeadLetters
from headstream.sinks.errors import StoreRefused, Unavailable
from headstream.sinks.retry import Schedule
from headstream.sinks.stores import OxigraphStore, Store

# Measured on Blazegraph: 75 k triples/s at 10,000 a request, 92 k at 40,000, 81 k at 100,000;
# on Oxigraph, 2 million triples: 131 k a second of processor at 100,000, 163 k at 500,000.
TRIPLES: Final = 40_000
OXIGRAPH_TRIPLES: Final = 250_000
BYTES: Final = 64 << 20
# What waits between the threads: about one request while another is written.
_WAITING: Final = 8
_IDLE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Statements as the store takes them; `facts` gives them event by event, should it refuse some."""

    statements: bytes
    triples: int
    facts: Callable[[], Sequence[Identified]]
    # Some fact is illegal: it has to be found, and its neighbours written.
    doubtful: bool = False


Stored = Callable[[Sequence[Load]], None]


class Loader:
    """Writes loads in the order in which they are put, several in one request.

    `stored` is called in the thread of the loader, with loads whose every event is in the store or
    in `dead_letters`, in order and each once. A store that is away is tried again for a minute.
    """

    def __init__(
        self,
        store: Store,
        dead_letters: DeadLetters,
        base: str,
        *,
        stored: Stored = lambda loads: None,
        triples: int | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._base = base
        self._renderer = store.renderer(base)
        self._stored = stored
        self._most = triples or (OXIGRAPH_TRIPLES if isinstance(store, OxigraphStore) else TRIPLES)
        self._retry_seconds = retry_seconds
        self._queue: queue.Queue[Load | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="bulk-write", daemon=True)
        self._thread.start()

    def put(self, load: Load) -> None:
        """Hand over statements; waits while much is waiting already, raises what the store raised."""
        while True:
            self._raise()
            try:
                self._queue.put(load, timeout=_IDLE_SECONDS)
                return
            except queue.Full:
                continue

    def finish(self) -> None:
        """Return when everything is stored; raises what the store raised."""
        self._end()
        self._raise()

    def abandon(self) -> None:
        """Finish the request under way, if any, and drop what waits behind it."""
        self._abandoned = True
        self._end()

    def _end(self) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_IDLE_SECONDS)
                break
            except queue.Full:
                continue
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            ended = False
            while not ended:
                loads, ended = self._gather()
                if loads and not self._abandoned:
                    self._write(loads)
                    self._stored(loads)
        except BaseException as error:  # Raised again by whoever puts or finishes.
            self._error = error

    def _gather(self) -> tuple[list[Load], bool]:
        """Loads for one request: what is there, up to its size; the first is waited for."""
        loads: list[Load] = []
        triples = size = 0
        while triples < self._most and size < BYTES:
            try:
                load = self._queue.get(timeout=_IDLE_SECONDS if loads else None)
            except queue.Empty:
                break  # A throttled replay must show what it did.
            if load is None:
                return loads, True
            if self._abandoned:
                continue
            loads.append(load)
            triples += load.triples
            size += len(load.statements)
        return loads, False

    def _write(self, loads: Sequence[Load]) -> None:
        if not any(load.doubtful for load in loads):
            triples = sum(load.triples for load in loads)
            document = self._renderer.document((load.statements for load in loads), triples)
            try:
                if triples:
                    self._persist(lambda: self._store.write(document))
                return
            except StoreRefused:
                pass  # Found below, event by event.
        for load in loads:
            self._persist(
                lambda load=load: write_identified(  # type: ignore[misc]
                    self._store, load.facts(), self._dead_letters, self._base
                )
            )

    def _persist(self, attempt: Callable[[], object]) -> None:
        """Try for a minute: a replay is watched, so that it may say that the store is away."""
        began, schedule = time.monotonic(), Schedule(most=5.0)
        for number in range(1_000_000):
            try:
                attempt()
                return
            except Unavailable:
                if self._abandoned or time.monotonic() - began > self._retry_seconds:
                    raise
            time.sleep(schedule.delay(number, random.random()))
