"""A broker that is away, killed, frozen, cut off or slow: calls return, and all of it arrives, each once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headstream.capture.reading import spools
from headstream.schemas.codec import decode_bag
from headstream.schemas.events import IterationBlock
from headstream.schemas.topics import Topics

from ..faults.broker import Broker

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts

SECONDS = 60.0  # Within so long of the end of a fault all has arrived.
# Says `at N` after each hundredth step and goes on till it is told the last; then ships what is left.
SCRIPT = """
import json, os, sys, time
from headstream import capture
took = []
number = 0
with capture.workflow("w", execution="e") as run:
    print("begun", flush=True)
    while not os.path.exists(sys.argv[1]):
        for _ in range(100):
            began = time.perf_counter()
            run.task("t", used={"n": number}).begin().end()
            took.append(time.perf_counter() - began)
            number += 1
        for turn in run.loop("row", range(50)):
            turn.generated(loss=0.5)
        time.sleep(0.01)
took.sort()
print(json.dumps([number, took[len(took) * 99 // 100], took[-1], capture.losses()]), flush=True)
"""


def make_topics(broker: Broker, prefix: str) -> Topics:
    topics = Topics(prefix)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    made = admin.create_topics([NewTopic(topics.events, 2, 1), NewTopic(topics.definitions, 1, 1)])
    for future in made.values():
        future.result(30)
    return topics


@pytest.fixture(scope="module")
def broker(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("proxied")).running() as made:
        yield made


@pytest.fixture(autouse=True)
def sound(broker: Broker) -> Iterator[None]:
    yield
    broker.proxy.fault("pass")


def arrived(broker: Broker, topics: Topics) -> Counter[tuple[str, str]]:
    """Starts of steps and turns in the topic, and how often each is there."""
    given = {"bootstrap.servers": broker.bootstrap, "group.id": "t", "enable.auto.commit": False}
    consumer = Consumer(given)
    found: Counter[tuple[str, str]] = Counter()
    try:
        for number in consumer.list_topics(topics.events, timeout=20).topics[topics.events].partitions:
            part = TopicPartition(topics.events, number, 0)
            consumer.assign([part])
            _, end = consumer.get_watermark_offsets(part, timeout=20)
            while end > 0:
                message = consumer.poll(20)
                assert message is not None and message.error() is None
                for event in decode_bag(message.value()).events:
                    if isinstance(event, IterationBlock):
                        found.update(("row", f"{event.prefix}{o}") for o in event.ordinals)
                    elif type(event).__name__ == "StepStarted":
                        found["t", event.step.task] += 1
                if message.offset() >= end - 1:
                    break
    finally:
        consumer.close()
    return found


class Running:
    """The script, while a fault is played; `end` ends it and compares."""

    def __init__(self, broker: Broker, topics: Topics, folder: Path) -> None:
        self.spool = folder / "spool"
        self._broker, self._topics, self._stop = broker, topics, folder / "stop"
        env = {
            **os.environ,
            "HEADSTREAM_SPOOL": str(self.spool),
            "HEADSTREAM_BOOTSTRAP": broker.bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": topics.prefix,
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_EXIT_SECONDS": str(SECONDS),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(self._stop)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "begun\n"

    def ship_some(self) -> None:
        """Wait until something has arrived, so that a fault comes in mid run."""
        deadline = time.monotonic() + SECONDS
        while not arrived(self._broker, self._topics):
            assert time.monotonic() < deadline, "nothing arrives"

    def end(self, once: bool = True) -> None:
        """All that was captured is there within the time; with `once` no message was repeated."""
        self._stop.touch()
        out, err = self._process.communicate(timeout=2 * SECONDS)
        assert (self._process.returncode, err) == (0, "")
        number, p99, longest, lost = json.loads(out)
        assert lost == {} and spools(self.spool) == []
        assert longest < 1.0 and p99 < 0.05, "no call waits for a network"
        found = arrived(self._broker, self._topics)
        rows = number // 100 * 50
        expected = {("t", str(n)) for n in range(number)} | {("row", str(n)) for n in range(rows)}
        assert found.keys() == expected
        if once:
            assert set(found.values()) == {1}


@pytest.fixture
def running(broker: Broker, topic_prefix: str, tmp_path: Path) -> Running:
    made = Running(broker, make_topics(broker, topic_prefix.rstrip(".")), tmp_path)
    made.ship_some()
    return made


def wait(seconds: float) -> None:
    """How long a fault lasts."""
    threading.Event().wait(seconds)


def test_a_broker_that_comes_after_the_start_gets_everything(
    broker: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    topics = make_topics(broker, topic_prefix.rstrip("."))
    broker.proxy.fault("refuse")
    running = Running(broker, topics, tmp_path)
    wait(3)
    broker.proxy.fault("pass")
    running.end()


def test_a_broker_that_is_stopped_and_started_costs_nothing(broker: Broker, running: Running) -> None:
    broker.service.stop()
    wait(2)
    broker.service.start()
    running.end(once=False)


def test_a_broker_that_is_killed_again_and_again_costs_nothing(broker: Broker, running: Running) -> None:
    for _ in range(2):
        broker.service.kill()
        wait(0.5)
        broker.service.start()
    running.end(once=False)


def test_a_broker_that_stands_still_costs_nothing_and_nothing_is_repeated(
    broker: Broker, running: Running
) -> None:
    broker.pause(4)
    running.end()


def test_a_network_that_swallows_everything_costs_nothing(broker: Broker, running: Running) -> None:
    broker.proxy.fault("blackhole")
    wait(5)
    broker.proxy.fault("pass")
    running.end()


def test_a_storm_of_resets_costs_nothing(broker: Broker, running: Running) -> None:
    threads = _threads(running)
    for _ in range(10):
        broker.proxy.fault("reset")
        wait(0.1)
        broker.proxy.fault("pass")
        wait(0.4)
    assert _threads(running) <= threads + 1, "connections that come again leave no threads"
    running.end()


def _threads(running: Running) -> int:
    """Threads of the shipper process of the script."""
    mark = f"HEADSTREAM_SPOOL={running.spool}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                b"headstream.capture.helper" in (entry / "cmdline").read_bytes()
                and mark in (entry / "environ").read_bytes()
            ):
                return len(list((entry / "task").iterdir()))
    raise AssertionError("the script has no shipper process")


@pytest.mark.parametrize(
    "play",
    [
        lambda proxy: proxy.fault("delay", seconds=0.2),
        lambda proxy: proxy.fault("throttle", rate=50_000.0),
    ],
    ids=["late", "narrow"],
)
def test_a_slow_broker_is_waited_for_by_nobody_but_the_shipper(
    play: Callable[[Any], None], broker: Broker, running: Running
) -> None:
    play(broker.proxy)
    wait(3)
    broker.proxy.fault("pass")
    running.end()
