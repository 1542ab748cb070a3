"""The definitions that a worker knows, from a plain reader of the compacted topic.

Every worker reads the whole topic, in no consumer group, and is caught up before it begins. A
document that cannot be read is skipped here; the agent on the same topic dead-letters it, once
for the group and not once for each worker.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from headstream.schemas.codec import decode_document
from headstream.schemas.definition import Definition
from headstream.schemas.errors import RegistryUnavailable, SchemaError
from headstream.stream_processors import bounded
from headstream.stream_processors.errors import BrokerUnreachable, DefinitionsUnavailable
from headstream.stream_processors.handling import version_of
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings

log = logging.getLogger(__name__)

_PAUSE = 0.5


class DefinitionReader:
    """Follows the definitions topic in a thread of its own."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._known: dict[str, Definition] = {}
        self._positions: dict[int, int] = {}
        self._asked: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # Asks for the end of the topic: a client that is waiting in `consume` answers nothing else
        # (confluent-kafka 2.16).
        self._asker: bounded.Reader | None = None
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="definitions", daemon=True)

    def start(self, timeout: float) -> None:
        """Begin to read, and return when everything on the topic is known."""
        self._thread.start()
        deadline = time.monotonic() + timeout
        while not self.catch_up(min(5.0, max(0.1, deadline - time.monotonic()))):
            if time.monotonic() > deadline:
                self.stop()
                raise DefinitionsUnavailable(
                    f"{self._settings.topics.definitions} on {self._settings.bootstrap} was not read to its "
                    f"end within {timeout:g} s; check that the broker is up and the topic exists"
                )
            log.warning("waiting for the definitions", extra={"topic": self._settings.topics.definitions})

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._stopping.set()
        self._thread.join(timeout=5.0)
        with self._asking:
            if self._asker is not None:
                self._asker.close()
            self._asker = None

    def get(self, content_hash: str | None) -> Definition | None:
        """The definition with this hash, if it has been read."""
        return None if content_hash is None else self._known.get(content_hash)

    def catch_up(self, timeout: float) -> bool:
        """Read as far as the topic reaches now; False if that was not possible in time.

        After True, every definition that the broker acknowledged before the call is known.
        """
        deadline = time.monotonic() + timeout
        try:
            ends = self._ends(timeout)
        except BrokerUnreachable:
            return False
        return self._wait(
            lambda: all(self._positions.get(n, 0) >= span.high for n, span in ends.items()), deadline
        )

    async def expect(self, hashes: Iterable[str]) -> None:
        """Wait for definitions that bags name: shortly, and only the first time that a hash is asked for."""
        unseen = {h for h in hashes if h not in self._known} - self._asked
        if not unseen:
            return
        deadline = time.monotonic() + self._settings.definition_wait
        await asyncio.to_thread(self._wait, lambda: unseen <= self._known.keys(), deadline)
        self._asked |= unseen

    async def caught_up(self) -> None:
        """Return when everything acknowledged before the call is known, however long that takes."""
        while not await asyncio.to_thread(self.catch_up, 5.0):
            await asyncio.sleep(_PAUSE)

    def _ends(self, timeout: float) -> dict[int, bounded.Span]:
        with self._asking:
            if self._asker is None:
                self._asker = bounded.consumer(self._settings)
            return bounded.spans(self._asker, self._settings.topics.definitions, timeout)

    def _wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (BrokerUnreachable, KafkaException, RegistryUnavailable, RuntimeError) as error:
                log.warning("definitions cannot be read, trying again", extra={"error": str(error)})
                self._stopping.wait(_PAUSE)

    def _follow(self) -> None:
        topic = self._settings.topics.definitions
        reader = bounded.consumer(self._settings, **{"auto.offset.reset": "earliest"})
        try:
            spans = bounded.spans(reader, topic)
            reader.assign([TopicPartition(topic, n, span.low) for n, span in spans.items()])
            with self._changed:
                self._positions = {number: span.low for number, span in spans.items()}
            while not self._stopping.is_set():
                if messages := reader.consume(500, timeout=0.2):
                    self._take(messages)
        finally:
            reader.close()

    def _take(self, messages: list[Message]) -> None:
        positions: dict[int, int] = {}
        for message in messages:
            number, offset, error = message.partition(), message.offset(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                log.warning("reading definitions", extra={"error": error.str()})
                continue
            if number is None or offset is None:
                continue
            positions[number] = offset if error is not None else offset + 1
            if error is None:
                self._learn(message.value(), number, offset)
        with self._changed:
            self._positions.update(positions)
            self._changed.notify_all()
        self._metrics.definitions.set(len(set(map(id, self._known.values()))))

    def _learn(self, value: bytes | None, partition: int, offset: int) -> None:
        if value is None:  # A tombstone: bags that name the version may still come.
            return
        try:
            version = version_of(decode_document(value))
        except SchemaError as error:
            log.warning(
                "a document is skipped",
                extra={"partition": partition, "offset": offset, "error": type(error).__name__},
            )
            return
        if version is not None:
            for content_hash in version.hashes:
                self._known.setdefault(content_hash, version.definition)
