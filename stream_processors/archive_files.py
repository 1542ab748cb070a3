"""The files of an archive: Avro object container files by day and run, and what lies in them.

    headstream-archive.json                          offsets that are archived, files with their hashes
    definitions/PARTITION-OFFSET.avro                documents
    events/DAY/WORKFLOW/EXECUTION-PARTITION-OFFSET.avro   bags of one run
    events/DAY/undecodable-PARTITION-OFFSET.avro     messages that are no bag, as bytes
    definitions/undecodable-PARTITION-OFFSET.avro    and those that are no document

DAY is that of the first event of a bag that tells a time (UTC), else of its Kafka timestamp. Each
record carries its Kafka coordinates. Any Avro tool reads the files: the schema is in them, and no
registry is needed. Bytes that are no bag are kept as bytes, so that a replay counts them as well.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro
from fastavro.schema import parse_schema

from headstream.schemas import registry
from headstream.schemas.codec import encode_document
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_time
from headstream.schemas.facts import Origin
from headstream.schemas.identifiers import enc
from headstream.schemas.records import bag_from_record
from headstream.stream_processors.errors import ArchiveUnreadable
from headstream.stream_processors.handling import Incoming

MANIFEST: Final = "headstream-archive.json"
SUFFIX: Final = ".avro"
BAG: Final = "bag"
DOCUMENT: Final = "document"
RAW_BAG: Final = "undecodable-bag"
RAW_DOCUMENT: Final = "undecodable-document"
DOCUMENTS: Final = frozenset({DOCUMENT, RAW_DOCUMENT})
# Every Avro reader has deflate; zstandard packs better, and would need a package wherever it is read.
CODEC: Final = "deflate"
_FORMAT: Final = 1
_NAME: Final = 120  # Bytes of a name in a path: file systems take 255 for all of it.
_WHERE: Final = (
    {"name": "partition", "type": "int"},
    {"name": "offset", "type": "long"},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "key", "type": ["null", "bytes"], "default": None},
)


@cache
def schema(kind: str) -> Any:
    """The schema of the files of one kind, parsed."""
    header = {"type": "record", "name": "Header", "fields": [
        {"name": "name", "type": "string"}, {"name": "value", "type": ["null", "bytes"]}]}  # fmt: skip
    raw = (
        {"name": "headers", "type": {"type": "array", "items": header}},
        {"name": "value", "type": ["null", "bytes"]},
    )
    content: dict[str, tuple[dict[str, Any], ...]] = {
        BAG: ({"name": "bag", "type": registry.current("bag").parsed},),
        DOCUMENT: ({"name": "document", "type": registry.current("document").parsed},),
        RAW_BAG: raw,
        RAW_DOCUMENT: raw,
    }
    return parse_schema(
        {
            "type": "record",
            "name": "Archived" + kind.title().replace("-", ""),
            "namespace": "org.headstream.archive",
            "doc": "A message of a topic of headstream and where it lay.",
            "fields": [*_WHERE, *content[kind]],
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an archive as its manifest knows it; `path` is relative to the folder of the archive."""

    path: str
    kind: str
    partition: int
    first: int
    last: int
    messages: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is archived of which topics: offsets before `next` of each partition, but those in `gaps`.

    `gaps` are ranges of the events topic that retention had deleted before they were archived.
    """

    cluster: str
    events: str
    definitions: str
    next: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    gaps: tuple[tuple[int, int, int], ...] = ()  # partition, first, past the last
    files: tuple[File, ...] = ()

    def dump(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def load(cls, root: Path) -> Manifest | None:
        """The manifest of a folder, None if it has none; raises ArchiveUnreadable."""
        path = root / MANIFEST
        try:
            said = json.loads(path.read_text("utf-8"))
            if said.pop("format") != _FORMAT:
                raise ValueError("it is of another version of headstream")
            offsets = {
                topic: {int(number): place for number, place in places.items()}
                for topic, places in said.pop("next").items()
            }
            gaps = tuple((a, b, c) for a, b, c in said.pop("gaps"))
            files = tuple(File(**each) for each in said.pop("files"))
            return cls(**said, next=offsets, gaps=gaps, files=files)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ArchiveUnreadable(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def day_of(bag: Bag, timestamp: int) -> str:
    """The day under which a bag is filed; `timestamp` is Kafka's, in milliseconds."""
    times = (time for event in bag.events if (time := event_time(event)) is not None)
    return day(next(times, timestamp * 1000))


def day(microseconds: int) -> str:
    """The day of an instant, in UTC."""
    try:
        return datetime.fromtimestamp(microseconds // 1_000_000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "unknown-day"


def path_of(kind: str, day: str, workflow: str, execution: str, partition: int, offset: int) -> str:
    """Where the file that begins with this message lies."""
    place = f"{partition}-{offset:012d}{SUFFIX}"
    if kind in DOCUMENTS:
        return f"definitions/{'' if kind == DOCUMENT else 'undecodable-'}{place}"
    if kind == RAW_BAG:
        return f"events/{day}/undecodable-{place}"
    return f"events/{day}/{_segment(workflow)}/{_segment(execution)}-{place}"


def _segment(text: str) -> str:
    """A name as a segment of a path; one that is too long is cut, and stays distinct by its hash."""
    safe = enc(text)
    if len(safe) <= _NAME and not safe.startswith("."):
        return safe
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"~{safe[: _NAME - 20]}~{digest}"


@dataclass(frozen=True, slots=True)
class Archived:
    """A message out of an archive; `bag` is None for a document and for what is no bag."""

    kind: str
    message: Incoming
    bag: Bag | None = None


def read(path: Path, wanted: File | None = None) -> Iterator[Archived]:
    """Every message of a file, in order; raises ArchiveUnreadable, before the first if it can be known."""
    if wanted is not None:
        _demand_hash(path, wanted.sha256)
    try:
        with path.open("rb") as stream:
            reader = fastavro.reader(stream, return_record_name=True)
            metadata = {key: str(value) for key, value in reader.metadata.items()}
            kind, topic = metadata["headstream.kind"], metadata["headstream.topic"]
            ours = schema(kind)
            if reader.writer_schema != ours:
                stream.seek(0)
                reader = fastavro.reader(stream, reader_schema=ours, return_record_name=True)
            for record in reader:
                yield _archived(kind, topic, record)
    except OSError as error:
        raise ArchiveUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # fastavro raises ValueError, EOFError, zlib.error, KeyError, ...
        raise ArchiveUnreadable(
            f"{path} is corrupt, or no file of an archive of headstream ({type(error).__name__}: {error}); "
            "restore it from a copy, or archive the topics again into another folder while they hold it"
        ) from error


def kind_of(path: Path) -> str:
    """What a file holds; raises ArchiveUnreadable."""
    try:
        with path.open("rb") as stream:
            return str(fastavro.reader(stream).metadata["headstream.kind"])
    except Exception as error:
        raise ArchiveUnreadable(
            f"{path} is no file of an archive of headstream ({type(error).__name__}: {error})"
        ) from error


def _archived(kind: str, topic: str, record: Any) -> Archived:
    origin = Origin(topic=topic, partition=record["partition"], offset=record["offset"])
    key = record["key"]
    if kind == BAG:
        bag = bag_from_record(_plain(record["bag"]))
        return Archived(kind, Incoming(origin=origin, key=key, value=None), bag)
    if kind == DOCUMENT:
        value = encode_document(Document(**_plain(record["document"])))
        return Archived(kind, Incoming(origin=origin, key=key, value=value))
    headers = tuple((each["name"], each["value"]) for each in map(_plain, record["headers"]))
    return Archived(kind, Incoming(origin=origin, key=key, value=record["value"], headers=headers))


def _plain(datum: Any) -> Any:
    return datum[1] if isinstance(datum, tuple) else datum


def _demand_hash(path: Path, expected: str) -> None:
    if sha256_of(path) != expected:
        raise ArchiveUnreadable(
            f"{path} is corrupt: its content is not what {MANIFEST} has a hash of; restore it from a copy, "
            "or archive the topics again into another folder while they hold it"
        )


def sha256_of(path: Path) -> str:
    """The hash of a file; raises ArchiveUnreadable."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


def root_of(path: Path) -> Path | None:
    """The folder of the archive that a file or folder belongs to: the nearest with a manifest."""
    return next((each for each in (path, *path.parents) if (each / MANIFEST).is_file()), None)


def replace_file(draft: Path, final: Path) -> None:
    """Give a written file its name: after a crash it is there whole, or not at all."""
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
