"""At what rate a run of its own produces: the fastest script that there is, by what the broker got."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from headstream.schemas.codec import decode_bag
from headstream.schemas.events import event_count
from headstream.schemas.topics import Topics
from headstream.services.kafka import KafkaService
from headstream.stream_processors import bounded, topics
from headstream.stream_processors.settings import Settings

SCRIPT = Path(__file__).parent / "drivers" / "loop.py"


def published_rate(kafka: KafkaService, events: int, folder: Path) -> float:
    """Events a second on the topic, between a tenth and the last of a script that only captures."""
    settings = Settings(bootstrap=kafka.bootstrap, topics=Topics(f"rate{uuid.uuid4().hex[:8]}"), partitions=1)
    topics.create(settings)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(events // 2)],
        env={
            **os.environ,
            "HEADSTREAM_DATA": str(folder),
            "HEADSTREAM_BOOTSTRAP": kafka.bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": settings.topics.prefix,
            "HEADSTREAM_EXIT_SECONDS": "300",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or json.loads(done.stdout) != {}:
        raise RuntimeError(f"the script ended with {done.returncode}: {done.stdout}{done.stderr}")
    moments = sorted(_moments(settings))
    if sum(count for _, count in moments) < events:
        raise RuntimeError(f"of {events} events only {sum(count for _, count in moments)} were published")
    first = moments[len(moments) // 10][0]
    last = moments[-1][0]
    return sum(count for at, count in moments if at > first) / max(last - first, 1) * 1000


def _moments(settings: Settings) -> list[tuple[int, int]]:
    """When each bag was handed to Kafka, in milliseconds, and its events."""
    reader = bounded.consumer(settings)
    try:
        spans = bounded.spans(reader, settings.topics.events)
        return [
            (message.timestamp()[1], sum(map(event_count, decode_bag(message.value() or b"").events)))
            for message in bounded.read(reader, settings.topics.events, spans)
        ]
    finally:
        reader.close()
