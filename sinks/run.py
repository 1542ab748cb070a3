"""The loop of the sink: from the identified topic into the graph, at least once, and once in the graph."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from functools import partial

from headstream.schemas.errors import RegistryUnavailable
from headstream.schemas.facts import DeadLetter
from headstream.sinks.batch import Batch, Limits, Partition
from headstream.sinks.consumer import AT_ONCE, Source
from headstream.sinks.core import UNDECODABLE, UNKNOWN_SCHEMA, Delivered, Message, collect, deliver, record
from headstream.sinks.dead_letters import DeadLetters
from headstream.sinks.errors import Stopped, Unavailable
from headstream.sinks.metrics import Metrics
from headstream.sinks.repeats import Repeats
from headstream.sinks.retry import Patience, Schedule
from headstream.sinks.statements import Renderer
from headstream.sinks.stores.store import Store, Written

log = logging.getLogger(__name__)

_PATIENT_SECONDS = 1.0  # How long a full batch waits for the one before it until partitions are paused.
_POLL_SECONDS = 0.25  # The longest wait for a message, so that the end is heard of soon.
# The same while a batch is written: what came meanwhile follows at once, a twentieth of the write later.
_WRITING_SECONDS = 0.01
_WRITING_SHARE = 0.05
_REVOKE_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_LAG_SECONDS = 2.0

Observer = Callable[[Batch, Delivered], None]


@dataclass(slots=True)
class _Writing:
    """A batch on its way into the store; `offsets` shrink when partitions are taken away."""

    batch: Batch
    offsets: dict[Partition, int]
    began: float
    result: Future[Delivered] = field(default_factory=Future)


class Sink:
    """One worker: while a batch is on its way into the store, the next one is collected."""

    def __init__(
        self,
        *,
        source: Source,
        store: Store,
        dead_letters: DeadLetters,
        base: str,
        stop: threading.Event,
        metrics: Metrics | None = None,
        limits: Limits | None = None,
        schedule: Schedule | None = None,
        drain_seconds: float = 8.0,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.blocked = False  # The dead-letter topic cannot be written.
        self._source = source
        self._limits = limits or Limits()
        self._base = base
        self._renderer = store.renderer(base)
        self._repeats = Repeats()
        self._stop = stop
        self._drain_seconds = drain_seconds
        self._observer = observer
        self._clock = clock
        self._read: deque[Message] = deque()
        self._batch = Batch()
        self._lag_shown = 0.0
        self._caught_up = True  # The last poll brought all that was there.
        self._last_write = 0.0  # How many seconds it took.
        self._writing: _Writing | None = None
        patience = Patience(wait=stop.wait, failed=self._failed, schedule=schedule or Schedule())
        self._store = PatientStore(store, patience)
        self._dead_letters = PatientDeadLetters(dead_letters, patience, self._blocked)

    def run(self) -> None:
        """Work until told to stop, then write and commit what was read, as far as time allows."""
        try:
            while not self._stop.is_set():
                self.run_once()
            self._drain(self._clock() + self._drain_seconds)
        except Stopped as error:
            log.warning("stopped before a batch was written; it comes again", extra={"cause": str(error)})
        finally:
            self._source.close(_CLOSE_SECONDS)

    def run_once(self) -> None:
        """Poll, collect, write, commit: a crash repeats events and loses none.

        The write of one batch goes on while the next is polled, so step 4 is for the batch before.
        """
        messages = self._poll()  # 1
        self._read.extend(messages)
        self._collect()  # 2
        self._commit()  # 4
        if self._writing is None and self._batch.ready(
            self._clock(), self._limits, caught_up=self._all_read, last=self._last_write
        ):
            self._write()  # 3
        self.metrics.messages.inc(len(messages))
        self._show_lag()

    def revoked(self, partitions: frozenset[Partition], lost: bool) -> None:
        """Finish what is under way if it can be done soon, drop the rest: its next owner reads it again."""
        self._batch = self._batch.without(partitions)
        kept = [one for one in self._read if (one.origin.topic, one.origin.partition) not in partitions]
        self._read = deque(kept)
        writing = self._writing
        if writing is None or not partitions & writing.offsets.keys():
            return
        if not lost:
            wait_for([writing.result], _REVOKE_SECONDS)
            self._commit()
        for place in partitions:
            writing.offsets.pop(place, None)

    def _poll(self) -> Sequence[Message]:
        """Wait for messages, or for the store while it holds up a full batch; always stay in the group."""
        writing = self._writing
        if writing is not None and self._batch.full(self._limits):
            if wait_for([writing.result], _PATIENT_SECONDS).done:
                return ()
            self._source.pause()
            self.metrics.paused.set(1)
            return self._source.poll(0.0)
        self._source.resume()
        self.metrics.paused.set(0)
        if self._read:
            return ()
        messages = self._source.poll(self._patience())
        self._caught_up = len(messages) < AT_ONCE
        return messages

    @property
    def _all_read(self) -> bool:
        return self._caught_up and not self._read

    def _patience(self) -> float:
        """How long to wait for a message: until the batch is due, or the end of a write is to be seen."""
        if self._writing is not None:
            taken = self._clock() - self._writing.began
            return min(max(taken * _WRITING_SHARE, _WRITING_SECONDS), _POLL_SECONDS)
        due = self._batch.due(self._limits, caught_up=self._all_read, last=self._last_write)
        return _POLL_SECONDS if due is None else min(max(due - self._clock(), 0.0), _POLL_SECONDS)

    def _collect(self) -> None:
        """Move what was read into the batch until that is full; the rest waits for the next one."""
        now, at = self._clock(), int(time.time() * 1e6)
        while self._read and not self._batch.full(self._limits):
            message, before = self._read[0], len(self._batch.group.entries)
            try:
                self._batch = collect(self._batch, message, self._renderer, now, at)
            except RegistryUnavailable as error:  # Nothing is wrong with the message: it waits.
                self._hold(error)
                return
            self._read.popleft()
            for entry in self._batch.group.entries[before:]:
                self.metrics.events_in.inc(entry.events)
                if message.attempt == 1:  # What was refused once and is sent again is no repeat.
                    self.metrics.duplicates.inc(
                        self._repeats.repeated(message.origin, entry.identified.origin)
                    )

    def _hold(self, error: RegistryUnavailable) -> None:
        """Stay in the group for a moment while what was read waits."""
        self.metrics.retries.labels(reason=type(error).__name__).inc()
        log.warning("messages wait", extra={"error": str(error), "messages": len(self._read)})
        self._source.pause()
        # A partition that is assigned meanwhile is not paused, and what it brings waits with the rest.
        self._read.extend(self._source.poll(_POLL_SECONDS))

    def _write(self) -> None:
        """Start to write what was collected; it is tried for as long as it takes."""
        batch, self._batch = self._batch, Batch()
        writing = self._writing = _Writing(batch, dict(batch.offsets), self._clock())
        # A daemon: a store that hangs must not keep the process from ending.
        threading.Thread(target=self._deliver, args=(writing,), name="sink-write", daemon=True).start()

    def _deliver(self, writing: _Writing) -> None:
        try:
            writing.result.set_result(deliver(writing.batch, self._store, self._dead_letters, self._base))
        except BaseException as error:  # Raised again by _commit, in the thread of the loop.
            writing.result.set_exception(error)

    def _commit(self) -> None:
        """Commit a batch once it is written: not before, and not for partitions that were taken away."""
        writing = self._writing
        if writing is None or not writing.result.done():
            return
        self._writing = None
        delivered = writing.result.result()
        self._last_write = delivered.seconds
        self._source.commit(writing.offsets)
        record(self.metrics, writing.batch, delivered)
        if self._observer is not None:
            self._observer(writing.batch, delivered)
        runs = writing.batch.group.runs
        (workflow, execution), *more = runs or {("", "")}
        run = {"workflow": workflow, "execution": execution} if execution and not more else {}
        log.info(
            "batch written",
            extra={
                "events": delivered.events,
                "triples": delivered.triples,
                "modified": delivered.modified,
                "refused": len(delivered.letters),
                "seconds": round(delivered.seconds, 4),
                "runs": len(runs),
                **run,
            },
        )
        tell(delivered.letters)

    def _drain(self, deadline: float) -> None:
        """Write and commit what was read before the process ends; what cannot be is read again."""
        self._await(deadline)
        if self._writing is None and self._batch:
            self._write()
            self._await(deadline)

    def _await(self, deadline: float) -> None:
        if self._writing is not None:
            wait_for([self._writing.result], max(0.0, deadline - self._clock()))
            self._commit()

    def _show_lag(self) -> None:
        now = self._clock()
        if now - self._lag_shown >= _LAG_SECONDS:
            self._lag_shown = now
            self.metrics.lag.clear()
            self.metrics.lag_seconds.clear()
            for partition, lag in self._source.lag().items():
                self.metrics.lag.labels(partition=str(partition)).set(lag.messages)
                if not lag.messages:
                    self.metrics.lag_seconds.labels(partition=str(partition)).set(0)
                elif lag.oldest is not None:
                    age = max(0.0, time.time() - lag.oldest)
                    self.metrics.lag_seconds.labels(partition=str(partition)).set(age)

    def _blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        self.metrics.blocked.set(blocked)

    def _failed(self, error: Unavailable, delay: float) -> None:
        self.metrics.retries.labels(reason=error.reason).inc()
        log.warning("tried in vain", extra={"error": str(error), "again_in_seconds": round(delay, 2)})


def tell(letters: Sequence[DeadLetter]) -> None:
    """Log what was refused: a line for each reason and run of a batch, for poison comes in floods."""
    lines: dict[tuple[str, bytes], list[DeadLetter]] = {}
    for letter in letters:
        # The key of bytes that nobody can read may be anything.
        key = b"" if letter.reason in (UNDECODABLE, UNKNOWN_SCHEMA) else letter.key
        lines.setdefault((letter.reason, key), []).append(letter)
    for (reason, key), alike in lines.items():
        run = {"run": key.decode("utf-8", "replace")} if key else {}
        origin = alike[0].origin
        log.warning(
            "refused",
            extra={
                **run,
                "topic": origin.topic,
                "partition": origin.partition,
                "offset": origin.offset,
                "reason": reason,
                "error": alike[0].error,
                "letters": len(alike),
            },
        )


@dataclass(frozen=True, slots=True)
class PatientStore:
    """A store whose writes wait until it is there."""

    store: Store
    patience: Patience

    def renderer(self, base: str) -> Renderer:
        return self.store.renderer(base)

    def write(self, statements: bytes) -> Written:
        return self.patience.persist(partial(self.store.write, statements))

    def size(self) -> int:
        return self.store.size()

    def dump(self) -> Iterator[bytes]:
        return self.store.dump()

    def close(self) -> None:
        self.store.close()


@dataclass(frozen=True, slots=True)
class PatientDeadLetters:
    """Dead letters that wait until they can be kept: nothing is committed before (faults.md row 24)."""

    dead_letters: DeadLetters
    patience: Patience
    blocked: Callable[[bool], None] = lambda blocked: None

    def put(self, letters: Sequence[DeadLetter]) -> None:
        self.patience.persist(partial(self._try, letters))
        self.blocked(False)

    def _try(self, letters: Sequence[DeadLetter]) -> None:
        try:
            self.dead_letters.put(letters)
        except Unavailable:
            self.blocked(True)
            raise

    def close(self) -> None:
        self.dead_letters.close()
