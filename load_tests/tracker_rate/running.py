"""One contender on topics of its own: started, given bags when ready, watched until all are out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]
from load_tests.peers import ROOT, environment
from load_tests.tracker_core import KINDS, TURNS, definition

from headstream.schemas.codec import encode_bag, encode_document
from headstream.schemas.documents import document as document_of
from headstream.schemas.topics import PARTITIONER, Topics
from headstream.stream_processors import topics as tracker_topics
from headstream.stream_processors.settings import Settings

EVENTS: Final = 2 * TURNS
PARTITIONS: Final = 2
# Bags before the clock runs: what a worker does once in its life is done for the first of them, and two
# workers do it twice.
WARM: Final = 40
SECONDS: Final = 90.0
_PAUSE: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_numbers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program that takes bags from a topic and puts messages on another one."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    workers: int = 1
    # Messages that it sends besides one for each bag: what it says of the definition.
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What it got through, without its start."""

    events: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.events / self.cpu


class Silent(RuntimeError):
    """A contender that does not get ready, or does not get on."""


def measure(contender: Contender, kind: str, number: int, bootstrap: str, place: Path) -> Rate:
    """Send `number` bags of one kind through a contender."""
    names = Topics(f"rate{next(_numbers)}")
    settings = Settings(bootstrap=bootstrap, topics=names, partitions=PARTITIONS)
    tracker_topics.create(settings)
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": PARTITIONER, "acks": "all"})
    plan = definition()
    document = document_of(plan)
    producer.produce(names.definitions, key=document.key.encode(), value=encode_document(document))
    producer.flush(30)
    with _workers(contender, settings, place) as processes:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        _await(lambda: _shared(admin, settings, contender.workers), processes, "got no partitions")
        bags = _bags(kind, WARM + number, plan.content_hash)  # Made before the clock runs.
        with _Watch(settings, processes) as watch:
            _fill(producer, names.events, bags[:WARM])
            watch.until(WARM + contender.more)
            # From before the first bag: a worker has done a whole batch when the first of it is out.
            first = watch.until(0)
            _fill(producer, names.events, bags[WARM:])
            last = watch.until(WARM + number + contender.more)
    return Rate(events=number * EVENTS, seconds=last.at - first.at, cpu=last.cpu - first.cpu)


@cache
def _bags(kind: str, number: int, version: str) -> tuple[bytes, ...]:
    """Bags of which no two name the same step."""
    return tuple(encode_bag(KINDS[kind](version, 100 * each)) for each in range(number))


def _fill(producer: Producer, topic: str, bags: Sequence[bytes]) -> None:
    """As many bags on each partition."""
    for each, data in enumerate(bags):
        partition = each % PARTITIONS
        producer.produce(topic, key=f"load/{partition}".encode(), value=data, partition=partition)
        producer.poll(0)
    if producer.flush(60):
        raise Silent(f"the broker did not take the bags of {topic} within 60 s")


@contextmanager
def _workers(
    contender: Contender, settings: Settings, place: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of a contender; they are ended with the context."""
    processes: list[subprocess.Popen[bytes]] = []
    with (place / f"{settings.topics.prefix}.log").open("ab") as log:
        try:
            for _ in range(contender.workers):
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", contender.module, *contender.arguments],
                        env=environment(
                            place,
                            HEADSTREAM_BOOTSTRAP=settings.bootstrap,
                            HEADSTREAM_TOPIC_PREFIX=settings.topics.prefix,
                            HEADSTREAM_LOG_LEVEL="WARNING",
                        ),
                        cwd=ROOT,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            yield processes
        except Silent as error:
            said = (place / f"{settings.topics.prefix}.log").read_text()[-2000:]
            raise Silent(f"{contender.name} {error}:\n{said}") from None
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL)
                process.wait(10)


def _await(met: Callable[[], bool], processes: list[subprocess.Popen[bytes]], otherwise: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise Silent(otherwise)
        time.sleep(_PAUSE)


def _shared(admin: AdminClient, settings: Settings, workers: int) -> bool:
    """Whether every worker has its share of the partitions."""
    try:
        group = admin.describe_consumer_groups([settings.group], request_timeout=10)[settings.group].result(
            10
        )
    except KafkaException:  # Nobody has joined yet.
        return False
    shares = [
        sum(each.topic == settings.topics.events for each in member.assignment.topic_partitions)
        for member in group.members
        if member.assignment is not None
    ]
    return sorted(share for share in shares if share) == [PARTITIONS // workers] * workers


@dataclass(frozen=True, slots=True)
class _Moment:
    messages: int
    at: float
    cpu: float


class _Watch:
    """Looks at the end of the output topic, and at the CPU time of the workers."""

    def __init__(self, settings: Settings, processes: list[subprocess.Popen[bytes]]) -> None:
        self._topic = settings.topics.identified
        self._processes = processes
        self._reader = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "unused"})

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def until(self, messages: int) -> _Moment:
        """The moment at which there were this many messages, or more."""
        seen: list[_Moment] = []

        def met() -> bool:
            seen[:] = [_Moment(self._messages(), time.monotonic(), self._cpu())]
            return seen[0].messages >= messages

        _await(met, self._processes, f"did not come to {messages} messages within {SECONDS:g} s")
        return seen[0]

    def _messages(self) -> int:
        places = (TopicPartition(self._topic, number) for number in range(PARTITIONS))
        return sum(self._reader.get_watermark_offsets(place, timeout=20)[1] for place in places)

    def _cpu(self) -> float:
        """User and system seconds of all workers, all their threads included."""
        ticks = 0
        for process in self._processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS
