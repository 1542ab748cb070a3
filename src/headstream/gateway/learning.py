"""Definitions and stores that others publish: in folders of documents, and on the definitions topic.

The gateway follows both, so that a definition that comes by `headstream define` counts for the
messages of ProvLake clients too (planned nesting, default stores, roles of references).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException, Message, TopicPartition

from headstream.schemas.codec import decode_document
from headstream.schemas.documents import Document
from headstream.schemas.errors import SchemaError
from headstream.stream_processors import bounded
from headstream.stream_processors.errors import TrackerError
from headstream.stream_processors.settings import Settings

log = logging.getLogger(__name__)
_FIRST_SECONDS: Final = 10.0

# What has come since it was last called, the oldest first.
Source = Callable[[], Iterable[Document]]


class Folders:
    """Folders of documents, one file each; a file that is touched is the latest version again."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._seen: dict[Path, int] = {}

    def __call__(self) -> list[Document]:
        found: list[tuple[int, Path]] = []
        for path in (path for folder in self._folders for path in folder.glob("*.avro")):
            try:
                at = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if self._seen.get(path) != at:
                self._seen[path] = at
                found.append((at, path))
        return [each for _, path in sorted(found) for each in _read(path)]


class Topic:
    """The definitions topic from its beginning, whoever is away in between."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: bounded.Reader | None = None
        self._silent = False

    def __call__(self) -> list[Document]:
        try:
            messages = self._first() if self._reader is None else self._more(self._reader)
        except (TrackerError, KafkaException) as error:
            if not self._silent:
                log.warning("published definitions cannot be read", extra={"reason": str(error)})
            self._silent = True
            return []
        self._silent = False
        messages.sort(key=lambda message: message.timestamp()[1])
        return [each for message in messages for each in _decoded(message.value() or b"")]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _first(self) -> list[Message]:
        reader = bounded.consumer(self._settings, **{"auto.offset.reset": "earliest"})
        topic = self._settings.topics.definitions
        try:
            spans = bounded.spans(reader, topic)
            reader.assign([TopicPartition(topic, number, span.low) for number, span in spans.items()])
        except BaseException:
            reader.close()
            raise
        self._reader = reader
        behind = {number: span.high for number, span in spans.items() if span.high > span.low}
        found: list[Message] = []
        deadline = time.monotonic() + _FIRST_SECONDS
        while behind and time.monotonic() < deadline:
            message = reader.poll(0.2)
            if message is None or message.error():
                continue
            found.append(message)
            number, offset = message.partition(), message.offset()
            if number is not None and offset is not None and offset + 1 >= behind.get(number, 0):
                behind.pop(number, None)
        return found

    @staticmethod
    def _more(reader: bounded.Reader) -> list[Message]:
        found: list[Message] = []
        while (message := reader.poll(0)) is not None:
            if not message.error():
                found.append(message)
        return found


def follow(sources: Sequence[Source], learn: Callable[[Document], None]) -> None:
    """Learn what has come from any of the sources."""
    for source in sources:
        for each in source():
            learn(each)


def _read(path: Path) -> list[Document]:
    try:
        return _decoded(path.read_bytes())
    except OSError:
        return []


def _decoded(data: bytes) -> list[Document]:
    try:
        return [decode_document(data)]
    except SchemaError:  # Whoever described it has refused it.
        return []
