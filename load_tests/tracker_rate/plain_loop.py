"""A confluent-kafka loop without Faust: `bare` decodes and sends on, `whole` does what the tracker does."""

from __future__ import annotations

import os
import sys

from confluent_kafka import Consumer, Producer
from load_tests.tracker_core import definition

from headstream.schemas.codec import decode_bag, encode_identified
from headstream.schemas.facts import Origin
from headstream.schemas.topics import PARTITIONER, Topics
from headstream.stream_processors.tracker import track


def main() -> None:
    whole, plan = sys.argv[1] == "whole", definition()
    topics = Topics(os.environ["HEADSTREAM_TOPIC_PREFIX"])
    broker = {"bootstrap.servers": os.environ["HEADSTREAM_BOOTSTRAP"]}
    group = {"group.id": f"{topics.prefix}.tracker", "enable.auto.commit": False}
    consumer = Consumer({**broker, **group, "auto.offset.reset": "earliest"})
    producer = Producer(
        {**broker, "partitioner": PARTITIONER, "acks": "all", "compression.type": "zstd", "linger.ms": 5}
    )
    consumer.subscribe([topics.events])
    while True:
        messages = [each for each in consumer.consume(200, timeout=0.5) if each.error() is None]
        for message in messages:
            value = message.value() or b""
            bag = decode_bag(value)
            if whole:
                origin = Origin(
                    topic=message.topic() or "",
                    partition=message.partition() or 0,
                    offset=message.offset() or 0,
                )
                value = encode_identified(track(bag, plan, origin).identified)
            producer.produce(topics.identified, key=message.key(), value=value)
            producer.poll(0)
        if messages:
            if producer.flush(30):
                sys.exit("the broker did not take everything within 30 s")
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
