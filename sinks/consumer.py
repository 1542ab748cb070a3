"""Messages from Kafka, and the offsets of those whose work is done (faults.md rows 14, 15, 21)."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from headstream.schemas.clients import Trouble
from headstream.schemas.dead_letters import attempts
from headstream.schemas.facts import Origin
from headstream.sinks.batch import Partition
from headstream.sinks.core import Message
from headstream.sinks.errors import ConfigurationError

log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 1.0  # Until a commit that failed is tried again by itself.
AT_ONCE: Final = 100  # Messages of one poll, if so many are there: bags of 50 events are 100,000 triples.

# Called with the partitions that are taken away; True: another worker may have them already.
Revoked = Callable[[frozenset[Partition], bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Messages of a partition that are not committed, and when the oldest was written, if that is known."""

    messages: int
    oldest: float | None = None


class Source(Protocol):
    """Where messages come from, in the order of each partition."""

    def poll(self, seconds: float) -> Sequence[Message]:
        """Return what is there, waiting for the first; it keeps the place in the group, so call it often."""

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Remember that everything before these offsets is done; may take effect a little later."""

    def pause(self) -> None:
        """Let `poll` return nothing until `resume`."""

    def resume(self) -> None:
        """Take up after `pause`; nothing was missed."""

    def lag(self) -> Mapping[int, Lag]:
        """Return what of each partition is not committed, as far as known; never asks."""

    def close(self, seconds: float) -> None:
        """Wait for commits that are under way, and leave the group."""


class KafkaSource:
    """A member of a consumer group, used by one thread; `poll` and `close` call `revoked`."""

    def __init__(
        self,
        client: Mapping[str, str],
        topic: str,
        *,
        group: str,
        instance: str | None = None,
        session_seconds: float = 10.0,
        poll_seconds: float = 300.0,
        commit_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.revoked: Revoked = lambda partitions, lost: None
        self.assigned: frozenset[Partition] = frozenset()
        self.joined = False
        self.has_joined: Callable[[], None] = lambda: None
        self._paused: set[Partition] = set()
        self._done: dict[Partition, int] = {}
        self._lag: dict[int, int] = {}
        # Offset and time of what was read and is not committed, in order.
        self._open: dict[Partition, deque[tuple[int, float]]] = defaultdict(deque)
        self._topic = topic
        self._waiting = 0
        self._again = 0.0
        self._commit_failed = commit_failed
        self.trouble = Trouble()
        properties: dict[str, Any] = {
            **client,
            **self.trouble.options(),
            "group.id": group,
            "client.id": "headstream-sink",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(session_seconds * 1000),
            "heartbeat.interval.ms": int(session_seconds * 1000 / 4),
            "max.poll.interval.ms": int(max(poll_seconds, session_seconds) * 1000),
            "topic.metadata.refresh.interval.ms": 10_000,  # A topic that is made later is found soon.
            "queued.max.messages.kbytes": 32_768,
            "on_commit": self._on_commit,
            # Lag comes with the statistics, in the thread that polls: asking for watermarks hung (measured).
            "stats_cb": self._on_statistics,
            "statistics.interval.ms": 2_000,
        }
        if instance is not None:
            properties["group.instance.id"] = instance
        try:
            self._consumer = Consumer(properties)
        except KafkaException as error:
            raise ConfigurationError(f"HEADSTREAM_KAFKA_* cannot be used: {error.args[0].str()}") from error
        self._consumer.subscribe(
            [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, seconds: float) -> Sequence[Message]:
        """Return what is there, waiting for the first; errors of the broker are logged and waited out."""
        first = self._consumer.poll(seconds)
        if self._done and not self._waiting and time.monotonic() >= self._again:
            self.commit({})
        if (said := self.trouble.news()) is not None:
            log.warning("the broker is not reached", extra={"error": said})
        if first is None:
            return ()
        rest = self._consumer.consume(AT_ONCE - 1, 0)
        found = [message for raw in (first, *rest) if (message := _message(raw)) is not None]
        for message in found:
            if message.at is not None:
                place = (message.origin.topic, message.origin.partition)
                self._open[place].append((message.origin.offset, message.at))
        return found

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Send a commit without waiting; one that fails goes with the next, or a second later.

        A repeat is harmless.
        """
        self._done.update(offsets)
        done = {place: offset for place, offset in self._done.items() if place in self.assigned}
        if not done:
            return
        try:
            self._consumer.commit(offsets=_positions(done), asynchronous=True)
            self._waiting += 1
            self._done.clear()
        except KafkaException as error:
            self._failed(error.args[0])

    def pause(self) -> None:
        fresh = self.assigned - self._paused
        if fresh:
            self._consumer.pause([TopicPartition(*place) for place in fresh])
            self._paused |= fresh

    def resume(self) -> None:
        if self._paused:
            self._consumer.resume([TopicPartition(*place) for place in self._paused & self.assigned])
            self._paused.clear()

    def lag(self) -> Mapping[int, Lag]:
        """Return what of each partition is not committed, as far as known; never asks."""
        return {number: self._lag_of(number, messages) for number, messages in self._lag.items()}

    def _lag_of(self, number: int, messages: int) -> Lag:
        waiting = self._open.get((self._topic, number))
        return Lag(messages=messages, oldest=waiting[0][1] if waiting else None)

    def close(self, seconds: float) -> None:
        """Wait up to `seconds` for commits that are under way, and leave the group."""
        deadline = time.monotonic() + seconds
        self.pause()
        while self._waiting and time.monotonic() < deadline:
            self._consumer.poll(0.05)  # Paused: it only serves the callbacks.
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned |= _places(partitions)
        if not self.joined:
            self.joined = True
            self.has_joined()
        log.info("partitions assigned", extra={"partitions": sorted(self.assigned)})

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _places(partitions)
        self.revoked(gone, False)
        self._commit_now(gone)
        self._forget(gone)
        log.info("partitions revoked", extra={"partitions": sorted(gone)})

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _places(partitions)
        self.revoked(gone, True)
        self._forget(gone)
        log.warning("partitions lost", extra={"partitions": sorted(gone)})

    def _commit_now(self, gone: frozenset[Partition]) -> None:
        done = {place: offset for place, offset in self._done.items() if place in gone}
        if done:
            try:
                self._consumer.commit(offsets=_positions(done), asynchronous=False)
            except KafkaException as error:
                self._failed(error.args[0])

    def _forget(self, gone: frozenset[Partition]) -> None:
        self.assigned -= gone
        self._paused -= gone
        for place in gone:
            self._done.pop(place, None)
            self._open.pop(place, None)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._waiting = max(0, self._waiting - 1)
        if error is None:
            for position in partitions:
                waiting = self._open.get((position.topic, position.partition))
                while waiting and waiting[0][0] < position.offset:
                    waiting.popleft()
            return
        self._failed(error)
        for position in partitions:  # They go with the next commit, unless a later one is there.
            place = (position.topic, position.partition)
            if place in self.assigned and position.offset >= 0:
                self._done[place] = max(position.offset, self._done.get(place, 0))

    def _on_statistics(self, text: str) -> None:
        topics = json.loads(text).get("topics", {})
        partitions = topics.get(self._topic, {}).get("partitions", {})
        ours = {partition for _, partition in self.assigned}
        self._lag = {
            int(number): facts["consumer_lag"]
            for number, facts in partitions.items()
            if int(number) in ours and facts.get("consumer_lag", -1) >= 0
        }

    def _failed(self, error: KafkaError) -> None:
        self._again = time.monotonic() + _AGAIN_SECONDS
        self._commit_failed()
        log.warning("offsets not committed", extra={"error": error.str()})


def _message(raw: KafkaMessage) -> Message | None:
    error = raw.error()
    if error is not None:
        log.warning("the broker reports", extra={"error": error.str()})
        return None
    topic, partition, offset = raw.topic(), raw.partition(), raw.offset()
    assert topic is not None and partition is not None and offset is not None
    headers = raw.headers()
    kind, written = raw.timestamp()
    return Message(
        origin=Origin(topic=topic, partition=partition, offset=offset),
        key=_bytes(raw.key()),
        value=_bytes(raw.value()),
        attempt=attempts(headers) + 1 if headers else 1,
        at=None if kind == TIMESTAMP_NOT_AVAILABLE else written / 1000,
    )


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _places(partitions: list[TopicPartition]) -> frozenset[Partition]:
    return frozenset((one.topic, one.partition) for one in partitions)


def _positions(offsets: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]


class MemorySource:
    """A double: a list of messages in one partition, and what was committed."""

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self.messages = list(messages)
        self.committed: dict[Partition, int] = {}
        self.polls = 0
        self.paused = False
        self.closed = False

    def poll(self, seconds: float) -> Sequence[Message]:
        self.polls += 1
        if self.paused or not self.messages:
            time.sleep(min(seconds, 0.01))
            return ()
        taken = self.messages[:AT_ONCE]
        del self.messages[: len(taken)]  # In place: a test may append meanwhile.
        return taken

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.committed.update(offsets)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def lag(self) -> Mapping[int, Lag]:
        return {0: Lag(messages=len(self.messages))}

    def close(self, seconds: float) -> None:
        self.closed = True
