"""A worker on a real broker: every bag becomes facts, whatever comes in between."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from functools import partial

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from headstream.schemas.codec import decode_bag, encode_bag, encode_document
from headstream.schemas.dead_letters import definition_of, from_headers
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import Document, Person, document
from headstream.schemas.events import Bag, RunEnded, RunStarted, StepEnded, StepRef
from headstream.schemas.facts import Identified, Origin
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import FINISHED
from headstream.services.ports import free_ports
from headstream.stream_processors import topics
from headstream.stream_processors.replay import replay_topics
from headstream.stream_processors.tracker import describe, track

DEFINITION = parse_definition(
    {
        "dataflow_name": "fit",
        "data_transformations": {
            "train": {
                "type": "LearningStage",
                "stage_type": "Training",
                "output_datasets": [{"attributes": [{"name": "loss", "ml_semantics": "evaluation_measure"}]}],
            }
        },
    }
)
NOWHERE = Origin(topic="", partition=0, offset=0)


def step(number: int) -> StepEnded:
    return StepEnded(
        step=StepRef("train", str(number)),
        started=1_000_000 * number,
        ended=1_000_000 * number + 500_000,
        outcome=FINISHED,
        values=(AttributeValue("loss", 1.0 / (number + 1)),),
    )


def bag(execution: str, *numbers: int, definition: str | None = DEFINITION.content_hash) -> Bag:
    return Bag(
        workflow="fit",
        execution=execution,
        definition=definition,
        events=tuple(step(number) for number in numbers),
    )


def runs(found: list[Identified]) -> set[tuple[str, int]]:
    """Run and events of each message about a run."""
    return {(item.execution, len(item.counts)) for item in found if item.execution}


def union(found: list[Identified]) -> set:
    return {fact for item in found for fact in item.facts}


def test_what_comes_out_is_what_the_tracker_says_of_the_bag(stream) -> None:
    sent = bag("r1", 1, 2, 3)
    stream.document(document(DEFINITION))
    stream.bag(sent)
    stream.flush()
    stream.worker()
    found = stream.identified(lambda items: {i.execution for i in items} >= {"", "r1"})
    out = {item.execution: item for item in found}
    assert replace(out["r1"], origin=NOWHERE) == track(sent, DEFINITION, NOWHERE).identified
    assert out["r1"].origin.topic == stream.settings.topics.events
    assert out[""].facts == describe(document(DEFINITION), NOWHERE).facts


# Throws away what it fetches when a rebalance ends, as Faust does with a fetch that is under way then,
# and looks for partitions that stand still while their positions are not known yet.
WASTEFUL = """
import time
from aiokafka.consumer.fetcher import OffsetResetStrategy
from headstream.stream_processors import __main__, app

made = app.make_app

def make_app(*args, **options):
    worker = made(*args, **options)

    @worker.on_rebalance_complete.connect(weak=False)
    async def waste(sender, **_):
        thread, fetched = sender.consumer._thread, set()
        while len(fetched) < 2:
            found = await thread.call_thread(thread._ensure_consumer().getmany, timeout_ms=1000)
            fetched.update(place.topic for place, messages in found.items() if messages)
        print("fetched and thrown away:", len(fetched), flush=True)
        assignment = thread._ensure_consumer()._subscription.subscription.assignment
        for place in sender.consumer.assignment():
            assignment.state_value(place).await_reset(OffsetResetStrategy.EARLIEST)
            sender.consumer.verify_event_path(time.monotonic() + 1e6, place)

    return worker

app.make_app = make_app
__main__.main()
"""


def test_what_is_fetched_while_a_rebalance_ends_is_read_again_though_nothing_is_committed(stream) -> None:
    stream.document(document(DEFINITION))
    stream.bag(bag("first", 1))
    stream.flush()
    stream.command = [sys.executable, "-c", WASTEFUL]
    stream.worker()
    found = stream.identified(lambda items: {item.execution for item in items} >= {"", "first"})
    assert union(found) >= set(describe(document(DEFINITION), NOWHERE).facts)
    assert "fetched and thrown away: 2" in stream.log()


def test_a_run_stays_in_the_partition_that_its_key_says_whoever_writes(new_stream) -> None:
    stream = new_stream(partitions=5)
    for number in range(20):
        stream.bag(bag(f"r{number}", 1, definition=None))
    stream.flush()
    stream.worker()
    names = stream.settings.topics
    events, out = (
        {m.key(): m.partition() for m in stream.read_until(topic, lambda found: len(found) >= 20, 60)}
        for topic in (names.events, names.identified)
    )
    assert events == out
    assert len(set(events.values())) > 1


def test_poison_is_kept_with_its_reason_and_the_stream_goes_on(stream) -> None:
    whole = encode_bag(bag("poison", 1))
    poison = [b"", None, b"garbage", whole[:-3], whole + b"x", whole[:2] + b"\0" * 8 + whole[10:]]
    poison += [b"\xc3\x02" + whole[2:], encode_document(document(DEFINITION)), whole[:10] + b"\x08" * 40]
    stream.document(document(DEFINITION))
    for value in poison:
        stream.send(stream.settings.topics.events, b"k", value)
    stream.send(stream.settings.topics.definitions, b"bad", b"not a document")
    stream.document(Document(kind="definition", name="x", body='{"nonsense": 1}'))
    stream.document(document(Person(id="p1", name="P")))
    stream.bag(bag("after", 1))
    stream.flush()
    stream.worker()
    found = stream.letters(len(poison) + 2)
    letters = [from_headers(m.headers(), key=m.key(), value=m.value()) for m in found]
    of_events = [item for item in letters if item.origin.topic == stream.settings.topics.events]
    assert [item.value for item in sorted(of_events, key=lambda item: item.origin.offset)] == [
        value or b"" for value in poison
    ]
    assert {(item.key, item.stage, item.attempt) for item in of_events} == {(b"k", "tracker", 1)}
    assert {item.reason for item in of_events} == {"undecodable", "unknown-schema"}
    assert all(item.error and item.message and item.at > 0 for item in letters)
    assert {item.reason for item in letters} == {"undecodable", "unknown-schema", "invalid-document"}
    out = stream.identified(lambda items: any(item.execution == "after" for item in items))
    assert ("after", len(track(bag("after", 1), DEFINITION, NOWHERE).identified.counts)) in runs(out)
    stream.identified(
        lambda items: describe(document(Person(id="p1", name="P")), NOWHERE).facts[0] in union(items)
    )


def test_a_refused_event_is_kept_alone_and_the_others_of_its_bag_pass(stream) -> None:
    refused = replace(step(2), outcome="nonsense")
    sent = replace(bag("r", 1, 3), events=(step(1), refused, step(3)))
    stream.document(document(DEFINITION))
    stream.bag(sent)
    stream.flush()
    stream.worker()
    (found,) = stream.letters(1)
    assert decode_bag(found.value()) == replace(sent, events=(refused,))
    assert found.key() == b"fit/r"
    assert from_headers(found.headers(), key=None, value=None).reason == "invalid-event"
    out = stream.identified(lambda items: any(item.execution == "r" for item in items))
    good = track(bag("r", 1, 3), DEFINITION, NOWHERE).identified
    assert set(good.facts) <= union(out)


def test_a_bag_that_comes_before_its_definition_ends_as_if_it_had_come_after(new_stream) -> None:
    late = new_stream(HEADSTREAM_DEFINITION_WAIT="0.2")
    sent = bag("r1", 1, 2)
    late.worker()
    late.bag(sent)
    late.flush()
    (parked,) = late.letters(1)
    assert definition_of(parked.headers()) == DEFINITION.content_hash
    assert parked.value() == encode_bag(sent)
    base = track(sent, None, NOWHERE).identified
    late.identified(lambda items: set(base.facts) <= union(items))
    late.document(document(DEFINITION))
    late.flush()
    wanted = set(track(sent, DEFINITION, NOWHERE).identified.facts)
    wanted |= set(describe(document(DEFINITION), NOWHERE).facts)
    found = late.identified(lambda items: wanted <= union(items))
    assert union(found) == wanted | set(base.facts)
    written = []
    replay_topics(late.settings, write=written.extend)
    assert union(written) == wanted  # a replay reads the definitions first


def test_a_run_keeps_its_version_while_another_of_the_same_name_is_published(stream) -> None:
    other = parse_definition({"dataflow_name": "fit", "data_transformations": {"train": {"cycle": True}}})
    stream.document(document(DEFINITION))
    stream.bag(bag("old", 1))
    stream.flush()
    stream.worker()
    stream.identified(lambda items: any(item.execution == "old" for item in items))
    stream.document(document(other))
    stream.bag(bag("new", 1, definition=other.content_hash))
    stream.bag(bag("old", 2))
    stream.flush()
    wanted = ["new", "old", "old"]
    found = stream.identified(lambda items: sorted(i.execution for i in items if i.execution) == wanted)
    for execution, numbers, definition in (("old", (1, 2), DEFINITION), ("new", (1,), other)):
        facts = {fact for item in found if item.execution == execution for fact in item.facts}
        given = definition.content_hash
        tracked = [track(bag(execution, n, definition=given), definition, NOWHERE) for n in numbers]
        assert facts == {fact for item in tracked for fact in item.identified.facts}


def test_parked_bags_are_sent_again_although_the_worker_dies_in_between(new_stream) -> None:
    stream = new_stream(HEADSTREAM_DEFINITION_WAIT="0", HEADSTREAM_SESSION_SECONDS="6")
    bags = [bag(f"r{number}", number) for number in range(40)]
    process = stream.worker()
    for sent in bags:
        stream.bag(sent)
    stream.flush()
    stream.letters(len(bags))
    process.send_signal(signal.SIGKILL)
    process.wait()
    stream.document(document(DEFINITION))
    stream.flush()
    for sent_again in (1, 2):
        process = stream.worker()
        stream.read_until(  # it has begun to send them again, and may not have finished
            stream.settings.topics.events, lambda found, n=sent_again: len(found) > n * len(bags), 60
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
    stream.worker()
    wanted = {fact for sent in bags for fact in track(sent, DEFINITION, NOWHERE).identified.facts}
    stream.identified(lambda items: wanted <= union(items))


@pytest.mark.timeout(280)
def test_no_bag_is_lost_when_workers_are_killed(new_stream) -> None:
    """20,000 events in 400 bags on two partitions, workers killed amid their work five times."""
    seed = int(os.environ.get("HEADSTREAM_TEST_SEED", time.time_ns() % 10_000))
    print(f"HEADSTREAM_TEST_SEED={seed}")
    chance = random.Random(seed)
    stream = new_stream(partitions=2, HEADSTREAM_TRACKER_TAKE="20", HEADSTREAM_SESSION_SECONDS="6")
    stream.document(document(DEFINITION))
    stream.flush()
    workers = [stream.worker(), stream.worker()]
    for turn in range(5):
        for number in range(80 * turn, 80 * turn + 80):
            stream.bag(bag(f"r{number}", *range(50)))
        stream.flush()
        enough = 80 * turn + chance.randrange(1, 60)  # somewhere amid this turn's bags
        stream.identified(lambda items, n=enough: len({i.execution for i in items if i.execution}) >= n)
        for victim in chance.sample((0, 1), chance.randint(1, 2)):
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = stream.worker()
    begun = time.monotonic()
    wanted = {f"r{number}" for number in range(400)}
    found = stream.identified(lambda items: wanted <= {item.execution for item in items}, seconds=120)
    print(f"all found {time.monotonic() - begun:.1f} s after the last bag; {len(found) - 401} repeats")
    facts = union(found)
    for number in range(0, 400, 7):
        assert facts.issuperset(track(bag(f"r{number}", *range(50)), DEFINITION, NOWHERE).identified.facts)
    written = []
    replay_topics(stream.settings, write=written.extend)
    assert union(written) == facts


def test_a_worker_told_to_stop_is_gone_in_ten_seconds_and_loses_nothing(stream) -> None:
    stream.document(document(DEFINITION))
    for number in range(300):
        stream.bag(bag(f"r{number}", *range(50)))
    stream.flush()
    process = stream.worker()
    stream.identified(lambda items: len(items) > 20)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    print(f"stopped in {time.monotonic() - begun:.1f} s")
    stream.worker()
    wanted = {f"r{number}" for number in range(300)}
    stream.identified(lambda items: wanted <= {item.execution for item in items})


def test_a_dead_letter_topic_that_cannot_be_written_stops_the_reading_and_loses_nothing(stream) -> None:
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    names = stream.settings.topics
    stream.document(document(DEFINITION))
    stream.bag(replace(bag("before", 1)))
    stream.flush()
    (port,) = free_ports(1)
    stream.environ |= {"HEADSTREAM_CREATE_TOPICS": "false", "HEADSTREAM_TRACKER_METRICS_PORT": str(port)}
    stream.worker()
    stream.identified(lambda items: any(item.execution == "before" for item in items))
    asked = partial(httpx.get, trust_env=False)
    assert asked(f"http://127.0.0.1:{port}/readyz").status_code == 200
    admin.delete_topics([names.dead_letters])[names.dead_letters].result(10)
    stream.send(names.events, b"fit/r", b"poison")
    stream.flush()
    stream.await_(lambda: asked(f"http://127.0.0.1:{port}/readyz").status_code == 503, 90)
    assert names.dead_letters in asked(f"http://127.0.0.1:{port}/readyz").text
    assert asked(f"http://127.0.0.1:{port}/livez").status_code == 200
    gauge = f'headstream_tracker_blocked{{topic="{names.dead_letters}"}}'
    assert f"{gauge} 1.0" in asked(f"http://127.0.0.1:{port}/metrics").text
    assert "could not be written" in stream.log() and "poison" not in stream.log()
    topics.create(stream.settings)
    (letter,) = stream.letters(1, seconds=90)
    assert letter.value() == b"poison"
    stream.bag(bag("after", 1))
    stream.flush()
    stream.identified(lambda items: any(item.execution == "after" for item in items))
    stream.await_(lambda: asked(f"http://127.0.0.1:{port}/readyz").status_code == 200)
    assert f"{gauge} 0.0" in asked(f"http://127.0.0.1:{port}/metrics").text


def test_a_run_has_its_facts_once_it_has_ended(stream) -> None:
    sent = Bag(
        workflow="fit",
        execution="r",
        events=(
            RunStarted(started=1_000_000),
            RunEnded(started=1_000_000, ended=2_000_000, outcome=FINISHED),
        ),
    )
    stream.worker()
    stream.bag(sent)
    stream.flush()
    found = stream.identified(lambda items: len(items) >= 1)
    assert union(found) == set(track(sent, None, NOWHERE).identified.facts)
