"""Topics into an archive: read on from where the manifest ends, write whole files, then move the manifest.

    1. read on to the present end    3. give the files their names
    2. append to a draft for each run and day    4. write the manifest

A crash leaves drafts, and files that the manifest does not know: both are written again. Archiving
twice adds only what is new. Nothing is written to Kafka.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from confluent_kafka import KafkaException, Message
from fastavro.write import Writer

from headstream.schemas.codec import decode_bag, decode_document
from headstream.schemas.errors import SchemaError
from headstream.schemas.records import bag_to_record
from headstream.stream_processors import archive_files as files
from headstream.stream_processors import bounded
from headstream.stream_processors.archive_files import BAG, DOCUMENT, RAW_BAG, RAW_DOCUMENT, File, Manifest
from headstream.stream_processors.bounded import Span
from headstream.stream_processors.errors import ArchiveUnusable, BrokerUnreachable
from headstream.stream_processors.kept import demand_kept, unbroken
from headstream.stream_processors.settings import Settings

# Messages between two manifests: what a crash makes the next call write again.
COMMIT_MESSAGES = 100_000
# Runs whose files are open at once; more are closed early and go on in a file of their own.
_OPEN = 200
_DRAFT = ".draft"

Progress = Callable[[int, int], None]  # messages done, messages in all


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedTopics:
    """What one call added."""

    messages: int
    documents: int
    undecodable: int
    files: int
    bytes: int
    total_messages: int


def archive_topics(
    settings: Settings,
    root: Path,
    *,
    progress: Progress | None = None,
    allow_missing: bool = False,
    commit_messages: int = COMMIT_MESSAGES,
) -> ArchivedTopics:
    """Archive what the events and definitions topics hold and the archive does not.

    Raises RetentionExpired, before anything is written, if events are deleted that were never
    archived, unless `allow_missing`: then the manifest remembers the gap, and a replay names it.
    """
    with ExitStack() as stack:
        reader = bounded.consumer(settings)
        stack.callback(reader.close)
        archiving = _Archiving(settings, reader, root, progress, allow_missing, commit_messages)
        stack.callback(archiving.let_go)
        return archiving.run()


class _Archiving:
    """One call: the manifest as it grows, and the drafts that are open."""

    def __init__(
        self,
        settings: Settings,
        reader: bounded.Reader,
        root: Path,
        progress: Progress | None,
        allow_missing: bool,
        commit_messages: int,
    ) -> None:
        self._topics = settings.topics
        self._reader = reader
        self._root = root
        self._progress = progress
        self._allow_missing = allow_missing
        self._commit_messages = commit_messages
        self._drafts: dict[tuple[str, ...], _Draft] = {}
        self._finished: list[_Draft] = []
        self._next: dict[str, dict[int, int]] = {}
        self._counts = {BAG: 0, DOCUMENT: 0, RAW_BAG: 0, RAW_DOCUMENT: 0}
        self._done = 0
        self._manifest = self._opened(_cluster(reader, settings))
        self._before = self._manifest.files

    def let_go(self) -> None:
        """Close what is open; drafts stay what they are."""
        for draft in self._drafts.values():
            draft.let_go()
        self._drafts.clear()

    def run(self) -> ArchivedTopics:
        events, documents = self._topics.events, self._topics.definitions
        # The definitions' end is taken after the events': no bag outruns its definition.
        held = bounded.spans(self._reader, events)
        defined = bounded.spans(self._reader, documents)
        wanted = self._wanted(events, held)
        total = sum(span.high - span.low for span in wanted.values())
        described = self._after(documents, defined)
        total += sum(span.high - span.low for span in described.values())
        for message in bounded.read(self._reader, documents, described):
            self._take(message, documents, total)
        self._settle(documents, described)
        read = bounded.read(self._reader, events, wanted)
        for message in read if self._allow_missing else unbroken(events, read, wanted):
            self._take(message, events, total)
        self._settle(events, wanted)
        self._commit()
        if self._progress is not None:
            self._progress(total, total)
        added = [each for each in self._manifest.files if each not in set(self._before)]
        return ArchivedTopics(
            messages=self._counts[BAG] + self._counts[RAW_BAG],
            documents=self._counts[DOCUMENT] + self._counts[RAW_DOCUMENT],
            undecodable=self._counts[RAW_BAG] + self._counts[RAW_DOCUMENT],
            files=len(added),
            bytes=sum(each.bytes for each in added),
            total_messages=sum(each.messages for each in self._manifest.files),
        )

    def _opened(self, cluster: str) -> Manifest:
        found = Manifest.load(self._root)
        ours = Manifest(cluster=cluster, events=self._topics.events, definitions=self._topics.definitions)
        if found is None:
            if self._root.exists() and (not self._root.is_dir() or any(self._root.iterdir())):
                raise ArchiveUnusable(
                    f"{self._root} holds other things than an archive; give an empty folder or a new one"
                )
            self._root.mkdir(parents=True, exist_ok=True)
            return ours
        theirs = (found.cluster, found.events, found.definitions)
        if theirs != (ours.cluster, ours.events, ours.definitions):
            raise ArchiveUnusable(
                f"{self._root} is the archive of {found.events} on the Kafka cluster {found.cluster}, and "
                f"this is {ours.events} on {ours.cluster}; give each a folder of its own"
            )
        for draft in self._root.rglob(f"*{_DRAFT}"):  # Of a call that was killed.
            draft.unlink(missing_ok=True)
        return found

    def _after(self, topic: str, held: dict[int, Span]) -> dict[int, Span]:
        """What the archive does not have yet; raises ArchiveUnusable if the topic was made again."""
        done = self._manifest.next.get(topic, {})
        for number, span in held.items():
            if done.get(number, 0) > span.high:
                raise ArchiveUnusable(
                    f"{self._root} holds {topic}[{number}] up to offset {done[number]}, but the topic "
                    f"ends at {span.high}: it was made again; give the new one a folder of its own"
                )
        return {number: Span(max(span.low, done.get(number, 0)), span.high) for number, span in held.items()}

    def _wanted(self, topic: str, held: dict[int, Span]) -> dict[int, Span]:
        wanted = self._after(topic, held)
        done = self._manifest.next.get(topic, {})
        needed = {number: done.get(number, 0) for number in held}
        gone = demand_kept(topic, needed, held, allow_missing=self._allow_missing, what="an archive")
        gaps = tuple((number, first, past) for number, (first, past) in sorted(gone.items()))
        self._manifest = replace(self._manifest, gaps=self._manifest.gaps + gaps)
        return wanted

    def _take(self, message: Message, topic: str, total: int) -> None:
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None
        kind, day, workflow, execution, content = _content(message, topic == self._topics.definitions)
        if kind is not None:
            group = (kind, day, workflow, execution, str(partition))
            draft = self._drafts.get(group)
            if draft is None:
                if len(self._drafts) >= _OPEN:
                    self._close(next(iter(self._drafts)))
                name = files.path_of(kind, day, workflow, execution, partition, offset)
                draft = self._drafts[group] = _Draft(
                    self._root, name, kind, topic, workflow, execution, partition
                )
            draft.append(
                {
                    "partition": partition,
                    "offset": offset,
                    "timestamp": message.timestamp()[1],
                    "key": message.key(),
                    **content,
                }
            )
            self._counts[kind] += 1
        self._next.setdefault(topic, {})[partition] = offset + 1
        self._done += 1
        if self._done % self._commit_messages == 0:
            self._commit()
        if self._progress is not None and self._done % 100 == 0:
            self._progress(self._done, total)

    def _settle(self, topic: str, read: dict[int, Span]) -> None:
        """A partition that was read to its end is archived to there, whatever its last message was."""
        self._next.setdefault(topic, {}).update({number: span.high for number, span in read.items()})

    def _close(self, group: tuple[str, ...]) -> None:
        draft = self._drafts.pop(group)
        draft.close()
        self._finished.append(draft)

    def _commit(self) -> None:
        """Close, name, remember: in this order, so that the manifest knows only files that are there."""
        for group in list(self._drafts):
            self._close(group)
        added = [draft.publish() for draft in self._finished]
        self._finished.clear()
        known = {each.path: each for each in (*self._manifest.files, *added)}
        offsets = {
            topic: {**self._manifest.next.get(topic, {}), **self._next.get(topic, {})}
            for topic in {*self._manifest.next, *self._next}
        }
        self._manifest = replace(self._manifest, next=offsets, files=tuple(known.values()))
        draft_path = self._root / f"{files.MANIFEST}{_DRAFT}"
        with draft_path.open("w", encoding="utf-8") as stream:
            stream.write(self._manifest.dump())
            stream.flush()
            os.fsync(stream.fileno())
        files.replace_file(draft_path, self._root / files.MANIFEST)


class _Draft:
    """A file that is being written, beside its place and under another name."""

    def __init__(
        self, root: Path, name: str, kind: str, topic: str, workflow: str, execution: str, partition: int
    ) -> None:
        self._final = root / name
        self._draft = self._final.with_name(self._final.name + _DRAFT)
        self._draft.parent.mkdir(parents=True, exist_ok=True)
        self._name, self._kind, self._partition = name, kind, partition
        self._offsets: list[int] = []
        self._messages = 0
        self._file = _Hashed(self._draft.open("wb"))
        self._writer = Writer(
            cast("IO[bytes]", self._file),
            files.schema(kind),
            files.CODEC,
            metadata={
                "headstream.kind": kind,
                "headstream.topic": topic,
                "headstream.workflow": workflow,
                "headstream.execution": execution,
            },
        )

    def append(self, record: dict[str, Any]) -> None:
        self._writer.write(record)
        self._offsets = [*self._offsets[:1], record["offset"]]
        self._messages += 1

    def close(self) -> None:
        self._writer.flush()
        self._file.close()

    def let_go(self) -> None:
        self._file.let_go()

    def publish(self) -> File:
        files.replace_file(self._draft, self._final)
        return File(
            path=self._name,
            kind=self._kind,
            partition=self._partition,
            first=self._offsets[0],
            last=self._offsets[-1],
            messages=self._messages,
            bytes=self._file.size,
            sha256=self._file.hash.hexdigest(),
        )


class _Hashed:
    """A file that is hashed while it is written; it is on the disk when it is closed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._stream.write(data)

    def seekable(self) -> bool:
        """Never: fastavro would look for a file to append to."""
        return False

    def flush(self) -> None:
        self._stream.flush()

    def let_go(self) -> None:
        self._stream.close()

    def close(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()


def _content(message: Message, document: bool) -> tuple[str | None, str, str, str, dict[str, Any]]:
    """Kind, day, workflow, execution and the rest of the record; no kind for what need not be kept."""
    value = message.value()
    timestamp = message.timestamp()[1]
    today = files.day(timestamp * 1000)
    try:
        if document:
            if value is None:
                return None, "", "", "", {}  # A tombstone says nothing.
            found = decode_document(value)
            record = {"kind": found.kind, "name": found.name, "body": found.body}
            return DOCUMENT, "", "", "", {"document": record}
        bag = decode_bag(value or b"")
        return BAG, files.day_of(bag, timestamp), bag.workflow, bag.execution, {"bag": bag_to_record(bag)}
    except SchemaError:
        given: Any = message.headers() or ()
        headers = [{"name": name, "value": _bytes(each)} for name, each in given]
        raw = {"headers": headers, "value": value}
        return RAW_DOCUMENT if document else RAW_BAG, today, "", "", raw


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _cluster(reader: bounded.Reader, settings: Settings) -> str:
    try:
        return str(reader.list_topics(timeout=bounded.SILENCE).cluster_id)
    except KafkaException as error:
        raise BrokerUnreachable(
            f"no Kafka broker answers at {settings.bootstrap} ({error.args[0].str()})"
        ) from error
