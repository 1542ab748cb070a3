"""Workers and sinks that die, stop, join and leave at random cost no event (faults rows 20, 21, 27, 44)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .cluster import Cluster, prove, wait_for
from .conftest import Scale
from .load import make
from .schedule import Kill, plan

WORKERS = ("tracker-1", "tracker-2", "tracker-3", "sink-1", "sink-2")
GUESTS = ("tracker-4", "tracker-5", "sink-3")
RUNS = 12


class Chaos:
    """Carries out what the plan says; a worker that was ended is back by itself."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pool = ThreadPoolExecutor(16)
        self._under_way: dict[str, Future[None]] = {}
        self.longest_end = 0.0
        self.amid_work = 0

    def kill(self, kill: Kill, before: int, part: int) -> None:
        """End the victim when its stage has done its share of a part of the load, and all before it."""
        worker = self._cluster.workers[kill.victim]
        if worker.name in self._under_way:
            self._under_way[worker.name].result(60)
        progress = self._cluster.progress[worker.stage]
        _await_for_a_while(lambda: progress.done() >= before + kill.share * part, kill.patience)
        end = progress.end()
        self.amid_work += end is not None and progress.done() < end
        self._under_way[worker.name] = self._pool.submit(self._end_and_start, kill)

    def leave(self, name: str) -> None:
        self._under_way[name] = self._pool.submit(self._leave, name)

    def calm(self) -> None:
        """Return when whoever was ended has been started again."""
        for done in self._under_way.values():
            done.result(60)
        self._pool.shutdown()

    def _end_and_start(self, kill: Kill) -> None:
        worker = self._cluster.workers[kill.victim]
        self.longest_end = max(self.longest_end, worker.end(kill.signal))
        time.sleep(kill.down)
        worker.start()

    def _leave(self, name: str) -> None:
        self.longest_end = max(self.longest_end, self._cluster.workers.pop(name).end(signal.SIGTERM))


def _await_for_a_while(condition: Callable[[], bool], seconds: float) -> None:
    """Go on when it holds, or when the time is over: nothing here may stop the schedule."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_every_event_is_in_the_graph_whoever_is_killed_joins_or_leaves(
    kafka: Any, new_cluster: Callable[[str], Cluster], scale: Scale, seed: int
) -> None:
    load = make(scale.worker_events, RUNS)
    messages = load.messages()
    turns = plan(seed, scale.kills, WORKERS, GUESTS, scale.patience)
    cluster = new_cluster(kafka.bootstrap)
    # Half of the sinks keep their place in the group through a restart, half do not.
    cluster.start("sink-1", environ={"HEADSTREAM_SINK_INSTANCE": "sink-1"})
    cluster.start(*(name for name in WORKERS if name != "sink-1"))
    cluster.wait_ready()
    cluster.define(load)
    chaos, began = Chaos(cluster), time.monotonic()
    part = -(-len(messages) // len(turns))
    for number, turn in enumerate(turns):
        print(f"{time.monotonic() - began:6.1f} s  {cluster.told()}  {turn}", flush=True)
        before = number * part
        # The kills are spread over the whole stream: the last stage is at most two parts behind.
        stored = cluster.progress["sink"]
        _await_for_a_while(lambda: stored.done() >= before - 2 * part, scale.patience)  # noqa: B023
        cluster.publish(messages[before : before + part])
        cluster.start(*turn.joining)
        chaos.kill(turn.kill, before, part)
        for guest in turn.leaving:
            chaos.leave(guest)
    cluster.publisher.flush(60)
    chaos.calm()
    print(f"{time.monotonic() - began:6.1f} s  {cluster.told()}  all kills done", flush=True)
    recovery = cluster.wait_at_rest(scale.recovery)
    print(
        f"{len(turns)} kills, {chaos.amid_work} with work to do; gone at most {chaos.longest_end:.1f} s "
        f"after a signal; recovered {recovery:.1f} s after the last restart"
    )
    assert chaos.amid_work >= len(turns) / 3, "kills come while there is work to do"
    wait_for(lambda: all(one.ready for one in cluster.workers.values()), 60, lambda: "everybody ready")
    prove(cluster, load)
