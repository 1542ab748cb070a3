"""Documents and bags to Kafka: acknowledged by all replicas, in order per run, without repeats on the wire.

confluent_kafka and the codec are imported here and nowhere else in capture, so a script that only
spools loads neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headstream.capture.errors import LOSSES, WARNINGS, TransportFailed
from headstream.capture.settings import Settings
from headstream.schemas.codec import encode_bag, encode_document
from headstream.schemas.documents import Document
from headstream.schemas.errors import RegistryUnavailable, RegistryUnusable
from headstream.schemas.events import Bag, Event, IterationBlock
from headstream.schemas.topics import PARTITIONER, Topics, run_key

# Below the broker's default message.max.bytes of 1,048,588, which counts the record's overhead too.
MESSAGE_BYTES = 960_000
_AGAIN_SECONDS = 1.0


class KafkaTransport:
    """Keeps every message until the broker has it, across refusals and a failed producer."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        message_bytes: int = MESSAGE_BYTES,
        options: Mapping[str, Any] | None = None,
        frame: Callable[[str, bytes], bytes] = lambda topic, value: value,
    ) -> None:
        self._frame = frame
        self.topics = topics
        self.message_bytes = message_bytes
        self._config = {**configuration(bootstrap), **(options or {})}
        self._pending: dict[int, tuple[str, bytes, bytes]] = {}
        self._refused: list[int] = []
        self._number = 0
        self._fatal = False
        self._retry_at = 0.0
        self.last_error: str | None = None
        self._producer = self._make()

    @classmethod
    def from_settings(cls, settings: Settings) -> KafkaTransport:
        """The transport to the configured broker; TransportFailed if none is configured."""
        if settings.bootstrap is None:
            raise TransportFailed("no Kafka broker is configured: set HEADSTREAM_BOOTSTRAP to host:port")
        topics, options = Topics(settings.topic_prefix), dict(settings.kafka)
        if settings.registry is None:
            return cls(settings.bootstrap, topics, options=options)
        from headstream.schemas.confluent import use  # With its HTTP client, which few need.

        try:
            frame = use(settings.registry)
        except RegistryUnusable as error:
            raise TransportFailed(str(error)) from error
        return cls(settings.bootstrap, topics, options=options, frame=frame)

    @property
    def waiting(self) -> int:
        """How many messages the broker has not acknowledged."""
        return len(self._pending)

    def publish(self, document: Document) -> None:
        self._hand_over(self.topics.definitions, document.key.encode(), encode_document(document))

    def send(self, bag: Bag) -> None:
        key = run_key(bag.workflow, bag.execution)
        for value in messages(bag, self.message_bytes):
            self._hand_over(self.topics.events, key, value)

    def flush(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        if self._fatal:
            self._restart()
        self._producer.flush(max(0.0, timeout))
        if self._refused and time.monotonic() >= self._retry_at:
            again, self._refused = self._refused, []
            self._retry_at = time.monotonic() + _AGAIN_SECONDS
            for number in again:
                if number in self._pending:
                    self._produce(number)
            self._producer.flush(max(0.0, deadline - time.monotonic()))
        elif self._refused:
            time.sleep(max(0.0, min(deadline, self._retry_at) - time.monotonic()))
        return len(self._pending)

    def close(self) -> None:
        try:
            self._producer.purge()
            self._producer.flush(0)
        except KafkaException as error:
            self.last_error = str(error)

    def _make(self) -> Producer:
        return Producer({**self._config, "error_cb": self._on_error})

    def _hand_over(self, topic: str, key: bytes, value: bytes) -> None:
        self._number += 1
        self._pending[self._number] = (topic, key, value)
        self._produce(self._number)

    def _produce(self, number: int) -> None:
        topic, key, value = self._pending[number]
        try:
            value = self._frame(topic, value)
        except RegistryUnavailable as error:  # The message stays ours, and is tried again with the others.
            self.last_error = str(error)
            WARNINGS.add("schema-registry", message=self.last_error)
            self._refused.append(number)
            return

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._on_delivery(number, error)

        try:
            self._producer.produce(topic, value, key, on_delivery=delivered)
            self._producer.poll(0)
        except BufferError:  # The queue is full, as with a broker that is away: sent again by `flush`.
            self._refused.append(number)
        except KafkaException as error:
            self._on_delivery(number, error.args[0])

    def _on_delivery(self, number: int, error: KafkaError | None) -> None:
        if error is None:
            self._pending.pop(number, None)
            return
        self.last_error = str(error)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            topic, _, value = self._pending.pop(number)
            LOSSES.add("message-too-large", message=f"{topic} refused {len(value)} bytes")
            return
        self._refused.append(number)

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = str(error)
        WARNINGS.add("broker", message=self.last_error)
        self._fatal = self._fatal or bool(error.fatal())

    def _restart(self) -> None:
        """After a fatal error only a new producer can go on; what is not acknowledged is sent again."""
        self._fatal = False
        self._producer.purge()
        self._producer = self._make()
        self._refused = []
        for number in sorted(self._pending):
            self._produce(number)


def configuration(bootstrap: str) -> dict[str, Any]:
    """Durable and in order first, then quick: a record leaves within some milliseconds."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": "headstream-capture",
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": PARTITIONER,
        "compression.type": "lz4",
        "linger.ms": 5,
        # A shipper hands over far less at a time (shipper.py).
        "queue.buffering.max.kbytes": 16_384,
        "message.timeout.ms": 0,  # Never give up: the broker may be away for days.
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        "topic.metadata.refresh.interval.ms": 30_000,
        # A broker that is away would fill the script's stderr.
        "log_level": 0,
    }


def messages(bag: Bag, limit: int) -> Iterator[bytes]:
    """A bag as messages within the limit: halved as long as it is too large, down to single rows."""
    value = encode_bag(bag)
    if len(value) <= limit:
        yield value
        return
    parts = _halves(bag.events)
    if parts is None:
        LOSSES.add("message-too-large", message=f"one {type(bag.events[0]).__name__} has {len(value)} bytes")
        return
    for part in parts:
        yield from messages(replace(bag, events=part), limit)


def _halves(events: tuple[Event, ...]) -> tuple[tuple[Event, ...], tuple[Event, ...]] | None:
    if len(events) > 1:
        middle = len(events) // 2
        return events[:middle], events[middle:]
    event = events[0]
    if isinstance(event, IterationBlock) and len(event.index) > 1:
        middle = len(event.index) // 2
        return (_rows(event, slice(middle)),), (_rows(event, slice(middle, None)),)
    return None


def _rows(block: IterationBlock, part: slice) -> IterationBlock:
    return replace(
        block,
        ordinals=block.ordinals[part],
        index=block.index[part],
        started=block.started[part],
        ended=block.ended[part],
        columns=tuple(replace(column, values=column.values[part]) for column in block.columns),
    )
