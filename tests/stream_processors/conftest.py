"""Real workers in processes of their own, and what flows through them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from headstream.schemas.clients import RegistryOptions
from headstream.schemas.codec import decode_identified, encode_bag, encode_document
from headstream.schemas.confluent import use
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.schemas.facts import Fact, Identified
from headstream.schemas.topics import PARTITIONER, Topics, run_key
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings

from .registry_server import RegistryServer, started


@dataclass
class Stream:
    """The four topics of one test, and the workers on them."""

    settings: Settings
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    command: list[str] = field(
        default_factory=lambda: [
            sys.executable, "-W", "error::ResourceWarning", "-m", "headstream.stream_processors"
        ]
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.producer = Producer(
            {"bootstrap.servers": self.settings.bootstrap, "partitioner": PARTITIONER, "acks": "all"}
        )

    # What goes in.

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.producer.produce(topic, key=key, value=value)
        self.producer.poll(0)

    def bag(self, bag: Bag) -> None:
        self.send(self.settings.topics.events, run_key(bag.workflow, bag.execution), encode_bag(bag))

    def document(self, document: Document) -> None:
        self.send(self.settings.topics.definitions, document.key.encode(), encode_document(document))

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    # What comes out.

    def messages(self, topic: str) -> Iterator[Message | None]:
        """Every message of a topic from its start, for ever; None while there is nothing new."""
        reader = Consumer(
            {
                "bootstrap.servers": self.settings.bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
            reader.assign([TopicPartition(topic, number, 0) for number in partitions])
            while True:
                message = reader.poll(0.1)
                if message is not None and message.error() is not None:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    continue
                yield message
        finally:
            reader.close()

    def read_until(self, topic: str, done: Callable[[list[Message]], bool], seconds: float) -> list[Message]:
        """What a topic holds as soon as that is enough."""
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        for message in self.messages(topic):
            if message is not None:
                found.append(message)
            if done(found):
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"{topic} held {len(found)} messages after {seconds} s, not what was awaited")
        raise AssertionError

    def identified(self, done: Callable[[list[Identified]], bool], seconds: float = 60) -> list[Identified]:
        decoded: list[Identified] = []

        def enough(found: list[Message]) -> bool:
            decoded.extend(decode_identified(m.value() or b"") for m in found[len(decoded) :])
            return done(decoded)

        self.read_until(self.settings.topics.identified, enough, seconds)
        return decoded

    def identified_framed(
        self, done: Callable[[list[Identified]], bool], server: RegistryServer | None, seconds: float = 60
    ) -> list[Identified]:
        """As `identified`, where a schema registry is in use; None: what it said before is enough."""
        if server is not None:
            use(RegistryOptions(url=server.url))
        return self.identified(done, seconds)

    def letters(self, count: int, seconds: float = 60) -> list[Message]:
        return self.read_until(self.settings.topics.dead_letters, lambda found: len(found) >= count, seconds)

    @staticmethod
    def await_(condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.1)

    # Workers.

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker; its log is worker.log."""
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                self.command,
                env={
                    **os.environ,
                    "HEADSTREAM_BOOTSTRAP": self.settings.bootstrap,
                    "HEADSTREAM_TOPIC_PREFIX": self.settings.topics.prefix,
                    **self.environ,
                },
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def stop(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)


@pytest.fixture(scope="session")
def schema_registry(artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A running registry: what `artefacts` says of a machine without Java or Maven holds for it too."""
    server = started(tmp_path_factory.mktemp("registry"))
    yield server
    server.kill()


def facts_of(identified: list[Identified]) -> set[Fact]:
    return {fact for item in identified for fact in item.facts}


@pytest.fixture
def new_stream(kafka, topic_prefix: str, tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Make streams with fresh topics; their workers end with the test."""
    made: list[Stream] = []

    def make(partitions: int = 2, **environ: str) -> Stream:
        settings = Settings(
            bootstrap=kafka.bootstrap, topics=Topics(f"{topic_prefix}{len(made)}"), partitions=partitions
        )
        topics.create(settings)
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Stream(settings, folder, environ))
        return made[-1]

    yield make
    for stream in made:
        stream.stop()


@pytest.fixture
def stream(new_stream: Callable[..., Stream]) -> Stream:
    return new_stream(HEADSTREAM_DEFINITION_WAIT="0.2")
