"""What lies in spools reaches the transport: in order, at least once, and nothing is deleted before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings
from headstream.capture.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from headstream.capture.logs import DirectoryLog
from headstream.capture.reading import Reader, read, spools
from headstream.capture.shipper import Shipper, ship
from headstream.capture.transports import MemoryTransport
from headstream.capture.transports.kafka import KafkaTransport
from headstream.schemas.events import Bag, Event, event_count

PLAN = {"dataflow_name": "w", "data_transformations": {"t": {}}}


def _some(settings: Settings, turns: int = 200) -> None:
    with capture.workflow("w", settings=settings, definition=PLAN) as run:
        for turn in run.loop("b", range(turns)):
            turn.generated(loss=0.5)
        for n in range(turns):
            run.task("t", used={"n": n}).begin().end()


def _count(bags: list[Bag]) -> int:
    return sum(event_count(e) for bag in bags for e in bag.events)


def test_everything_is_shipped_once_and_the_spool_is_gone(settings: Settings, spool: Path) -> None:
    _some(settings)
    transport = MemoryTransport()
    shipped = ship(spool, transport)
    assert (shipped.spools, shipped.documents, shipped.waiting) == (1, 1, 0)
    assert shipped.events == _count(transport.bags) == 2 + 400 + 400
    assert [b.sequence for b in transport.bags] == list(range(len(transport.bags)))
    assert {b.definition for b in transport.bags} == {transport.documents[0].content_hash}
    assert spools(spool) == [] and not [p for p in spool.iterdir() if p.name != "torn"]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_bags_hold_no_more_than_they_may_and_are_the_same_each_time(
    size: int, settings: Settings, spool: Path
) -> None:
    _some(settings)
    (directory,) = spools(spool)
    first, again = (list(read(directory, bag_size=size)) for _ in range(2))
    assert first == again
    for bag in first:
        if isinstance(bag, Bag):
            assert len(bag.events) <= size
            assert all(event_count(e) <= 2 * 10 * size for e in bag.events)


def test_reading_from_any_checkpoint_goes_on_where_it_was(settings: Settings, spool: Path) -> None:
    _some(settings, turns=30)
    (directory,) = spools(spool)
    items = list(Reader(DirectoryLog(directory), bag_size=3).poll())
    for number, item in enumerate(items):
        start = Checkpoint.load(item.checkpoint.dump())
        assert start == item.checkpoint
        rest = list(read(directory, start, bag_size=3))
        assert rest == [i.content for i in items[number + 1 :]]


def test_polls_of_any_size_while_the_writer_lives_tell_everything_once(
    settings: Settings, spool: Path, facts: Callable[[list[Event]], Any]
) -> None:
    found: list[Event] = []
    with capture.workflow("w", settings=settings, execution="e") as run:
        run.task("first").begin().end()
        (directory,) = spools(spool)
        reader = Reader(DirectoryLog(directory), bag_size=4)

        def poll(limit: int) -> None:
            for item in reader.poll(limit):
                if isinstance(item.content, Bag):
                    found.extend(item.content.events)

        for outer in run.loop("outer", range(20), index_as="o"):
            for turn in outer.loop("b", range(30)):
                turn.generated(loss=0.5)
                if turn.index % 7 == 0:
                    poll(turn.index % 3 + 1)
                if turn.index == 11:
                    turn.generated(acc=1)
                if turn.index == 13:
                    turn.used(x=1)
    poll(1 << 30)
    poll(1 << 30)
    assert reader.checkpoint.done
    whole = [e for c in read(directory) if isinstance(c, Bag) for e in c.events]
    assert sum(map(event_count, found)) == sum(map(event_count, whole))
    assert repr(sorted(facts(found).items(), key=repr)) == repr(sorted(facts(whole).items(), key=repr))


def test_nothing_is_deleted_while_the_broker_is_away(settings: Settings, spool: Path) -> None:
    _some(settings)
    transport = MemoryTransport(up=False)
    assert ship(spool, transport, timeout=0.2).waiting > 0
    (directory,) = spools(spool)
    assert load_checkpoint(directory) == Checkpoint()
    assert not transport.bags
    whole = MemoryTransport()
    ship(spool, whole)
    assert _count(whole.bags) == 802


def test_a_bag_waits_for_its_definition(settings: Settings, spool: Path) -> None:
    _some(settings)

    class Slow(MemoryTransport):
        def send(self, bag: Bag) -> None:
            assert self.documents, "the definition is not acknowledged yet"
            super().send(bag)

    transport = Slow()
    ship(spool, transport)
    assert transport.bags


def test_a_shipper_that_died_only_repeats(settings: Settings, spool: Path) -> None:
    _some(settings)
    first = MemoryTransport()
    shipper = Shipper(first, bag_size=10, keep=True)
    (directory,) = spools(spool)
    shipper.round([directory], lambda: False)
    shipper.close()
    (directory / "checkpoint.json").write_text("[")
    second = MemoryTransport()
    ship(spool, second, bag_size=10)
    assert second.bags == first.bags


def test_a_drain_that_has_no_time_says_whether_anything_is_left(
    settings: Settings, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _some(settings)
    away = KafkaTransport.from_settings(replace(settings, bootstrap="127.0.0.1:9"))
    shipper = Shipper(away)
    assert shipper.drain(lambda: spools(spool), deadline=0.0) != 0
    shipper.close()
    away.close()
    with monkeypatch.context() as few:
        few.setattr("headstream.capture.shipper._BYTES", 1)
        shipper = Shipper(MemoryTransport(), bag_size=10)
        assert shipper.drain(lambda: spools(spool), deadline=0.0) == -1  # All acknowledged, but not all read.
    assert shipper.drain(lambda: spools(spool), deadline=0.0) == 0 and not spools(spool)
    shipper.close()


def test_one_shipper_serves_a_spool_at_a_time(settings: Settings, spool: Path) -> None:
    run = capture.workflow("w", settings=settings).begin()
    first = Shipper(MemoryTransport())
    first.round(spools(spool), lambda: False)
    second = MemoryTransport()
    ship(spool, second)
    assert not second.bags
    first.close()
    run.task("t").begin()
    ship(spool, second)
    assert second.bags
    run.end()


def test_live_spools_are_shipped_within_a_tenth_of_a_second(settings: Settings, spool: Path) -> None:
    arrived: dict[int, float] = {}
    seen = threading.Event()

    class Clocked(MemoryTransport):
        def send(self, bag: Bag) -> None:
            for event in bag.events:
                arrived[id(event)] = time.perf_counter()
            super().send(bag)
            seen.set()

    stop = threading.Event()
    transport = Clocked()
    thread = threading.Thread(target=ship, args=(spool, transport), kwargs={"watch": True, "stop": stop})
    thread.start()
    delays = []
    with capture.workflow("w", settings=settings) as run:
        run.task("warm").begin().end()
        assert seen.wait(10)
        for _ in range(10):
            time.sleep(0.02)
            seen.clear()
            said = time.perf_counter()
            run.task("t").begin()
            assert seen.wait(10)
            delays.append(time.perf_counter() - said)
    stop.set()
    thread.join()
    assert sorted(delays)[len(delays) // 2] < 0.1


def test_segments_that_are_shipped_go_while_the_run_goes_on(spool: Path) -> None:
    small = Settings(spool=spool, git=False, packages=False, segment_bytes=64 << 10)
    transport = MemoryTransport()
    shipper = Shipper(transport)
    with capture.workflow("w", settings=small) as run:
        for round_ in range(5):
            for n in range(500):
                run.task("t", used={"n": n}).begin().end()
            (directory,) = spools(spool)
            while shipper.round([directory], lambda: False):
                pass
            assert len(list(directory.glob("*.seg"))) <= 2, round_
    while shipper.round([directory], lambda: False):
        pass
    assert _count(transport.bags) == 2 + 5000 and not directory.exists()
    shipper.close()


def test_checkpoints_replace_each_other_whole(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(segment=3, offset=8, sequence=2))
    save_checkpoint(tmp_path, Checkpoint(segment=4))
    assert load_checkpoint(tmp_path) == Checkpoint(segment=4)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_script_that_was_killed_is_shipped_by_the_next(spool: Path) -> None:
    body = """
import os, signal
from headstream import capture
with capture.workflow("w", execution="dead") as run:
    for turn in run.loop("t", range(100)):
        turn.generated(loss=0.5)
        if turn.index == 57:
            os.kill(os.getpid(), signal.SIGKILL)
"""
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
    }
    dead = subprocess.run([sys.executable, "-c", body], env=env, check=False, timeout=60)
    assert dead.returncode == -signal.SIGKILL
    transport = MemoryTransport()
    ship(spool, transport)
    assert _count(transport.bags) == 1 + 57 * 2 + 2 and spools(spool) == []
