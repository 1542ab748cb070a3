"""The graph again, from what is kept: a bounded run of the pure tracker without Kafka's groups.

Replay runs the functions of the online worker on the same bytes, so it gives the same facts.
It writes nothing to Kafka and moves no offset of the workers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from headstream.schemas.codec import encode_document
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_count
from headstream.schemas.facts import Identified, Origin
from headstream.stream_processors import bounded
from headstream.stream_processors.errors import RetentionExpired
from headstream.stream_processors.handling import (
    Handled,
    Incoming,
    Letter,
    handle_bag,
    handle_document,
    open_bag,
)
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.tracker import describe, track

Write = Callable[[Iterable[Identified]], None]
Progress = Callable[[int, int], None]  # messages done, messages in all

# Facts handed over at once: enough for one large request to a store.
_FACTS = 20_000


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a replay did. `refused` counts letters by reason; online they are dead letters."""

    bags: int = 0
    events: int = 0
    documents: int = 0
    facts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    # First offset that was still there, of each partition whose beginning is deleted.
    first_kept: Mapping[int, int] = field(default_factory=dict)


def replay_topics(
    settings: Settings,
    *,
    write: Write,
    progress: Progress | None = None,
    workflow: str | None = None,
    execution: str | None = None,
    allow_missing: bool = False,
) -> Replayed:
    """Replay all documents and then all bags up to the present end, or those of one run.

    `write` is called several times, with the facts in the order of the topics. Raises
    RetentionExpired before the first call if events are deleted already, unless `allow_missing`.
    """
    reader = bounded.consumer(settings)
    try:
        events, documents = settings.topics.events, settings.topics.definitions
        # The definitions' end is taken after the events': no bag outruns its definition.
        held = bounded.spans(reader, events)
        defined = bounded.spans(reader, documents)
        first_kept = {number: span.low for number, span in held.items() if span.low > 0}
        if first_kept and not allow_missing:
            raise RetentionExpired(_expired(events, first_kept))
        total = sum(span.high - span.low for spans in (held, defined) for span in spans.values())
        run = _Replay(write, progress, total, workflow, execution)
        run.done.first_kept = first_kept
        for message in bounded.read(reader, documents, defined):
            run.document(_incoming(message))
        for message in bounded.read(reader, events, held):
            run.message(_incoming(message))
        run.finish()
        return run.done
    finally:
        reader.close()


def replay_records(
    records: Iterable[Document | Bag],
    write: Write,
    *,
    source: str = "records",
    workflow: str | None = None,
    execution: str | None = None,
) -> Replayed:
    """Replay what a spool holds, in one pass; a bag that comes before its definition is held back.

    What is held back stays in memory until its definition comes, or the end. `source` and the
    number of the record become the origin of the facts.
    """
    run = _Replay(write, None, 0, workflow, execution)
    early: dict[str, list[tuple[Incoming, Bag]]] = {}
    for number, record in enumerate(records):
        origin = Origin(topic=source, partition=0, offset=number)
        if isinstance(record, Document):
            arrived = run.document(
                Incoming(origin=origin, key=record.key.encode(), value=encode_document(record))
            )
            for content_hash in arrived:
                for message, bag in early.pop(content_hash, ()):
                    run.bag(message, bag)
        elif record.definition is not None and record.definition not in run.known:
            message = Incoming(origin=origin, key=None, value=None)
            early.setdefault(record.definition, []).append((message, record))
        else:
            run.bag(Incoming(origin=origin, key=None, value=None), record)
    for waiting in early.values():
        for message, bag in waiting:
            run.bag(message, bag)
    run.finish()
    return run.done


class _Replay:
    """One replay on its way: the definitions met so far and the facts not yet written."""

    def __init__(
        self,
        write: Write,
        progress: Progress | None,
        total: int,
        workflow: str | None,
        execution: str | None,
    ) -> None:
        self.known: dict[str, Definition] = {}
        self.done = Replayed()
        self._write = write
        self._progress = progress
        self._total = total
        self._workflow = workflow
        self._execution = execution
        self._messages = 0
        self._ready: list[Identified] = []
        self._waiting = 0

    def document(self, message: Incoming) -> frozenset[str]:
        """Take a document in; the hashes by which bags may name it."""
        self._advance()
        handled, version = handle_document(message, describe=describe, now=_now())
        if version is not None:
            self.known |= dict.fromkeys(version.hashes, version.definition)
            if self._workflow not in (None, version.definition.workflow):
                return version.hashes
        self.done.documents += 1
        self._add(handled)
        return version.hashes if version is not None else frozenset()

    def message(self, message: Incoming) -> None:
        """Take in the bytes of a bag."""
        bag = open_bag(message, now=_now())
        if isinstance(bag, Letter):
            self._advance()
            self._add(Handled(letters=(bag,)))
        else:
            self.bag(message, bag)

    def bag(self, message: Incoming, bag: Bag) -> None:
        """Take in a bag, if it is of a run that is wanted."""
        self._advance()
        if self._workflow not in (None, bag.workflow) or self._execution not in (None, bag.execution):
            return
        definition = None if bag.definition is None else self.known.get(bag.definition)
        self.done.bags += 1
        self.done.events += sum(map(event_count, bag.events))
        self._add(handle_bag(message, bag, definition, track=track, now=_now()))

    def finish(self) -> None:
        """Write what is left."""
        self._flush()
        if self._progress is not None:
            self._progress(self._messages, self._total)

    def _add(self, handled: Handled) -> None:
        self.done.refused.update(item.letter.reason for item in handled.letters)
        for identified in handled.identified:
            self._ready.append(identified)
            self._waiting += len(identified.facts)
        if self._waiting >= _FACTS:
            self._flush()

    def _flush(self) -> None:
        if self._ready:
            self._write(self._ready)
        self.done.facts += self._waiting
        self._ready, self._waiting = [], 0

    def _advance(self) -> None:
        self._messages += 1
        if self._progress is not None and self._messages % 100 == 0:
            self._progress(self._messages, self._total)


def _incoming(message: Message) -> Incoming:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return Incoming(
        origin=Origin(topic=topic, partition=partition, offset=offset),
        key=message.key(),
        value=message.value(),
    )


def _expired(topic: str, first_kept: Mapping[int, int]) -> str:
    gone = ", ".join(
        f"partition {number}: first missing offset 0, first kept offset {offset}"
        for number, offset in sorted(first_kept.items())
    )
    return (
        f"{topic} no longer holds its beginning ({gone}): retention deleted it, so a replay would "
        "give a partial graph. Restore the topic, or allow missing events to replay the rest"
    )


def _now() -> int:
    return time.time_ns() // 1000
