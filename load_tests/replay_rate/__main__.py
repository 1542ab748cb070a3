"""How fast a replay is beside what is live: the same topic, the same kind of store, in one run.

    python -m load_tests.replay_rate [--events 200000] [--rounds 1] [--store blazegraph,oxigraph] [--json]

Run it in the checkout's root. The replay rate is that of `headstream replay --no-hash` with everything
it does from opening the topic to the last triple. It is held against three rates that are live:

    target      1,000 events a second, the load at which freshness is promised
    published   what the fastest script publishes, whose loop does nothing but capture a value
    saturated   what the tracker worker and the sink, each a process, sustain over a topic that is
                full: events stored a second between a tenth and the last of them

Beside wall clock, the processor time of the processes of headstream is shown, which other work on the
machine disturbs less. Two workloads: loops (blocks of 25 turns, two events each) and steps (a start
and an end event for each turn, each with its scope). The store "none" takes statements over HTTP and
keeps nothing: what is left when no store is the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from confluent_kafka import Producer
from load_tests import broker, tracker_core
from load_tests.replay_rate.published import published_rate

from headstream.schemas.codec import encode_bag, encode_document
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, IterationBlock, StepRef
from headstream.schemas.topics import PARTITIONER, Topics, run_key
from headstream.services.blazegraph import (
    BlazegraphService,
    create_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings

EVENTS_A_BAG = 2 * tracker_core.TURNS
SECONDS = 600.0
TARGET = 1000.0
SATURATED = "saturated live chain"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a measurement is made: the broker, the topics that are full, and what they hold."""

    kafka: KafkaService
    prefix: str
    bags: int
    folder: Path

    @property
    def events(self) -> int:
        return self.bags * EVENTS_A_BAG

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "HEADSTREAM_DATA": str(self.folder),
            "HEADSTREAM_BOOTSTRAP": self.kafka.bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": self.prefix,
        }


def moved(bag: Bag, number: int) -> Bag:
    """The bag as that of another epoch, so that it says something new."""
    parent = StepRef("epoch", f"0.{number}")
    events = []
    for event in bag.events:
        if isinstance(event, IterationBlock):
            events.append(replace(event, prefix=f"0.{number}.", parent=parent))
        else:
            turn = event.step.task.rpartition(".")[2]  # type: ignore[union-attr]
            step = StepRef("batch", f"0.{number}.{turn}")
            events.append(replace(event, step=step, parent=parent))  # type: ignore[call-arg]
    return replace(bag, execution=f"run-{number % 8}", events=tuple(events))


def fill(kafka: KafkaService, workload: str, bags: int, folder: Path) -> Place:
    """Topics of their own, with eight runs in them."""
    prefix = f"rate{uuid.uuid4().hex[:8]}"
    settings = Settings(bootstrap=kafka.bootstrap, topics=Topics(prefix), partitions=4)
    topics.create(settings)
    plan = tracker_core.definition()
    made = document(plan)
    one = {"loops": tracker_core.block, "steps": tracker_core.batches}[workload](plan.content_hash, 0)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "partitioner": PARTITIONER, "linger.ms": 50, "acks": "all"}
    )
    producer.produce(settings.topics.definitions, key=made.key.encode(), value=encode_document(made))
    for number in range(bags):
        bag = moved(one, number)
        producer.produce(
            settings.topics.events, key=run_key(bag.workflow, bag.execution), value=encode_bag(bag)
        )
        producer.poll(0)
        if number % 20_000 == 0:
            producer.flush()
    producer.flush()
    return Place(kafka, prefix, bags, folder)


class _Nothing(BaseHTTPRequestHandler):
    """A graph store that confirms and forgets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self._answer(204)

    def do_GET(self) -> None:
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def nothing() -> Iterator[str]:
    """A store that is never the limit."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"graph-store:http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def store(kind: str, blazegraph: BlazegraphService | None, folder: Path) -> Iterator[str]:
    """An empty store."""
    name = f"r{uuid.uuid4().hex[:10]}"
    if kind == "none":
        with nothing() as location:
            yield location
        return
    if kind == "oxigraph":
        yield f"oxigraph:{folder / name}"
        return
    assert blazegraph is not None
    create_namespace(blazegraph.url, name, namespace_properties(name))
    yield sparql_url(blazegraph.url, name)


@dataclass(frozen=True, slots=True)
class Rate:
    """Events a second, and microseconds of processor time an event in processes of headstream."""

    events: float
    cpu: float


def live_rate(place: Place, location: str, workload: str) -> Rate:
    """What the tracker worker and the sink sustain over the whole topic."""
    log = place.folder / f"stored-{uuid.uuid4().hex[:6]}"
    env = {
        **place.env,
        "HEADSTREAM_STORE_URL": location,
        "HEADSTREAM_SINK_GROUP": f"{place.prefix}.sink.{uuid.uuid4().hex[:6]}",
        "HEADSTREAM_FRESHNESS_LOG": str(log),
        "HEADSTREAM_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "headstream"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    workers = [subprocess.Popen([*command, name], env=env, **quiet) for name in ("sink", "tracker")]
    expected = place.bags * (tracker_core.TURNS if workload == "loops" else EVENTS_A_BAG)
    deadline = time.monotonic() + SECONDS
    try:
        while True:
            stored = log.read_bytes().count(b"\n") if log.exists() else 0
            if stored >= expected:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the live chain stored {stored} of {expected} events in {SECONDS:g} s")
            time.sleep(0.5)
        spent = sum(sum(psutil.Process(worker.pid).cpu_times()[:2]) for worker in workers)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
    moments = sorted(int(line.split()[1]) for line in log.read_text().splitlines())
    first = moments[len(moments) // 10]
    share = sum(moment > first for moment in moments) / len(moments)
    rate = share * place.events / max((moments[-1] - first) / 1e6, 1e-6)
    return Rate(rate, spent / place.events * 1e6)


def replay_rate(place: Place, location: str, *arguments: str) -> Rate:
    """What `headstream replay` makes of the whole topic."""
    before = os.times()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "headstream", "replay", "--from", "topics", "--into", location),
            *("--no-hash", "--restart", "--json", *arguments),
        ],
        env=place.env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    said = json.loads(done.stdout)
    assert said["events"] == place.events, said
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Rate(said["events"] / said["seconds"], spent / place.events * 1e6)


def main() -> int:
    """Measure and print; the exit status is 0 whatever the ratio, which depends on the machine."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--events", type=int, default=200_000, help="of each workload")
    options.add_argument("--rounds", type=int, default=1, help="interleaved; medians are shown")
    options.add_argument("--store", default="blazegraph,oxigraph,none")
    options.add_argument("--workload", default="loops,steps")
    options.add_argument("--workers", default="1,2", help="processes of the replay that track")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    table: dict[str, dict[str, Rate]] = {}
    kinds = chosen.store.split(",")
    with ExitStack() as stack:
        kafka = stack.enter_context(broker.service())
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headstream-load-")))
        blazegraph = None
        if "blazegraph" in kinds:
            blazegraph = BlazegraphService(root / "blazegraph", *free_ports(1))
            blazegraph.start()
            stack.callback(blazegraph.stop)
        published = published_rate(kafka, chosen.events, root / "published")
        for workload in chosen.workload.split(","):
            folder = root / workload
            folder.mkdir()
            place = fill(kafka, workload, -(-chosen.events // EVENTS_A_BAG), folder)
            for kind in kinds:
                found: dict[str, list[Rate]] = {}
                for _ in range(chosen.rounds):
                    with store(kind, blazegraph, folder) as location:
                        found.setdefault(SATURATED, []).append(live_rate(place, location, workload))
                    for workers in chosen.workers.split(","):
                        with store(kind, blazegraph, folder) as location:
                            rate = replay_rate(place, location, "--workers", workers)
                        found.setdefault(f"replay, {workers} workers", []).append(rate)
                table[f"{workload} into {kind}"] = {
                    name: Rate(
                        statistics.median(rate.events for rate in rates),
                        statistics.median(rate.cpu for rate in rates),
                    )
                    for name, rates in found.items()
                }
    if chosen.json:
        print(json.dumps({"published": published, "target": TARGET, "rates": table}, default=asdict))
    else:
        print(_table(table, published))
    return 0


def _table(table: dict[str, dict[str, Rate]], published: float) -> str:
    """Every rate, and each replay in times of what is live; the weakest ratio is as plain as the others."""
    lines = [
        f"the fastest script published {published:,.0f} events/s; load average "
        + " ".join(f"{average:.1f}" for average in os.getloadavg()),
        "",
        "| into | what | events/s | CPU us/event | x 1,000/s | x published | x saturated | by CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, row in table.items():
        live = row[SATURATED]
        for name, rate in row.items():
            # All of a short topic is stored in one batch, which gives no rate.
            saturated = rate.events / live.events if live.events else float("nan")
            ratios = (rate.events / TARGET, rate.events / published, saturated)
            shown = " | ".join(f"{ratio:.2f}" for ratio in (*ratios, live.cpu / rate.cpu))
            lines.append(f"| {title} | {name} | {rate.events:,.0f} | {rate.cpu:.1f} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
