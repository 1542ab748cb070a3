"""A bare client and a sink worker that write the same facts into the same Blazegraph, in turns."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import psutil
from confluent_kafka import Producer
from load_tests import broker
from load_tests.peers import ROOT, environment
from load_tests.store_rate.stream import Body, Made
from prometheus_client.parser import text_string_to_metric_families

from headstream.schemas.topics import PARTITIONER, Topics
from headstream.services.blazegraph import (
    BlazegraphService,
    create_namespace,
    drop_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.ports import free_ports

SECONDS: Final = 300.0  # A worker that does not get on for so long has failed.
_POLL_SECONDS: Final = 0.1


class Silent(RuntimeError):
    """A worker that does not get ready, or does not get on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a contender stored, without its start."""

    triples: int
    seconds: float
    requests: int
    cpu: float = 0.0

    @property
    def per_second(self) -> float:
        return self.triples / self.seconds


@contextmanager
def namespace(service: BlazegraphService) -> Iterator[str]:
    """The SPARQL URL of an empty namespace, which is dropped afterwards."""
    name = f"w{uuid.uuid4().hex[:10]}"
    create_namespace(service.url, name, namespace_properties(name))
    try:
        yield sparql_url(service.url, name)
    finally:
        drop_namespace(service.url, name)


def bare(url: str, bodies: Sequence[Body]) -> Rate:
    """POST bodies one after the other over one connection, and do nothing else."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    began, triples = time.perf_counter(), 0
    try:
        for body in bodies:
            connection.request("POST", parts.path, body.content, {"Content-Type": body.media_type})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or b'modified="' not in text:
                raise Silent(f"{url} answered {answer.status}: {text[:200]!r}")
            triples += body.triples
    finally:
        connection.close()
    return Rate(triples=triples, seconds=time.perf_counter() - began, requests=len(bodies))


class Worker:
    """A sink worker as a process, with a topic of its own; what it did is read from its metrics."""

    def __init__(self, bootstrap: str, store: str, folder: Path) -> None:
        self.topics = Topics(f"w{uuid.uuid4().hex[:10]}")
        broker.make_topics(bootstrap, self.topics.identified, self.topics.dead_letters, partitions=4)
        (self._port,) = free_ports(1)
        self._ready = folder / f"{self.topics.prefix}.ready"
        self._log = folder / f"{self.topics.prefix}.log"
        self._environ = environment(
            folder,
            HEADSTREAM_BOOTSTRAP=bootstrap,
            HEADSTREAM_TOPIC_PREFIX=self.topics.prefix,
            HEADSTREAM_STORE_URL=store,
            HEADSTREAM_METRICS_PORT=str(self._port),
            HEADSTREAM_READY_FILE=str(self._ready),
            HEADSTREAM_LOG_LEVEL="WARNING",
            HEADSTREAM_CONFIG="off",
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": PARTITIONER,
                "linger.ms": 5,
                "acks": "all",
                "log_level": 0,
            }
        )
        self._client = httpx.Client(trust_env=False, timeout=10)

    def __enter__(self) -> Worker:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headstream.sinks"],
                env=self._environ,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await(self._ready.exists, "did not get ready")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._client.close()

    def send(self, made: Iterable[Made]) -> None:
        """Hand messages to the broker; waits while it has much to acknowledge."""
        for one in made:
            while True:
                try:
                    self._producer.produce(self.topics.identified, key=one.key, value=one.value)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)

    def flush(self) -> None:
        if self._producer.flush(120):
            raise Silent("the broker did not take the messages within 120 s")

    def metric(self, name: str) -> float:
        """A number of the sink without labels."""
        text = self._client.get(f"http://127.0.0.1:{self._port}/metrics").text
        found = re.search(rf"^headstream_sink_{name} ([0-9.e+]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def buckets(self, stage: str) -> dict[float, float]:
        """The freshness histogram of a stage: events by the upper end of each bucket."""
        text = self._client.get(f"http://127.0.0.1:{self._port}/metrics").text
        return {
            float(sample.labels["le"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "headstream_sink_freshness_seconds_bucket" and sample.labels["stage"] == stage
        }

    def until(self, triples: int) -> None:
        """Return when so many triples are confirmed."""
        last, moved = -1.0, time.monotonic()
        while (stored := self.metric("triples_total")) < triples:
            if stored != last:
                last, moved = stored, time.monotonic()
            if time.monotonic() - moved > SECONDS or self._process.poll() is not None:
                raise Silent(f"the sink stopped at {stored:,.0f} of {triples:,} triples:\n{self._said()}")
            time.sleep(_POLL_SECONDS)

    def cpu(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def _await(self, met: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + 60
        while not met():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise Silent(f"the sink {otherwise}:\n{self._said()}")
            time.sleep(_POLL_SECONDS)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def through_the_sink(worker: Worker, made: Sequence[Made]) -> Rate:
    """From the first message sent until the last triple is confirmed, all that lies between included."""
    triples, before = sum(one.triples for one in made), worker.cpu()
    requests, stored = worker.metric("requests_total"), int(worker.metric("triples_total"))
    began = time.perf_counter()
    worker.send(made)
    worker.flush()
    worker.until(stored + triples)
    return Rate(
        triples=triples,
        seconds=time.perf_counter() - began,
        requests=int(worker.metric("requests_total") - requests),
        cpu=worker.cpu() - before,
    )


def load() -> str:
    return " ".join(f"{average:.1f}" for average in os.getloadavg())
