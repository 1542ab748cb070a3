"""How soon the gateway answers a bag of 50 messages, each answered only when it is durable.

    python -m load_tests.gateway_rate [--rate 100] [--seconds 10] [--rounds 3] [--where spool kafka] [--json]

Run it in the checkout's root. A gateway of its own for each place (the spool with fsync; a real broker)
gets bags at a steady pace, by as many connections as needed, and beside them in the same run, in turns
and at the same pace, what bounds it: an empty bag (HTTP alone), and the bytes of a bag synced to a file
(the disk alone). What counts is the time from when a bag was due, not from when it was sent.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import psutil
from load_tests import broker

from headstream.schemas.topics import Topics
from headstream.services.errors import ServicesError
from headstream.services.ports import free_ports

SPOOL, KAFKA = "spool", "kafka"
_PATH: Final = "/retrospective-provenance?with_validation=False"
_RUNS: Final = 4
_SENDERS: Final = 8
_MESSAGES: Final = 50
_START_SECONDS: Final = 60.0

Send = Callable[[int], None]


def bag(number: int) -> bytes:
    """The number-th bag: tasks of a loop as the client says them; four runs take turns."""
    run = f"run-{number % _RUNS}"
    messages: list[dict[str, Any]] = []
    for turn in range(_MESSAGES // 3 + 1):
        begun = 1_800_000_000.0 + number + turn / 100
        parent = {"parent_cycle_name": "epoch", "parent_cycle_iteration": number // 50 + 1}
        task = {"id": begun, "wf_execution": run, "generatedTime": begun, **parent}
        ended = {**task, "startTime": begun + 0.001, "endTime": begun + 0.008, "status": "FINISHED"}
        model = {"values": f"/models/{number}", "prov_attr_type": "data_reference", "data_store_id": "gpfs1"}
        said = [
            {"task": task, "type": "Generate", "values": {"batch_id": turn, "rate": 0.01}},
            {"task": {**task, "startTime": begun + 0.001}, "type": "Input"},
            {"task": ended, "type": "Output", "values": {"loss": 1 / (turn + 1), "model": model}},
        ]
        messages += [
            {"prov_obj": {"dt": "batch", "person": "lga", **one}, "dataflow_name": "T", "act_type": "task"}
            for one in said
        ]
    return json.dumps(messages[:_MESSAGES]).encode()


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rate", type=float, default=100.0, help="bags a second")
    options.add_argument("--seconds", type=float, default=10.0, help="of each round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--where", nargs="+", choices=[SPOOL, KAFKA], default=[SPOOL, KAFKA])
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    found: dict[str, Any] = {"rate": chosen.rate, "load": os.getloadavg(), "places": {}}
    try:
        for where in chosen.where:
            found["places"][where] = _measured(where, chosen.rate, chosen.seconds, chosen.rounds)
    except (ServicesError, TimeoutError) as error:
        print(f"gateway_rate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found) if chosen.json else _table(found))
    return 0


def _measured(where: str, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"bag of 50": [], "empty bag": [], "fsync of a bag": []}
    cpu = 0.0
    count = int(rate * seconds)
    with gateway(where) as (port, process):
        paced(partial(poster, port, lambda number: bag(10**6 + number)), 50, rate)  # Warm.
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}: {where}", file=sys.stderr)
            bags = [bag(number * count + each) for each in range(count)]
            before = sum(process.cpu_times()[:2])
            taken["bag of 50"] += paced(partial(poster, port, bags.__getitem__), count, rate)
            cpu += sum(process.cpu_times()[:2]) - before
            taken["empty bag"] += paced(partial(poster, port, lambda each: b"[]"), count, rate)
            taken["fsync of a bag"] += paced(partial(syncer, bags), count, rate)
    rows = {
        name: {
            "best_ms": min(each) * 1000,
            "p50_ms": statistics.median(each) * 1000,
            "p95_ms": statistics.quantiles(each, n=20)[-1] * 1000,
            "p99_ms": statistics.quantiles(each, n=100)[-1] * 1000,
        }
        for name, each in taken.items()
    }
    return {"rows": rows, "cpu_ms_a_bag": cpu / (rounds * count) * 1000, "bags": rounds * count}


@contextmanager
def gateway(where: str) -> Iterator[tuple[int, psutil.Process]]:
    """A gateway that is ready, on a port and a data directory of its own."""
    with tempfile.TemporaryDirectory(prefix="headstream-load-", ignore_cleanup_errors=True) as data:
        (port,) = free_ports(1)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADSTREAM_")}
        env = {
            **kept,
            "HEADSTREAM_DATA": data,
            "HEADSTREAM_GATEWAY_PORT": str(port),
            "HEADSTREAM_CONFIG": "off",
        }
        if where == SPOOL:
            with _served(env, port) as process:
                yield port, process
            return
        with broker.service() as kafka:
            names = Topics()
            broker.make_topics(kafka.bootstrap, names.events, names.definitions, names.dead_letters)
            with _served({**env, "HEADSTREAM_BOOTSTRAP": kafka.bootstrap}, port) as process:
                yield port, process


@contextmanager
def _served(env: dict[str, str], port: int) -> Iterator[psutil.Process]:
    child = subprocess.Popen([sys.executable, "-m", "headstream", "gateway"], env=env, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError("the gateway has not come up")
            time.sleep(0.1)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.communicate(timeout=30)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def poster(port: int, body: Callable[[int], bytes]) -> Send:
    """Post bags over one connection that stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(number: int) -> None:
        connection.request("POST", _PATH, body(number), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise TimeoutError(f"a bag was answered by {answer.status}")

    return send


def syncer(bags: list[bytes]) -> Send:
    """Append bags to a file and sync it."""
    file = tempfile.TemporaryFile(prefix="headstream-load-")  # noqa: SIM115 - gone when the sender is

    def send(number: int) -> None:
        file.write(bags[number])
        file.flush()
        os.fsync(file.fileno())

    return send


def paced(make: Callable[[], Send], count: int, rate: float) -> list[float]:
    """Send so many at a pace; of each the seconds from when it was due until it was answered."""
    numbers = iter(range(count))
    lock = threading.Lock()
    taken: list[float] = []
    failures: list[BaseException] = []
    begin = time.perf_counter() + 0.1

    def work() -> None:
        send = make()
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                due = begin + number / rate
                time.sleep(max(0.0, due - time.perf_counter()))
                send(number)
                taken.append(time.perf_counter() - due)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise TimeoutError(f"a sender failed: {failures[0]}")
    return taken


def _table(found: dict[str, Any]) -> str:
    lines = [
        "| where | what | best | p50 | p95 | p99 | p95 of an empty bag's |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for where, place in found["places"].items():
        base = place["rows"]["empty bag"]["p95_ms"]
        for name, row in place["rows"].items():
            times = " | ".join(f"{row[key]:.1f} ms" for key in ("best_ms", "p50_ms", "p95_ms", "p99_ms"))
            lines.append(f"| {where} | {name} | {times} | {row['p95_ms'] / base:.1f} |")
    for where, place in found["places"].items():
        lines.append(
            f"\n{where}: {place['cpu_ms_a_bag']:.1f} ms of the gateway's CPU a bag of {_MESSAGES}; "
            f"{place['bags']} bags at {found['rate']:g} a second"
        )
    load = " ".join(f"{average:.1f}" for average in found["load"])
    lines.append(f"\nload average before {load}, {os.cpu_count()} cores shared with the senders")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
