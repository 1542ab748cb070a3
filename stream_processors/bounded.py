"""Reading a topic from a first offset to its present end, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from headstream.schemas.clients import Trouble
from headstream.stream_processors.errors import BrokerUnreachable, InvalidSetting, RetentionExpired
from headstream.stream_processors.settings import Settings

# How long a broker may be silent before a bounded read gives up.
SILENCE = 30.0
_CHUNK = 500
_PAUSE = 0.1
_ASK = 2.0
_LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets that a partition holds: from `low`, and before `high`."""

    low: int
    high: int


class Reader(Consumer):
    """A consumer that can say what is wrong on its way to the broker."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.trouble = Trouble()
        super().__init__({**configuration, **self.trouble.options()})


def consumer(settings: Settings, **options: str | int | float | bool) -> Reader:
    """A consumer that belongs to no group: it is assigned partitions, and commits nothing."""
    try:
        return Reader(
            settings.kafka(
                **{
                    "group.id": f"{settings.group}.reader",  # demanded by the client, never joined
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    **options,
                }
            )
        )
    except KafkaException as error:
        raise _unusable(error) from error


def admin(settings: Settings) -> tuple[AdminClient, Trouble]:
    """A client that makes and describes topics, and what it says of its way to the broker."""
    trouble = Trouble()
    try:
        return AdminClient({**settings.kafka(), **trouble.options()}), trouble
    except KafkaException as error:
        raise _unusable(error) from error


def metadata(
    client: Reader | AdminClient, trouble: Trouble, topic: str | None = None, timeout: float = SILENCE
) -> Mapping[str, Any]:
    """The topics that there are, or that one; raises BrokerUnreachable, soon if we are refused."""
    deadline = time.monotonic() + timeout
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            found = (
                client.list_topics(timeout=min(left, _ASK))
                if topic is None
                else client.list_topics(topic, timeout=min(left, _ASK))
            )
            return found.topics
        except KafkaException as error:
            client.poll(0)  # Now it says why.
            if trouble.refused or time.monotonic() >= deadline:
                said = trouble.refused or trouble.last or error.args[0].str()
                raise BrokerUnreachable(f"the broker cannot be asked: {said}; {trouble.remedy()}") from error


def _unusable(error: KafkaException) -> InvalidSetting:
    return InvalidSetting(
        f"HEADSTREAM_KAFKA_* cannot be used: {error.args[0].str()}; see docs/reference/settings.md"
    )


def spans(reader: Reader, topic: str, timeout: float = SILENCE) -> dict[int, Span]:
    """What each partition holds now; a message acknowledged before this call is within."""
    try:
        found = metadata(reader, reader.trouble, topic, timeout)[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return {
            number: Span(*_watermarks(reader, TopicPartition(topic, number), timeout))
            for number in sorted(found.partitions)
        }
    except KafkaException as error:
        raise BrokerUnreachable(f"{topic} cannot be read: {error.args[0].str()}") from error


def _watermarks(reader: Consumer, place: TopicPartition, timeout: float) -> tuple[int, int]:
    """First and next offset; a topic that was made just now, or moves, has no leader for a moment."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return reader.get_watermark_offsets(place, timeout=timeout)
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)


def read(reader: Consumer, topic: str, wanted: Mapping[int, Span]) -> Iterator[Message]:
    """Every message of these spans, partition order kept; raises BrokerUnreachable rather than stop short."""
    open_ends = {number: span.high for number, span in wanted.items() if span.low < span.high}
    if not open_ends:
        return
    reader.assign([TopicPartition(topic, number, wanted[number].low) for number in open_ends])
    heard = time.monotonic()
    read_to = {number: wanted[number].low for number in open_ends}
    while open_ends:
        messages = reader.consume(_CHUNK, timeout=1.0)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE:
            raise BrokerUnreachable(
                f"{topic} gave nothing for {SILENCE:g} s with partitions {sorted(open_ends)} "
                "not read to their end; is the broker up?"
            )
        for message in messages:
            number, offset, error = message.partition(), message.offset(), message.error()
            if error is not None:
                _judge(topic, number, read_to, error)
            if number not in open_ends or offset is None or number is None:
                continue
            if error is not None:
                # The end of a compacted log, or of one with transaction markers, holds no message.
                if error.code() == KafkaError._PARTITION_EOF and offset >= open_ends[number]:
                    del open_ends[number]
                continue
            if offset < open_ends[number]:
                read_to[number] = offset + 1
                yield message
            if offset + 1 >= open_ends[number]:
                del open_ends[number]


def at_time(reader: Consumer, topic: str, numbers: Iterable[int], milliseconds: int) -> dict[int, int]:
    """The first offset of each partition with a Kafka timestamp not before this, else its end."""
    asked = [TopicPartition(topic, number, milliseconds) for number in numbers]
    try:
        found = {each.partition: each for each in reader.offsets_for_times(asked, timeout=SILENCE)}
        ends = {
            number: reader.get_watermark_offsets(TopicPartition(topic, number), timeout=SILENCE)[1]
            for number, each in found.items()
            if each.offset < 0
        }
    except KafkaException as error:
        raise BrokerUnreachable(f"{topic} cannot be searched by time: {error.args[0].str()}") from error
    return {number: ends.get(number, each.offset) for number, each in found.items()}


def _judge(topic: str, number: int | None, read_to: Mapping[int, int], error: KafkaError) -> None:
    """Let pass what librdkafka retries by itself; raise what it does not."""
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        missing = "" if number is None else f"[{number}] from offset {read_to.get(number)} on"
        raise RetentionExpired(
            f"{topic}{missing} was deleted while it was read (retention): what was read until then is in the "
            "store, the graph is partial. Replay from an archive that has it, or again with --allow-missing"
        )
    passing = (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
    if error.code() not in passing and not error.retriable():
        raise BrokerUnreachable(f"{topic} cannot be read further: {error.str()}")
