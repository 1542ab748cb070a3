"""Freshness is a histogram that counts every event once, whichever way it is counted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from headstream.schemas.exposition import SECONDS, Freshness, Text, serve

NOW = 1_700_000_000.0
AGES = st.lists(st.floats(-10, 10_000), min_size=1, max_size=30)


def shown(freshness: Freshness) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(freshness)
    (family,) = registry.collect()
    return {sample.name + sample.labels.get("le", ""): sample.value for sample in family.samples}


def made() -> Freshness:
    return Freshness("headstream_test_seconds", "of a test", ("total",))


@given(ages=AGES, unknown=st.integers(0, 3))
def test_events_of_a_message_count_as_if_each_were_alone(ages: list[float], unknown: int) -> None:
    moments = [int((NOW - age) * 1e6) for age in ages]
    together, alone = made(), made()
    together.since("total", [0] * unknown + moments, NOW)
    for moment in moments:
        alone.add("total", NOW - moment / 1e6)
    one, other = shown(together), shown(alone)
    sums = [each.pop("headstream_test_seconds_sum") for each in (one, other)]
    assert sums[0] == pytest.approx(sums[1], abs=1e-3)
    assert one == other
    assert one["headstream_test_seconds_bucket+Inf"] == one["headstream_test_seconds_count"] == len(ages)


def test_a_message_without_times_counts_nothing() -> None:
    freshness = made()
    freshness.since("total", [0, 0], NOW)
    freshness.since("total", [], NOW)
    assert shown(freshness)["headstream_test_seconds_count"] == 0


def test_a_weight_counts_so_many_events_and_a_clock_that_is_ahead_counts_as_0() -> None:
    freshness = made()
    freshness.add("total", 0.4, events=50)
    freshness.add("total", -3.0)
    found = shown(freshness)
    assert found["headstream_test_seconds_bucket0.3"] == 1
    assert found["headstream_test_seconds_bucket0.5"] == found["headstream_test_seconds_count"] == 51
    assert found["headstream_test_seconds_sum"] == pytest.approx(20.0)


def test_the_promises_are_limits_of_buckets() -> None:
    assert {1.0, 2.0} <= set(SECONDS)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def port() -> Iterator[int]:
    server = serve(CollectorRegistry(), "127.0.0.1", 0, lambda: None)
    assert server is not None
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_who_says_nothing_takes_a_bounded_number_of_threads_and_gives_them_back(port: int) -> None:
    def asked() -> int | None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code
        except httpx.TransportError:  # Hung up before the answer could be read.
            return None

    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        until(lambda: asked() in (503, None))
        assert threading.active_count() - before <= 32
    until(lambda: asked() == 200)


def test_a_text_is_made_once_for_all_who_wait_and_anew_for_who_asks_later() -> None:
    looks, made, may = count(1), count(1), threading.Event()
    looked: list[int] = []

    def clock() -> float:
        looked.append(next(looks))
        return float(looked[-1])

    def make() -> bytes:
        number = next(made)
        assert may.wait(30)
        return str(number).encode()

    text, answers = Text(make, clock), []
    askers = [threading.Thread(target=lambda: answers.append(text.made_now())) for _ in range(5)]
    askers[0].start()
    until(lambda: len(looked) == 2)  # It asked, and began to make the text.
    for each in askers[1:]:
        each.start()
    until(lambda: len(looked) == 6)  # The others have asked while it was being made.
    may.set()
    for each in askers:
        each.join(30)
    assert sorted(answers) == [b"1", b"2", b"2", b"2", b"2"]
    assert text.made_now() == b"3"
