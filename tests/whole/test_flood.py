"""A flood of requests for metrics costs neither the work of a worker nor its memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psutil
import pytest
from confluent_kafka import Producer

from headstream.schemas.codec import encode_bag
from headstream.schemas.events import Bag, RunStarted, StepEnded, StepRef
from headstream.schemas.facts import Origin
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import PARTITIONER, Topics, run_key
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import FINISHED
from headstream.services.ports import HOST, free_ports
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.statements import render
from headstream.stream_processors.tracker import track

NOWHERE = Origin(topic="", partition=0, offset=0)
SCRAPERS, SILENT, BAGS = 24, 200, 300
MIB = 1 << 20


def bag(number: int) -> Bag:
    step = StepRef("train", str(number))
    values = (AttributeValue("loss", number / 7),)
    ended = StepEnded(step=step, started=number, ended=number + 9, outcome=FINISHED, values=values)
    return Bag(workflow="w", execution=f"r{number % 4}", events=(RunStarted(started=1), ended))


@contextmanager
def flood(ports: list[int]) -> Iterator[dict[str, int]]:
    """Ask for the metrics of all without a pause, and hold connections that say nothing; the answers."""
    end, answered = threading.Event(), {"200": 0, "503": 0, "none": 0}

    def scrape(port: int) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not end.is_set():
                try:
                    said = str(client.get(f"http://{HOST}:{port}/metrics").status_code)
                except httpx.TransportError:  # Hung up before its 503 could be read.
                    said = "none"
                answered[said] += 1

    threads = [threading.Thread(target=scrape, args=(port,)) for port in ports for _ in range(SCRAPERS)]
    with ExitStack() as stack:
        for port in ports:
            for _ in range(SILENT):
                stack.enter_context(socket.create_connection((HOST, port), timeout=60))
        try:
            for thread in threads:
                thread.start()
            yield answered
        finally:
            end.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(90)


@pytest.fixture
def watched(pipeline: Any) -> dict[str, int]:
    """A sink and a tracker, and the ports on which they show themselves."""
    ports = dict(zip(("sink", "tracker"), free_ports(2), strict=True))
    pipeline.env["HEADSTREAM_METRICS_PORT"] = str(ports["sink"])
    pipeline.env["HEADSTREAM_TRACKER_METRICS_PORT"] = str(ports["tracker"])
    for name in ports:
        pipeline.start(name)
    return ports


def test_a_flood_of_scrapes_costs_neither_work_nor_memory(pipeline: Any, watched: dict[str, int]) -> None:
    names = Topics(pipeline.env["HEADSTREAM_TOPIC_PREFIX"])
    producer = Producer(
        {"bootstrap.servers": pipeline.env["HEADSTREAM_BOOTSTRAP"], "partitioner": PARTITIONER}
    )
    bags = [bag(number) for number in range(BAGS)]
    facts = {fact for each in bags for fact in track(each, None, NOWHERE).identified.facts}
    expected = graph_hash([render(sorted(facts), DEFAULT_BASE)])
    workers = [psutil.Process(process.pid) for process in pipeline.processes]
    before = [sizes(worker) for worker in workers]
    with largest(workers) as most, flood(list(watched.values())) as answered:
        pipeline.until(lambda: sum(answered.values()) > 100, 60, "the flood")
        for each in bags:
            producer.produce(names.events, encode_bag(each), run_key(each.workflow, each.execution))
        assert producer.flush(30) == 0
        pipeline.wait_for_hash(expected, 180)
    for (threads, rss), (most_threads, most_rss) in zip(before, most, strict=True):
        assert most_threads - threads < 60, "a thread for each who says nothing would be 200"
        assert most_rss - rss < 150 * MIB
    assert answered["503"] + answered["none"] > 0, "more came than is answered at once"
    for port in watched.values():
        pipeline.until(lambda port=port: answers(port), 60, f"{port} answers again")


@contextmanager
def largest(workers: list[psutil.Process]) -> Iterator[list[tuple[int, int]]]:
    """The largest sizes that the workers had in this context."""
    end, most = threading.Event(), [(0, 0) for _ in workers]

    def look() -> None:
        while not end.wait(0.05):
            for number, worker in enumerate(workers):
                threads, rss = sizes(worker)
                most[number] = max(most[number][0], threads), max(most[number][1], rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        end.set()
        looking.join(30)


def sizes(worker: psutil.Process) -> tuple[int, int]:
    """Threads, and bytes in memory."""
    return worker.num_threads(), worker.memory_info().rss


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
