"""The graph again, from what is kept: a bounded run of the pure tracker without Kafka's groups.

Replay runs the functions of the online worker on the same messages, so it gives the same facts.
It writes nothing to Kafka and moves no offset of the workers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headstream.schemas.codec import encode_document
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_count
from headstream.schemas.facts import Identified, Origin
from headstream.stream_processors.handling import (
    Handled,
    Incoming,
    Letter,
    handle_bag,
    handle_document,
    open_bag,
)
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.sources import Source, Taken, TopicsSource
from headstream.stream_processors.tracker import describe, track

Write = Callable[[Iterable[Identified]], None]
Progress = Callable[[int, int], None]  # messages done, messages in all

# A chunk is tracked at once; its facts are some 30 to 300 times the size of its bytes.
CHUNK_BYTES = 64 << 10
_EVENT_BYTES = 30


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

    def add(self, other: Replayed) -> None:
        """Count what another part did as well."""
        self.bags += other.bags
        self.events += other.events
        self.documents += other.documents
        self.facts += other.facts
        self.refused.update(other.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Messages that are tracked together, and the marks behind them once their facts are stored."""

    taken: tuple[Taken, ...]
    described: tuple[Identified, ...] = ()
    counts: Replayed
    marks: Mapping[str, int]


class Chunks:
    """Cuts a source into chunks; documents are taken in on the way, so `known` grows.

    A bag that is read before its definition is held back until that comes, or to the end; marks
    stand still meanwhile, so that a replay that is taken up again finds it.
    """

    def __init__(self, source: Source, selection: Selection, marks: Mapping[str, int]) -> None:
        self.known: dict[str, Definition] = {}
        self._source = source
        self._selection = selection
        self._start = marks
        self._marks = dict(marks)
        self._held: dict[str, list[Taken]] = {}
        self._clear()

    def __iter__(self) -> Iterator[Chunk]:
        documents = True
        for taken in self._source.read(self._start):
            if taken.document:
                self._describe(taken.message)
            else:
                if documents and self._source.documents_first:
                    # Whoever tracks the first bags is given all definitions.
                    yield from self._cut()
                documents = False
                self._hold_or_add(taken)
            if taken.mark is not None and not self._held:
                self._marks[taken.mark[0]] = taken.mark[1]
            if self._size >= CHUNK_BYTES:
                yield from self._cut()
        for waiting in self._held.values():
            for taken in waiting:
                self._add(taken)
        self._held.clear()
        yield from self._cut()

    def _hold_or_add(self, taken: Taken) -> None:
        definition = None if taken.bag is None else taken.bag.definition
        if definition is not None and definition not in self.known and not self._source.documents_first:
            self._held.setdefault(definition, []).append(taken)
        else:
            self._add(taken)

    def _add(self, taken: Taken) -> None:
        self._taken.append(taken)
        self._size += len(taken.message.value or b"") + 1
        if taken.bag is not None:
            self._size += _EVENT_BYTES * sum(map(event_count, taken.bag.events))

    def _describe(self, message: Incoming) -> None:
        handled, version = handle_document(message, describe=describe, now=_now())
        if version is not None:
            self.known |= dict.fromkeys(version.hashes, version.definition)
            for content_hash in version.hashes:
                for taken in self._held.pop(content_hash, ()):
                    self._add(taken)
            if self._selection.workflow not in (None, version.definition.workflow):
                return
        self._counts.documents += 1
        self._counts.refused.update(item.letter.reason for item in handled.letters)
        self._described += handled.identified
        self._counts.facts += sum(len(each.facts) for each in handled.identified)
        self._size += len(message.value or b"")

    def _cut(self) -> Iterator[Chunk]:
        if self._taken or self._described or self._counts.documents:
            yield Chunk(
                taken=tuple(self._taken),
                described=tuple(self._described),
                counts=self._counts,
                marks=dict(self._marks),
            )
            self._clear()

    def _clear(self) -> None:
        self._taken: list[Taken] = []
        self._described: list[Identified] = []
        self._counts = Replayed()
        self._size = 0


def track_again(
    taken: Sequence[Taken], known: Mapping[str, Definition], selection: Selection
) -> tuple[list[Identified], Replayed]:
    """The facts of the bags that are selected, and what they count for. Pure but for the time of letters."""
    counts = Replayed()
    facts: list[Identified] = []
    for each in taken:
        bag = each.bag if each.bag is not None else open_bag(each.message, now=_now())
        if isinstance(bag, Letter):
            counts.refused[bag.letter.reason] += 1
            continue
        handled = _handle(each.message, bag, known, selection)
        if handled is None:
            continue
        counts.bags += 1
        counts.events += handled[1]
        counts.refused.update(item.letter.reason for item in handled[0].letters)
        facts += handled[0].identified
    counts.facts = sum(len(each.facts) for each in facts)
    return facts, counts


def _handle(
    message: Incoming, bag: Bag, known: Mapping[str, Definition], selection: Selection
) -> tuple[Handled, int] | None:
    chosen = selection.of(bag)
    if chosen is None:
        return None
    definition = None if chosen.definition is None else known.get(chosen.definition)
    handled = handle_bag(message, chosen, definition, track=track, now=_now())
    return handled, sum(map(event_count, chosen.events))


def replay_source(
    source: Source, selection: Selection, write: Write, progress: Progress | None = None
) -> Replayed:
    """Replay a source in this thread; `write` is called with the facts of each chunk, in order."""
    done = Replayed(first_kept=source.first_kept)
    chunks = Chunks(source, selection, {})
    messages = 0
    for chunk in chunks:
        facts, counts = track_again(chunk.taken, chunks.known, selection)
        found = [*chunk.described, *facts]
        if found:
            write(found)
        done.add(chunk.counts)
        done.add(counts)
        messages += len(chunk.taken) + chunk.counts.documents
        if progress is not None:
            progress(messages, source.total or 0)
    return done


def replay_topics(
    settings: Settings,
    *,
    write: Write,
    progress: Progress | None = None,
    selection: Selection | None = None,
    allow_missing: bool = False,
) -> Replayed:
    """Replay all documents and then the selected bags up to the present end.

    `write` is called several times, with the facts in the order of the topics. Raises
    RetentionExpired before the first call if events are deleted already, unless `allow_missing`.
    """
    chosen = selection or Selection()
    source = TopicsSource(settings, chosen, allow_missing=allow_missing)
    try:
        return replay_source(source, chosen, write, progress)
    finally:
        source.close()


@dataclass(slots=True)
class RecordsSource:
    """Documents and bags in the order in which they were captured, such as a spool gives them."""

    records: Iterable[Document | Bag]
    name: str = "records"
    documents_first = False
    total: int | None = None
    first_kept: Mapping[int, int] = field(default_factory=dict)

    def behind(self, marks: Mapping[str, int]) -> int | None:
        return None if marks else 0

    def read(self, marks: Mapping[str, int]) -> Iterator[Taken]:
        yield from taken_records(self.records, self.name)

    def close(self) -> None:
        """The records belong to the caller."""


def taken_records(records: Iterable[Document | Bag], name: str) -> Iterator[Taken]:
    """Records as messages; `name` and the number of a record become the origin of its facts."""
    for number, record in enumerate(records):
        origin = Origin(topic=name, partition=0, offset=number)
        if isinstance(record, Document):
            message = Incoming(origin=origin, key=record.key.encode(), value=encode_document(record))
            yield Taken(message=message, document=True)
        else:
            yield Taken(message=Incoming(origin=origin, key=None, value=None), bag=record)


def replay_records(
    records: Iterable[Document | Bag], write: Write, *, selection: Selection | None = None
) -> Replayed:
    """Replay what a spool holds, in one pass; a bag that comes before its definition is held back.

    What is held back stays in memory until its definition comes, or the end.
    """
    return replay_source(RecordsSource(records), selection or Selection(), write)


def _now() -> int:
    return time.time_ns() // 1000
