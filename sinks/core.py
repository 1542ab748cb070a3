"""The work of the sink without Kafka: facts to statements, statements into a store, refusals kept.

The embedded mode calls `write_identified`; the Kafka loop in `run.py` uses the parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from headstream.schemas.codec import decode_identified, encode_identified
from headstream.schemas.errors import SchemaError, UnknownSchema
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.topics import run_key
from headstream.sinks.batch import OXIGRAPH_LIMITS, Batch, Entry, Group, Limits
from headstream.sinks.dead_letters import DeadLetters
from headstream.sinks.errors import IllegalFact
from headstream.sinks.isolate import Refused, isolate
from headstream.sinks.metrics import STORED, TOTAL, Metrics
from headstream.sinks.statements import Renderer
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.sinks.stores.store import Store

STAGE: Final = "sink"
UNDECODABLE: Final = "undecodable"
UNKNOWN_SCHEMA: Final = "unknown-schema"
ILLEGAL_FACT: Final = "illegal-fact"
REFUSED: Final = "refused-by-store"
# The first of several requests is so much smaller than the others.
_FIRST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the identified topic, as bytes."""

    origin: Origin
    key: bytes
    value: bytes
    attempt: int = 1
    at: float | None = None  # When it was handed to Kafka, in seconds since the epoch.


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A batch that is in the store, with what was refused safely kept."""

    events: int = 0
    triples: int = 0
    modified: int | None = 0
    letters: tuple[DeadLetter, ...] = ()
    requests: int = 0
    seconds: float = 0.0
    stored_at: float = 0.0

    def __add__(self, other: Delivered) -> Delivered:
        unknown = self.modified is None or other.modified is None
        return Delivered(
            events=self.events + other.events,
            triples=self.triples + other.triples,
            modified=None if unknown else (self.modified or 0) + (other.modified or 0),
            letters=self.letters + other.letters,
            requests=self.requests + other.requests,
            seconds=self.seconds + other.seconds,
            stored_at=max(self.stored_at, other.stored_at),
        )


def collect(batch: Batch, message: Message, renderer: Renderer, now: float, at: int) -> Batch:
    """Add a message to a batch; what cannot be read or rendered is added as a dead letter. Pure.

    `now` is on the clock of the batch, `at` microseconds since the epoch.
    """
    try:
        identified = decode_identified(message.value)
    except SchemaError as error:
        # A schema that is not known yet can be mended by a newer sink; broken bytes cannot.
        reason = UNKNOWN_SCHEMA if isinstance(error, UnknownSchema) else UNDECODABLE
        letter = _letter(message, message.value, reason, error, at)
        return batch.add(message.origin, now, letters=(letter,))
    entry = Entry(
        origin=message.origin,
        key=message.key,
        identified=identified,
        statements=b"",
        attempt=message.attempt,
        at=message.at,
    )
    rendered, letters = render_entry(entry, renderer, at)
    return batch.add(message.origin, now, entry=rendered, letters=letters)


def render_entry(entry: Entry, renderer: Renderer, at: int) -> tuple[Entry | None, tuple[DeadLetter, ...]]:
    """Render an entry; each event with an illegal fact becomes a dead letter and its neighbours stay."""
    try:
        return entry.rendered(renderer), ()
    except IllegalFact:
        pass
    good: list[Entry] = []
    letters: list[DeadLetter] = []
    for single in Batch(group=Group((entry,))).split():
        (event,) = (one for one in single.entries if one.events)
        try:
            good.append(event.rendered(renderer))
        except IllegalFact as error:
            letters.append(_event_letter(event, ILLEGAL_FACT, error, at))
    return _joined(entry, good), tuple(letters)


def _joined(entry: Entry, good: list[Entry]) -> Entry | None:
    if not good:
        return None
    parts = [one.identified for one in good]
    identified = replace(
        entry.identified,
        facts=tuple(fact for part in parts for fact in part.facts),
        counts=tuple(count for part in parts for count in part.counts),
        event_times=tuple(moment for part in parts for moment in part.event_times),
    )
    return replace(entry, identified=identified, statements=b"".join(one.statements for one in good))


def deliver(batch: Batch, store: Store, dead_letters: DeadLetters, base: str) -> Delivered:
    """Write a batch and keep what is refused; on return its offsets may be committed.

    Raises Unavailable; then nothing may be committed, and delivering the batch again is harmless.
    """
    # A renderer of its own: the next batch may be rendered meanwhile, in another thread.
    isolated = isolate(batch.group, store.write, store.renderer(base))
    at = time.time()
    letters = batch.letters + tuple(_refused_letter(one, int(at * 1e6)) for one in isolated.refused)
    if letters:
        dead_letters.put(letters)
    return Delivered(
        events=batch.group.events - len(isolated.refused),
        triples=isolated.triples,
        modified=isolated.modified,
        letters=letters,
        requests=isolated.requests,
        seconds=isolated.seconds,
        stored_at=at,
    )


def write_identified(
    store: Store,
    identifieds: Iterable[Identified],
    dead_letters: DeadLetters,
    base: str,
    *,
    metrics: Metrics | None = None,
    limits: Limits | None = None,
    renderer: Renderer | None = None,
    attempt: int = 1,
) -> Delivered:
    """Write identified facts now, in requests of `limits.triples`, and return what became of them.

    While one request is written the next is rendered; the first is small, since the store waits for it.
    On return every event is in the store or in `dead_letters`. A request begins when the one before is
    done. Raises Unavailable; then some of it may be written, and the same call again is harmless.
    """
    limits = limits or suited(store)
    first = replace(limits, triples=max(1, limits.triples // _FIRST), size=max(1, limits.size // _FIRST))
    renderer = renderer or store.renderer(base)
    total, batch = Delivered(modified=0), Batch()
    at = int(time.time() * 1e6)
    writing: Future[Delivered] | None = None
    # The thread is started for what is more than one request: most that comes here is less.
    with ThreadPoolExecutor(1, "write") as writer:
        for identified in identifieds:
            entry, letters = render_entry(embedded_entry(identified, attempt), renderer, at)
            batch = batch.add(identified.origin, 0.0, entry=entry, letters=letters)
            if batch.full(first if writing is None else limits):
                total += _result(writing)
                writing = writer.submit(_delivered, batch, store, dead_letters, base, metrics)
                batch = Batch()
        total += _result(writing)
    if batch:
        total += _delivered(batch, store, dead_letters, base, metrics)
    return total


def _result(writing: Future[Delivered] | None) -> Delivered:
    """Wait for a request that is under way; raises what it raised."""
    return Delivered() if writing is None else writing.result()


def suited(store: Store) -> Limits:
    """How large the requests of a store are under load, where nobody says anything else."""
    return OXIGRAPH_LIMITS if isinstance(store, OxigraphStore) else Limits()


def embedded_entry(identified: Identified, attempt: int = 1) -> Entry:
    """Return the entry of facts that came over no topic: their origin is where their bag lies."""
    return Entry(
        origin=identified.origin,
        key=run_key(identified.workflow, identified.execution),
        identified=identified,
        statements=b"",
        attempt=attempt,
    )


def _delivered(
    batch: Batch, store: Store, dead_letters: DeadLetters, base: str, metrics: Metrics | None
) -> Delivered:
    delivered = deliver(batch, store, dead_letters, base)
    if metrics is not None:
        record(metrics, batch, delivered)
    return delivered


def record(metrics: Metrics, batch: Batch, delivered: Delivered) -> None:
    """Count a delivered batch."""
    metrics.events.inc(delivered.events)
    metrics.triples.inc(delivered.triples)
    metrics.requests.inc(delivered.requests)
    metrics.batch_triples.observe(batch.triples)
    metrics.write_seconds.observe(delivered.seconds)
    if delivered.modified is not None:
        metrics.divergence.inc(max(0, delivered.triples - delivered.modified))
    for letter in delivered.letters:
        metrics.dead_letters.labels(reason=letter.reason).inc()
    for entry in batch.group.entries:
        events = metrics.freshness.since(TOTAL, entry.identified.event_times, delivered.stored_at)
        if entry.at is not None:
            metrics.freshness.add(STORED, delivered.stored_at - entry.at, events)


def event_times(batch: Batch) -> list[int]:
    """Return the time of each event of a batch, in microseconds since the epoch, 0 where unknown."""
    return [moment for entry in batch.group.entries for moment in entry.identified.event_times]


def _letter(message: Message, value: bytes, reason: str, error: Exception, at: int) -> DeadLetter:
    return DeadLetter(
        origin=message.origin,
        key=message.key,
        value=value,
        stage=STAGE,
        reason=reason,
        error=type(error).__name__,
        message=str(error)[:1000],
        at=at,
        attempt=message.attempt,
    )


def _event_letter(entry: Entry, reason: str, error: Exception, at: int) -> DeadLetter:
    """Keep one event of a message, as a message of its own that can be sent again."""
    message = Message(origin=entry.origin, key=entry.key, value=b"", attempt=entry.attempt)
    letter = _letter(message, encode_identified(entry.identified), reason, error, at)
    return replace(letter, message=f"event {entry.first} of its message: {letter.message}")


def _refused_letter(refused: Refused, at: int) -> DeadLetter:
    return _event_letter(refused.entry, REFUSED, refused.error, at)
