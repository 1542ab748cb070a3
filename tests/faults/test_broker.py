"""A broker that dies, stands still, is slow or cut off costs no event (faults rows 3, 5, 12 and 13)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .broker import Broker
from .cluster import Cluster, prove, wait_for
from .conftest import Scale
from .load import Load, make

WORKERS = ("tracker-1", "tracker-2", "sink-1", "sink-2")
RUNS = 10
RATE = 10.0  # Bags a second while a fault is played: 500 events.
AHEAD = 20  # Bags that wait for the broker at most: an outage must not use up the load.


@pytest.fixture(scope="module")
def broker(artefacts: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("proxied")).running() as made:
        yield made


@pytest.fixture
def stream(
    broker: Broker, new_cluster: Callable[[str], Cluster], scale: Scale
) -> Iterator[Callable[[Callable[[Cluster], None]], None]]:
    """Play a fault while events pass, and prove that all of them are there a bounded time after its end."""
    load = make(scale.broker_events, RUNS)
    cluster = new_cluster(broker.bootstrap)
    cluster.start(*WORKERS)

    def play(fault: Callable[[Cluster], None]) -> None:
        cluster.wait_ready()
        cluster.define(load)
        feed = Feed(cluster, load)
        feed.start()
        wait_for(lambda: cluster.progress["sink"].done() > 1, 60, cluster.told)
        began = time.monotonic()
        fault(cluster)
        print(f"fault over after {time.monotonic() - began:.1f} s: {cluster.told()}", flush=True)
        ended = time.monotonic()
        feed.finish()
        cluster.publisher.flush(scale.recovery)
        acknowledged = time.monotonic() - ended
        cluster.wait_at_rest(scale.recovery - acknowledged)
        print(
            f"recovered {time.monotonic() - ended:.1f} s after the end of the fault; "
            f"all {load.events:,} events acknowledged after {acknowledged:.1f} s",
            flush=True,
        )
        assert all(worker.ready for worker in cluster.workers.values()), "nobody died of it"
        prove(cluster, load)

    yield play
    broker.proxy.fault("pass")


class Feed(threading.Thread):
    """Publishes a fifth of the load at once and the rest bag by bag, or at once when told to finish."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        super().__init__(daemon=True)
        self._cluster, self._messages = cluster, load.messages()
        self._hurry = threading.Event()

    def run(self) -> None:
        head = len(self._messages) // 5
        self._cluster.publish(self._messages[:head])
        for message in self._messages[head:]:
            self._cluster.publish([message])
            self._hurry.wait(1 / RATE)
            while self._cluster.publisher.waiting > AHEAD and not self._hurry.is_set():
                self._hurry.wait(1 / RATE)

    def finish(self) -> None:
        self._hurry.set()
        self.join(60)
        assert not self.is_alive()


def last(seconds: float) -> None:
    """How long a fault lasts."""
    threading.Event().wait(seconds)


def test_a_broker_killed_again_and_again_costs_no_event(
    broker: Broker, stream: Callable[..., None], scale: Scale
) -> None:
    def kill(cluster: Cluster) -> None:
        for number in range(scale.broker_kills):
            if number:  # Amid the work, not before it has begun again.
                before = cluster.publisher.acknowledged
                wait_for(lambda: cluster.publisher.acknowledged > before + RATE, 90, cluster.told)  # noqa: B023
            broker.service.kill()
            last(0.5)
            broker.service.start()

    stream(kill)


def test_a_broker_that_stands_still_costs_the_workers_no_event(
    broker: Broker, stream: Callable[..., None], scale: Scale
) -> None:
    stream(lambda cluster: broker.pause(scale.pause))


def test_a_slow_broker_costs_no_event(broker: Broker, stream: Callable[..., None], scale: Scale) -> None:
    def slow(cluster: Cluster) -> None:
        broker.proxy.fault("delay", seconds=0.2)
        last(scale.slow)
        broker.proxy.fault("throttle", rate=50_000.0)
        last(scale.slow)
        broker.proxy.fault("pass")

    stream(slow)


def test_a_broker_that_cannot_be_reached_for_a_while_costs_no_event(
    broker: Broker, stream: Callable[..., None], scale: Scale
) -> None:
    def cut(cluster: Cluster) -> None:
        broker.proxy.fault("blackhole")
        last(scale.partition)
        broker.proxy.fault("pass")

    stream(cut)
