"""The least that a Faust agent can do: decode a bag and send its bytes on, acknowledged like the tracker."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import faust

from headstream.schemas.codec import decode_bag
from headstream.schemas.topics import Topics

TOPICS = Topics(os.environ["HEADSTREAM_TOPIC_PREFIX"])
app = faust.App(
    f"{TOPICS.prefix}.tracker",
    broker=f"kafka://{os.environ['HEADSTREAM_BOOTSTRAP']}",
    datadir=tempfile.mkdtemp(prefix="headstream-load-"),
    web_enabled=False,
    producer_acks=-1,
    producer_compression_type="zstd",
    producer_max_batch_size=256 * 1024,
    stream_wait_empty=False,
    broker_commit_interval=1.0,
    consumer_auto_offset_reset="earliest",
    topic_allow_declare=False,
    topic_disable_leader=True,
    worker_redirect_stdouts=False,
)


def topic(name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


out = topic(TOPICS.identified)


@app.agent(topic(TOPICS.events), concurrency=1)
async def forward(stream: Any) -> None:
    async for events in stream.noack_take(200, within=0.05):
        sends = []
        for event in events:
            decode_bag(event.message.value)
            sends.append(await out.send(key=event.message.key, value=event.message.value))
        await asyncio.gather(*sends)
        for event in events:
            await stream.ack(event)


if __name__ == "__main__":
    worker = faust.Worker(app, quiet=True, loglevel="WARNING", redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()
