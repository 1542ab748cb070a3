"""Where a replay reads from: topics or an archive, documents first, each bag with the mark behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from confluent_kafka import Message

from headstream.schemas.events import Bag
from headstream.schemas.facts import Origin
from headstream.stream_processors import archive_files as files
from headstream.stream_processors import bounded
from headstream.stream_processors.archive_files import File, Manifest
from headstream.stream_processors.bounded import Span
from headstream.stream_processors.errors import (
    ArchiveUnreadable,
    InvalidSelection,
    RetentionExpired,
)
from headstream.stream_processors.handling import Incoming
from headstream.stream_processors.kept import demand_kept, unbroken
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.settings import Settings

# A unit of a source, and how much of it is behind: a partition and an offset, a file and a count.
Mark = tuple[str, int]

# A bag is shipped after what it tells has happened, by another clock perhaps: so far apart may they be.
CLOCKS_APART_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message of a source; `bag` is None while it is bytes, or for a document."""

    message: Incoming
    document: bool = False
    bag: Bag | None = None
    mark: Mark | None = None


class Source(Protocol):
    """Something kept that a graph can be built from again. What comes later is not part of it."""

    total: int | None
    documents_first: bool
    first_kept: Mapping[int, int]

    def behind(self, marks: Mapping[str, int]) -> int | None:
        """How many messages lie behind marks of an earlier replay; None if they are of something else."""

    def read(self, marks: Mapping[str, int]) -> Iterator[Taken]:
        """Yield every document, and the bags that are selected and lie behind the marks."""

    def close(self) -> None:
        """Let go of connections and files."""


class TopicsSource:
    """The events and definitions topics up to the end that they have when it is made.

    Making it raises RetentionExpired if an event that may be selected is deleted, unless
    `allow_missing`, and InvalidSelection for offsets that are not there.
    """

    documents_first = True

    def __init__(self, settings: Settings, selection: Selection, *, allow_missing: bool = False) -> None:
        self._topics = settings.topics
        self._allow_missing = allow_missing
        self._reader = bounded.consumer(settings)
        try:
            events, documents = settings.topics.events, settings.topics.definitions
            # The definitions' end is taken after the events': no bag outruns its definition.
            held = bounded.spans(self._reader, events)
            self._defined = bounded.spans(self._reader, documents)
            self._demand_offsets(selection, held)
            needed = self._needed(selection, held)
            gone = demand_kept(events, needed, held, allow_missing=allow_missing, what="a replay")
            demand_kept(
                documents,
                dict.fromkeys(self._defined, 0),
                self._defined,
                allow_missing=allow_missing,
                what="a replay",
            )
        except BaseException:
            self._reader.close()
            raise
        self.first_kept: Mapping[int, int] = {number: past for number, (_, past) in gone.items()}
        self._wanted = {
            number: Span(max(span.low, min(needed[number], span.high)), selection.last.get(number, span.high))
            for number, span in held.items()
        }
        spans = (*self._wanted.values(), *self._defined.values())
        self.total: int | None = sum(max(0, span.high - span.low) for span in spans)

    def behind(self, marks: Mapping[str, int]) -> int | None:
        spans = {str(number): span for number, span in self._wanted.items()}
        if any(name not in spans or place > spans[name].high for name, place in marks.items()):
            return None  # The topic was made again.
        return sum(max(0, place - spans[name].low) for name, place in marks.items())

    def read(self, marks: Mapping[str, int]) -> Iterator[Taken]:
        for message in bounded.read(self._reader, self._topics.definitions, self._defined):
            yield Taken(message=_incoming(message), document=True)
        wanted = {
            number: Span(max(span.low, marks.get(str(number), 0)), span.high)
            for number, span in self._wanted.items()
        }
        read = bounded.read(self._reader, self._topics.events, wanted)
        for message in read if self._allow_missing else unbroken(self._topics.events, read, wanted):
            incoming = _incoming(message)
            origin = incoming.origin
            yield Taken(message=incoming, mark=(str(origin.partition), origin.offset + 1))

    def close(self) -> None:
        self._reader.close()

    def _needed(self, selection: Selection, held: Mapping[int, Span]) -> dict[int, int]:
        """The first offset of each partition that may hold a selected event."""
        needed = {number: selection.first.get(number, 0) for number in held}
        if selection.since is None:
            return needed
        moment = selection.since // 1000 - CLOCKS_APART_MS
        found = bounded.at_time(self._reader, self._topics.events, held, max(0, moment))
        for number, span in held.items():
            # If the first message that is left is too late already, those before it may have been wanted.
            if found[number] > span.low:
                needed[number] = max(needed[number], found[number])
        return needed

    def _demand_offsets(self, selection: Selection, held: Mapping[int, Span]) -> None:
        for option, chosen in (("--from-offset", selection.first), ("--to-offset", selection.last)):
            for number, offset in chosen.items():
                if number not in held:
                    raise InvalidSelection(
                        f"{option} names partition {number}, but {self._topics.events} has the partitions "
                        f"{', '.join(map(str, held))}"
                    )
                if offset > held[number].high:
                    raise InvalidSelection(
                        f"{option} is {number}:{offset}, but {self._topics.events}[{number}] ends at offset "
                        f"{held[number].high}"
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A file to read: where it is, under which name it is marked, and what its manifest knows of it."""

    path: Path
    name: str
    known: File | None


@dataclass(slots=True)
class ArchiveSource:
    """An archive, a folder of one, or one file: with the definitions of the archive that it belongs to.

    Making it raises ArchiveUnreadable if a file that the manifest knows is missing, and
    RetentionExpired for an archive with gaps, unless `allow_missing`.
    """

    path: Path
    selection: Selection
    allow_missing: bool = False
    documents_first = True
    total: int | None = field(init=False)
    first_kept: Mapping[int, int] = field(init=False)
    _places: list[_Place] = field(init=False)

    def __post_init__(self) -> None:
        root = files.root_of(self.path)
        manifest = None if root is None else Manifest.load(root)
        base = self.path if root is None else root
        known = (
            {} if manifest is None or root is None else {root / each.path: each for each in manifest.files}
        )
        listed = {
            path for path in known if path.is_relative_to(self.path) or known[path].kind in files.DOCUMENTS
        }
        found = {self.path} if self.path.is_file() else set(self.path.rglob(f"*{files.SUFFIX}"))
        for path in sorted(listed - found):
            if not path.is_file():
                raise ArchiveUnreadable(
                    f"{path} is missing, and {base / files.MANIFEST} says that it belongs to the archive; "
                    "restore it from a copy"
                )
        self._places = [
            _Place(
                path=path,
                name=str(path.relative_to(base if base.is_dir() else base.parent)),
                known=known.get(path),
            )
            for path in sorted(found | listed)
        ]
        self.first_kept = self._demand_whole(manifest)
        counts = [place.known.messages if place.known else None for place in self._places]
        self.total = None if None in counts else sum(count or 0 for count in counts)

    def behind(self, marks: Mapping[str, int]) -> int | None:
        return sum(marks.values()) if marks.keys() <= {place.name for place in self._places} else None

    def read(self, marks: Mapping[str, int]) -> Iterator[Taken]:
        documents = [place for place in self._places if self._holds_documents(place)]
        for place in documents:
            for archived in files.read(place.path, place.known):
                yield Taken(message=archived.message, document=True)
        for place in self._places:
            if place in documents:
                continue
            behind = marks.get(place.name, 0)
            for count, archived in enumerate(files.read(place.path, place.known), start=1):
                origin = archived.message.origin
                if count > behind and self.selection.takes_offset(origin.partition, origin.offset):
                    yield Taken(message=archived.message, bag=archived.bag, mark=(place.name, count))

    def close(self) -> None:
        """Files are closed as they are read."""

    @staticmethod
    def _holds_documents(place: _Place) -> bool:
        if place.known is not None:
            return place.known.kind in files.DOCUMENTS
        return files.kind_of(place.path) in files.DOCUMENTS

    def _demand_whole(self, manifest: Manifest | None) -> dict[int, int]:
        gaps = [] if manifest is None else [gap for gap in manifest.gaps if self._matters(gap)]
        if gaps and not self.allow_missing:
            ranges = "; ".join(f"partition {number}: {first} to {past - 1}" for number, first, past in gaps)
            number, first, _ = min(gaps)
            raise RetentionExpired(
                f"{self.path} lacks offsets that retention had deleted before they were archived ({ranges}), "
                f"first missing offset {first} of partition {number}; a replay would be partial. Choose what "
                "is there with --from-offset, or take it as it is with --allow-missing"
            )
        return {number: past for number, _, past in sorted(gaps)}

    def _matters(self, gap: tuple[int, int, int]) -> bool:
        number, first, past = gap
        begin, end = self.selection.first.get(number, 0), self.selection.last.get(number)
        return past > begin and (end is None or first < end)


def _incoming(message: Message) -> Incoming:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return Incoming(
        origin=Origin(topic=topic, partition=partition, offset=offset),
        key=message.key(),
        value=message.value(),
    )
