"""Say which records of FlowCept there are: `kafka BOOTSTRAP TOPIC` or `lmdb PATH`, as JSON."""

import json
import sys


def of_kafka(bootstrap: str, topic: str) -> list:
    import msgpack
    from confluent_kafka import Consumer, TopicPartition

    found = []
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "records", "enable.auto.commit": False})
    for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
        consumer.assign([TopicPartition(topic, number, 0)])
        while end > 0:
            message = consumer.poll(20)
            if message is None:
                sys.exit(f"{topic} ended before offset {end}")
            found.append(msgpack.loads(message.value(), raw=False, strict_map_key=False))
            if message.offset() >= end - 1:
                break
    consumer.close()
    return found


def of_lmdb(path: str) -> list:
    import lmdb

    with lmdb.open(path, max_dbs=5, readonly=True, lock=False) as env:
        tasks = env.open_db(b"tasks", create=False)
        with env.begin(db=tasks) as transaction:
            return [json.loads(value) for _, value in transaction.cursor()]


print(json.dumps((of_kafka if sys.argv[1] == "kafka" else of_lmdb)(*sys.argv[2:]), default=str))
