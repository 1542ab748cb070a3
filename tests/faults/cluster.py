"""Workers and sinks as processes between a broker and a store, and what they have done so far."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import httpx
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from headstream.schemas.topics import PARTITIONER
from headstream.schemas.vocabulary import expand
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import open_store
from headstream.stream_processors import bounded, topics
from headstream.stream_processors.errors import BrokerUnreachable
from headstream.stream_processors.settings import Settings

from .load import Load

Stage = Literal["tracker", "sink"]
MODULES: Final[Mapping[str, str]] = {
    "tracker": "headstream.stream_processors",
    "sink": "headstream.sinks",
}
PARTITIONS: Final = 6
GRACE: Final = 10.0  # Seconds that a pod gets between SIGTERM and SIGKILL.
_BUSY: Final = 5.0  # What a machine that does other things as well may add.


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> float:
    """Await a condition and return how long that took; fail with what was awaited."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"{what()}: not within {seconds:g} s"
        time.sleep(0.05)
    return time.monotonic() - began


class Worker:
    """One process of a tracker or a sink; `name` begins with its stage."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.stage: Stage = "tracker" if name.startswith("tracker") else "sink"
        self._ready = folder / f"{name}.ready"
        self._log = folder / f"{name}.log"
        self._environ = {**os.environ, **environ, "HEADSTREAM_READY_FILE": str(self._ready)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULES[self.stage]], env=self._environ, stdout=log, stderr=log
            )

    @property
    def ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} died by itself:\n{self.tail()}"
        return self._ready.exists()

    def end(self, number: signal.Signals) -> float:
        """Send a signal and return after how many seconds the process was gone.

        SIGTERM has to end it within the grace period, and with status 0 once it works.
        """
        assert self._process is not None
        worked = self.ready
        began = time.monotonic()
        self._process.send_signal(number)
        status = self._process.wait(GRACE + _BUSY)
        if number is signal.SIGTERM:
            # Before its handlers are there, a process dies of the signal itself.
            assert status == 0 or (status == -number and not worked), f"{status}:\n{self.tail()}"
        return time.monotonic() - began

    def destroy(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def logged(self, event: str) -> int:
        """How often its log tells this."""
        return self._log.read_text().count(event)

    def tail(self) -> str:
        return self._log.read_text()[-4000:]


class Publisher:
    """Sends messages and knows how many of them the broker has for sure."""

    def __init__(self, bootstrap: str) -> None:
        self.acknowledged = 0
        self.failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": PARTITIONER,
                "enable.idempotence": True,
                "delivery.timeout.ms": 300_000,
                "log_level": 0,
            }
        )

    def send(self, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in messages:
            self._producer.produce(topic, key=key, value=value, on_delivery=self._delivered)
            self._producer.poll(0)

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        self._producer.poll(0)
        return len(self._producer)

    def flush(self, seconds: float) -> None:
        assert self._producer.flush(seconds) == 0, f"messages not acknowledged after {seconds:g} s"
        assert self.failed == []

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failed.append(error)


class Progress:
    """How far a group has come through a topic; what it cannot ask just now it remembers."""

    def __init__(self, settings: Settings, topic: str, group: str, partitions: int = PARTITIONS) -> None:
        self._new_reader = lambda: bounded.consumer(settings, **{"group.id": group, "log_level": 0})
        self._reader = self._new_reader()
        self._topic, self._partitions = topic, partitions
        self._done = 0

    def done(self) -> int:
        """Messages that are committed."""
        places = [TopicPartition(self._topic, number) for number in range(self._partitions)]
        with suppress(KafkaException):
            found = self._reader.committed(places, timeout=5)
            self._done = sum(max(0, place.offset) for place in found)
        return self._done

    def end(self) -> int | None:
        """Messages that the topic holds, None if nobody answers."""
        try:
            return sum(span.high for span in bounded.spans(self._reader, self._topic, 5).values())
        except BrokerUnreachable:
            # A client that waited on a broker which stood still may go on waiting after it moves again.
            self._reader.close()
            self._reader = self._new_reader()
            return None

    def close(self) -> None:
        self._reader.close()


class Cluster:
    """Topics and a namespace of its own, and the processes between them."""

    def __init__(self, bootstrap: str, store: str, prefix: str, folder: Path) -> None:
        self.environ = {
            "HEADSTREAM_BOOTSTRAP": bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": prefix,
            "HEADSTREAM_STORE_URL": store,
            "HEADSTREAM_SINK_GROUP": f"{prefix}.sink",
            "HEADSTREAM_PARTITIONS": str(PARTITIONS),
            # What Kafka allows at the least: a killed worker keeps its partitions so long.
            "HEADSTREAM_SESSION_SECONDS": "6",
            "HEADSTREAM_SINK_SESSION_SECONDS": "6",
            # Several batches for each part of the load, so that kills come between and amid them.
            "HEADSTREAM_TRACKER_TAKE": "20",
            "HEADSTREAM_SINK_BATCH_TRIPLES": "5000",
        }
        self.settings = Settings.from_env(self.environ)
        topics.create(self.settings)
        self.workers: dict[str, Worker] = {}
        self.publisher = Publisher(bootstrap)
        names = self.settings.topics
        self.progress: dict[Stage, Progress] = {
            "tracker": Progress(self.settings, names.events, self.settings.group),
            "sink": Progress(self.settings, names.identified, f"{prefix}.sink"),
        }
        self._documents = Progress(self.settings, names.definitions, self.settings.group, partitions=1)
        self._letters = Progress(self.settings, names.dead_letters, "unused")
        self._store, self._folder = store, folder

    def start(self, *names: str, environ: Mapping[str, str] | None = None) -> None:
        for name in names:
            worker = self.workers.get(name)
            if worker is None:
                worker = Worker(name, self._folder, {**self.environ, **(environ or {})})
                self.workers[name] = worker
            worker.start()

    def wait_ready(self, seconds: float = 90) -> None:
        wait_for(
            lambda: all(worker.ready for worker in self.workers.values()),
            seconds,
            lambda: f"{[name for name, worker in self.workers.items() if not worker.ready]} ready",
        )

    def define(self, load: Load) -> None:
        self.publisher.send(self.settings.topics.definitions, [load.definition])
        self.publisher.flush(30)

    def publish(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        self.publisher.send(self.settings.topics.events, messages)

    def at_rest(self) -> bool:
        """Nothing is left to do: asked stage by stage, in the order of the stream."""
        stages = (self._documents, self.progress["tracker"], self.progress["sink"])
        return all(one.end() == one.done() for one in stages)

    def wait_at_rest(self, seconds: float) -> float:
        """Await the end of all work and return how long it took from now."""
        return wait_for(self.at_rest, seconds, self.told)

    def told(self) -> str:
        """Where the stream is."""
        stages = {**self.progress, "documents": self._documents}
        return ", ".join(f"{stage} {one.done()} of {one.end()}" for stage, one in stages.items())

    def ledger(self, load: Load) -> dict[str, int]:
        """Every event that was published is in the graph or a dead letter; the graph is asked for each."""
        assert self.publisher.acknowledged == len(load.bags) + 1
        letters, repeats = self._letters.end(), self.progress["sink"].end()
        assert letters is not None and repeats is not None
        stored = self._count("prov:startedAtTime") + self._count("prov:endedAtTime")
        return {
            "published": load.events,
            "stored": stored,
            "dead letters": letters,
            "repeated messages": repeats - len(load.bags) - 1,
        }

    def graph(self) -> tuple[str, int]:
        """Hash and size of what is stored."""
        store = open_store(self._store)
        try:
            return graph_hash(store.dump()), store.size()
        finally:
            store.close()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.destroy()
        for one in (*self.progress.values(), self._documents, self._letters):
            one.close()

    def _count(self, predicate: str) -> int:
        query = f"SELECT (COUNT(DISTINCT ?s) AS ?n) WHERE {{ ?s <{expand(predicate)}> ?o }}"
        answer = httpx.get(
            self._store,
            params={"query": query},
            headers={"Accept": "application/sparql-results+json"},
            timeout=120,
            trust_env=False,
        ).raise_for_status()
        return int(answer.json()["results"]["bindings"][0]["n"]["value"])


def prove(cluster: Cluster, load: Load) -> None:
    """At rest: each event is in the graph, and the graph is that of an undisturbed run."""
    ledger, expected = cluster.ledger(load), load.undisturbed()
    print("ledger:", ", ".join(f"{number:,} {what}" for what, number in ledger.items()), flush=True)
    assert ledger["published"] == ledger["stored"] and ledger["dead letters"] == 0
    assert cluster.graph() == (expected.hash, expected.triples)
    print(f"graph: {expected.triples:,} triples, hash {expected.hash[:16]} as undisturbed", flush=True)
