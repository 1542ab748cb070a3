"""A Kafka broker of the load test's own, on free ports, that can be killed and started again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports


@contextmanager
def service(running: bool = True) -> Iterator[KafkaService]:
    """A broker with its data in a folder that is removed afterwards; raises ServicesError without Java."""
    with tempfile.TemporaryDirectory(prefix="headstream-load-", ignore_cleanup_errors=True) as data:
        kafka = KafkaService(Path(data) / "kafka", *free_ports(2))
        if running:
            kafka.start()
        try:
            yield kafka
        finally:
            kafka.stop()


def make_topics(bootstrap: str, *names: str, partitions: int = 2) -> None:
    """Make topics and wait for them."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result(30)


def values(bootstrap: str, topic: str) -> list[bytes]:
    """Everything that a topic holds now."""
    asked = {"bootstrap.servers": bootstrap, "group.id": "load-tests", "enable.auto.commit": False}
    consumer = Consumer({**asked, "log_level": 0})
    found: list[bytes] = []
    try:
        for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
            end = _end(consumer, TopicPartition(topic, number))
            consumer.assign([TopicPartition(topic, number, 0)])
            while end > 0:
                message = consumer.poll(20)
                if message is None or message.error() is not None:
                    raise TimeoutError(f"{topic} of {bootstrap} ended before offset {end}")
                found.append(message.value() or b"")
                if (message.offset() or 0) >= end - 1:
                    break
    finally:
        consumer.close()
    return found


def _end(consumer: Consumer, part: TopicPartition, seconds: float = 20.0) -> int:
    """Where a partition ends; a broker that has just come back may not lead it yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return consumer.get_watermark_offsets(part, timeout=seconds)[1]
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
