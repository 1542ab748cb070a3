"""What a worker shows of itself, and what a restart costs."""

from __future__ import annotations

import json
import signal
import time

import httpx
import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headstream.schemas.codec import encode_bag
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, RunEnded
from headstream.schemas.vocabulary import FINISHED
from headstream.services.ports import free_ports
from headstream.stream_processors.bounded import Span
from headstream.stream_processors.lag import Lag, lag_of
from headstream.stream_processors.repeats import Repeats

DEFINITION = parse_definition({"dataflow_name": "w", "data_transformations": {"train": {}}})


def bag(execution: str, sequence: int, ended: int, producer: str = "p") -> Bag:
    return Bag(
        workflow="w",
        execution=execution,
        producer=producer,
        sequence=sequence,
        events=(RunEnded(started=1, ended=ended, outcome=FINISHED),),
    )


def now() -> int:
    return time.time_ns() // 1000


class Shown:
    """The metrics of a worker."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def sum(self, name: str, **labels: str) -> float | None:
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"headstream_tracker_{name}" and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None


def test_a_worker_shows_freshness_lag_and_repeats_and_logs_the_run_of_what_it_refuses(
    new_stream,
) -> None:
    (port,) = free_ports(1)
    stream = new_stream(HEADSTREAM_TRACKER_METRICS_PORT=str(port), HEADSTREAM_LOG_FORMAT="json")
    shown = Shown(port)
    names = stream.settings.topics
    stream.document(document(DEFINITION))
    stream.flush()
    stream.worker()
    stream.await_(lambda: "partitions assigned" in stream.log())
    for number in range(10):
        stream.bag(bag("r", number, now() - 4_000_000))
    stream.bag(bag("r", 3, now() - 4_000_000))
    stream.send(names.events, b"k", b"poison-canary")
    refused = Bag(workflow="w", execution="bad", events=(RunEnded(started=1, ended=2, outcome="nonsense"),))
    stream.bag(refused)
    stream.flush()
    stream.letters(2)
    stream.await_(lambda: shown.sum("freshness_seconds_count", stage="published") == 11, 30)
    assert shown.sum("freshness_seconds_bucket", stage="published", le="3.0") == 0
    assert shown.sum("freshness_seconds_bucket", stage="published", le="10.0") == 11
    assert shown.sum("freshness_seconds_bucket", stage="tracked", le="30.0") == 11
    assert shown.sum("duplicate_bags_total") == 1
    assert shown.sum("definitions") == 1
    stream.await_(lambda: shown.sum("lag_messages") == shown.sum("lag_seconds") == 0, 30)
    assert httpx.get(f"{shown.url}/healthz", trust_env=False).status_code == 200
    lines = [json.loads(line) for line in stream.log().splitlines()]
    told = {line["reason"]: line for line in lines if line["message"] == "refused"}
    poison, invalid = told["undecodable"], told["invalid-event"]
    assert poison["topic"] == invalid["topic"] == names.events
    assert isinstance(poison["partition"], int) and isinstance(poison["offset"], int)
    assert (invalid["workflow"], invalid["execution"]) == ("w", "bad")
    assert "canary" not in stream.log()


def test_the_age_of_the_lag_grows_while_a_topic_cannot_be_written(new_stream) -> None:
    (port,) = free_ports(1)
    environ = {"HEADSTREAM_TRACKER_METRICS_PORT": str(port), "HEADSTREAM_CREATE_TOPICS": "false"}
    stream = new_stream(**environ)
    shown = Shown(port)
    begun = time.time()
    stream.bag(bag("r", 0, now()))
    stream.flush()
    stream.worker()
    stream.identified(lambda items: any(item.execution == "r" for item in items))
    dead = stream.settings.topics.dead_letters
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    admin.delete_topics([dead])[dead].result(20)
    stream.send(stream.settings.topics.events, b"w/r", b"poison")
    for number in range(4):
        stream.bag(bag("r", number + 1, now()))
    stream.flush()
    stream.await_(lambda: (shown.sum("lag_seconds") or 0) > 6, 60)
    assert shown.sum("lag_messages") >= 1
    assert shown.sum("lag_seconds") <= time.time() - begun + 1


def test_static_members_come_back_to_their_partitions_and_nobody_elses_move(new_stream) -> None:
    """Two workers are restarted one after the other, as a rolling update does."""
    stream = new_stream(partitions=4, HEADSTREAM_LOG_FORMAT="json", HEADSTREAM_SESSION_SECONDS="30")
    workers = {}

    def start(name: str) -> None:
        stream.environ["HEADSTREAM_TRACKER_INSTANCE"] = name
        workers[name] = stream.worker()

    def assignments() -> list[list[int]]:
        lines = (json.loads(line) for line in stream.log().splitlines())
        return [line["partitions"] for line in lines if line["message"] == "partitions assigned"]

    start("a")
    stream.await_(lambda: [0, 1, 2, 3] in assignments())
    start("b")
    stream.await_(lambda: sorted(map(len, assignments()[-2:])) == [2, 2])
    before = assignments()
    for restarted, name in enumerate(("a", "b"), start=1):
        workers[name].send_signal(signal.SIGTERM)
        assert workers[name].wait(10) == 0
        start(name)
        stream.await_(lambda n=restarted: len(assignments()) == len(before) + n, 25)
    for number in range(20):
        stream.bag(bag(f"r{number}", 0, now()))
    stream.flush()
    stream.identified(lambda items: {f"r{n}" for n in range(20)} <= {item.execution for item in items}, 25)
    # Each of the two was assigned once, what one of them had, and the other one heard of nothing.
    after = assignments()[len(before) :]
    assert len(after) == 2 and sorted(number for each in after for number in each) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("committed", "expected"),
    [(-1001, Lag(first=3, messages=7)), (1, Lag(first=3, messages=7)), (8, Lag(first=8, messages=2))],
)
def test_what_retention_has_deleted_is_no_lag(committed: int, expected: Lag) -> None:
    assert lag_of(committed, Span(3, 10)) == expected
    assert lag_of(12, Span(3, 10)).messages == 0


@given(st.lists(st.integers(0, 20), max_size=40))
def test_a_bag_is_a_repeat_if_one_as_late_came_before(sequences: list[int]) -> None:
    repeats, highest = Repeats(), -1
    for sequence in sequences:
        sent = bag("r", sequence, 2)
        assert repeats.repeated(sent, encode_bag(sent)) == (sequence <= highest)
        highest = max(highest, sequence)


def test_bags_of_other_producers_runs_and_parts_of_one_bag_are_no_repeats() -> None:
    repeats = Repeats(remembered=2)
    for made in (bag("r", 5, 2), bag("s", 1, 2), bag("r", 1, 2, producer="q")):
        assert not repeats.repeated(made, encode_bag(made))
    assert not repeats.repeated(bag("r", 1, 9, producer="q"), b"the other half")
    assert not repeats.repeated(bag("r", 0, 2), b"forgotten: two others came since")
    assert not repeats.repeated(bag("r", 0, 2, producer=""), b"") and not repeats.repeated(
        bag("r", 0, 2, producer=""), b""
    )
