"""The letters of the dead-letter topic: which of them still wait, and how they are sent again or dropped.

A letter is settled by a message behind it in its own partition, written after the broker has the
letter's original again: a crash between the two repeats, and loses none (docs/decisions/0008).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headstream.schemas.codec import decode_document
from headstream.schemas.confluent import Frame
from headstream.schemas.dead_letters import (
    DROPPED,
    REDRIVEN,
    RESENT,
    WAITING,
    Headers,
    Kept,
    definition_of,
    from_headers,
    redrive_headers,
    settled_by,
    settlement,
)
from headstream.schemas.errors import MalformedMessage, SchemaError
from headstream.schemas.facts import DeadLetter, Origin
from headstream.schemas.topics import PARTITIONER
from headstream.stream_processors import bounded
from headstream.stream_processors.bounded import Span
from headstream.stream_processors.errors import RedriveFailed
from headstream.stream_processors.handling import version_of
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.topics import DEAD_LETTER_BYTES

_CHUNK = 100
_SECONDS = 30.0

Progress = Callable[[int, int], None]
Place = tuple[int, int]  # Partition and offset.


class LetterTopic:
    """The dead-letter topic as somebody sees it who mends what was refused."""

    def __init__(self, settings: Settings, frame: Frame = lambda topic, value: value) -> None:
        self._frame = frame
        self._settings = settings
        self._topic = settings.topics.dead_letters
        self._errors: list[str] = []
        self.unreadable = 0

    def kept(self, progress: Progress = lambda done, total: None) -> list[Kept]:
        """Every letter of the topic, oldest first, and what became of it.

        `unreadable` then says how many messages are no letters of ours.
        """
        found: dict[Place, Kept] = {}
        outcomes: dict[Place, str] = {}
        self.unreadable = 0
        for message in self._read(self._topic, progress=progress):
            partition, offset = _place(message)
            settled = settled_by(message.headers())
            if settled is not None:
                outcomes[partition, settled[0]] = settled[1]
                continue
            try:
                letter = _letter(message)
            except MalformedMessage:
                self.unreadable += 1
                continue
            found[partition, offset] = Kept(
                place=Origin(topic=self._topic, partition=partition, offset=offset),
                letter=replace(letter, value=b""),
                size=len(letter.value),
                definition=definition_of(message.headers()),
            )
        arrived = self._arrived() if any(item.definition for item in found.values()) else frozenset()
        kept = (
            replace(item, state=outcomes.get(place) or (RESENT if item.definition in arrived else WAITING))
            for place, item in found.items()
        )
        return sorted(kept, key=lambda item: (item.letter.at, item.place.partition, item.place.offset))

    def letter(self, partition: int, offset: int) -> DeadLetter | None:
        """One letter with its value, or None if there is none at this place."""
        for message in self._read(self._topic, {partition: Span(offset, offset + 1)}):
            if settled_by(message.headers()) is None:
                return _letter(message)
        return None

    def redrive(self, chosen: Sequence[Kept], progress: Progress = lambda done, total: None) -> int:
        """Send letters to the topics they came from and settle them; how many there still were.

        Raises RedriveFailed if the broker does not take one; it and those after it then still wait.
        """
        places = {(item.place.partition, item.place.offset) for item in chosen}
        producer = self._producer()
        sent = 0
        batch: list[Message] = []
        for message in self._read(self._topic, _spans(places)):
            if _place(message) in places:
                batch.append(message)
            if len(batch) == _CHUNK:
                sent += self._again(producer, batch)
                batch = []
                progress(sent, len(places))
        return sent + self._again(producer, batch)

    def drop(self, chosen: Sequence[Kept]) -> None:
        """Settle letters without sending them; the topic keeps their bytes for as long as its retention."""
        self._settle(
            self._producer(), ((item.place.partition, item.place.offset) for item in chosen), DROPPED
        )

    def _again(self, producer: Producer, batch: Sequence[Message]) -> int:
        letters = [_letter(message) for message in batch]
        for letter in letters:
            self._produce(
                producer,
                letter.origin.topic,
                key=letter.key or None,
                value=self._frame(letter.origin.topic, letter.value),
                headers=redrive_headers(letter),
            )
        self._flush(producer)  # 1: the broker has the originals
        self._settle(producer, map(_place, batch), REDRIVEN)  # 2
        return len(batch)

    def _settle(self, producer: Producer, places: Iterator[Place], outcome: str) -> None:
        now = time.time_ns() // 1000
        for partition, offset in places:
            headers = settlement(offset, outcome, now)
            self._produce(producer, self._topic, partition=partition, headers=headers)
        self._flush(producer)

    def _arrived(self) -> frozenset[str]:
        """The hashes of all definitions that workers know: what waited for one of them is sent by itself."""
        found: set[str] = set()
        for message in self._read(self._settings.topics.definitions):
            try:
                version = version_of(decode_document(message.value() or b""))
            except SchemaError:
                continue
            found |= version.hashes if version is not None else frozenset()
        return frozenset(found)

    def _read(
        self,
        topic: str,
        wanted: dict[int, Span] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Iterator[Message]:
        reader = bounded.consumer(self._settings, **{"auto.offset.reset": "earliest"})
        try:
            there = bounded.spans(reader, topic)
            spans = {
                number: Span(max(span.low, there[number].low), min(span.high, there[number].high))
                for number, span in (wanted or there).items()
                if number in there
            }
            total = sum(max(0, span.high - span.low) for span in spans.values())
            for done, message in enumerate(bounded.read(reader, topic, spans)):
                progress(done, total)
                yield message
        finally:
            reader.close()

    def _producer(self) -> Producer:
        options: dict[str, str | int | float | bool] = {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": PARTITIONER,
            "message.max.bytes": DEAD_LETTER_BYTES,
            "message.timeout.ms": int(_SECONDS * 1000),
        }
        return Producer(self._settings.kafka(**options))

    def _produce(
        self,
        producer: Producer,
        topic: str,
        *,
        headers: Headers,
        key: bytes | None = None,
        value: bytes = b"",
        partition: int = -1,
    ) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._errors.append(f"{topic}: {error.str()}")

        while True:
            try:
                producer.produce(
                    topic,
                    key=key,
                    value=value,
                    partition=partition,
                    headers=list[tuple[str, str | bytes | None]](headers),
                    on_delivery=delivered,
                )
                return
            except BufferError:  # The queue is full.
                producer.poll(0.1)
            except KafkaException as error:
                raise RedriveFailed(f"{topic} did not take a message: {error}") from error

    def _flush(self, producer: Producer) -> None:
        left = producer.flush(_SECONDS + 5)
        if left or self._errors:
            reason = self._errors[0] if self._errors else f"no answer for {left} messages"
            raise RedriveFailed(
                f"the broker did not take everything ({reason}); what is not settled still waits, and "
                "the same command again goes on with it"
            )


def _letter(message: Message) -> DeadLetter:
    return from_headers(message.headers(), key=message.key(), value=message.value())


def _place(message: Message) -> Place:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None
    return partition, offset


def _spans(places: Collection[Place]) -> dict[int, Span]:
    """From the first to the last place of each partition."""
    offsets: dict[int, list[int]] = {}
    for partition, offset in places:
        offsets.setdefault(partition, []).append(offset)
    return {partition: Span(min(found), max(found) + 1) for partition, found in offsets.items()}
