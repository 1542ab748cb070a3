"""Where there is no room a policy decides, and the ledger is exact: captured = kept + delivered + counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from headstream import capture
from headstream.capture import Settings
from headstream.capture.logs import MemoryLog
from headstream.capture.reading import Reader, read, spools
from headstream.capture.shipper import Shipper, ship
from headstream.capture.transports import MemoryTransport
from headstream.schemas.documents import Document
from headstream.schemas.events import (
    Bag,
    Event,
    IterationBlock,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    event_count,
)

PLAN = {"dataflow_name": "w", "data_transformations": {"t": {}}}
POLICIES = ["block", "drop_oldest", "drop_newest"]
SMALL = 250_000
Contents = Callable[[], list[Document | Bag]]


def tight(spool: Path | None, policy: str, **more: Any) -> Settings:
    given = {"spool_bytes": SMALL, "segment_bytes": 64 << 10, "memory_bytes": 256 << 10, "block_seconds": 0.2}
    return Settings(
        spool=spool, git=False, packages=False, free_bytes=0, spool_full=policy, **{**given, **more}
    )


def steps(run: Any, number: int) -> int:
    """Capture so many steps; the number of their events."""
    for n in range(number):
        run.task("t", used={"n": n}).begin().end()
    return 2 * number


def events_of(contents: Iterable[Document | Bag]) -> list[Event]:
    return [event for content in contents if isinstance(content, Bag) for event in content.events]


def rows_of(events: Iterable[Event]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        if isinstance(event, IterationBlock):
            found.update(f"{event.transformation} {event.prefix}{o}" for o in event.ordinals)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_every_event_that_a_small_spool_has_no_room_for_is_counted(
    policy: str, spool: Path, contents: Contents
) -> None:
    started = time.monotonic()
    with capture.workflow("w", definition=PLAN, settings=tight(spool, policy)) as run:
        captured = 1 + steps(run, 4000)
    took = time.monotonic() - started
    captured += 1
    assert sum(f.stat().st_size for f in spool.rglob("*.seg")) <= SMALL
    found = events_of(contents())
    lost = capture.losses()
    assert lost.keys() == {"spool-full"} and len(found) + lost["spool-full"] == captured
    assert any(isinstance(content, Document) for content in contents())
    assert any(isinstance(event, RunStarted) for event in found)
    ended = any(isinstance(event, RunEnded) for event in found)
    # Of the others it depends on the last bytes whether the short end of the run still fits.
    assert ended or policy != "drop_oldest"
    last = any(isinstance(event, StepStarted) and event.step.task == "3999" for event in found)
    assert last == (policy == "drop_oldest")
    assert capture.warnings() == ({"spool-blocked": 1} if policy == "block" else {})
    assert took < 10, "a spool without room makes no call wait again"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_event_that_memory_has_no_room_for_is_counted(policy: str) -> None:
    run = capture.workflow("w", definition=PLAN, settings=tight(None, policy)).begin()
    captured = 1 + steps(run, 4000)
    writer = run.recorder.writer
    run.end()
    captured += 1
    items = [item.content for item in Reader(MemoryLog(writer)).poll()]
    lost = capture.losses()
    assert lost.keys() == {"spool-full"} and len(events_of(items)) + lost["spool-full"] == captured
    assert any(isinstance(content, Document) for content in items)
    writer.forget(lambda _: True)


def test_turns_that_are_dropped_are_counted_and_open_ones_are_never_dropped(
    spool: Path, contents: Contents
) -> None:
    with capture.workflow("w", definition=PLAN, settings=tight(spool, "drop_oldest")) as run:
        for slow in run.loop("slow", range(20)):
            for turn in run.loop("row", range(1000)):
                turn.generated(loss=0.5, more=turn.index)
            slow.generated(loss=1.0)
    found = rows_of(events_of(contents()))
    assert set(found.values()) == {1}
    assert sum(row.startswith("slow ") for row in found) == 20, "their block was being written all the time"
    lost = capture.losses()
    assert lost.keys() == {"spool-full"} and 2 * (len(found) - 20) + lost["spool-full"] == 40_000


def test_turns_that_find_no_room_are_general_steps_and_each_event_is_written_or_counted(
    spool: Path, contents: Contents
) -> None:
    with capture.workflow("w", settings=tight(spool, "drop_newest")) as run:
        for turn in run.loop("row", range(20_000)):
            turn.generated(loss=0.5)
    found = events_of(contents())
    rows = rows_of(found)
    general = sum(not isinstance(event, (IterationBlock, RunStarted, RunEnded)) for event in found)
    assert 0 < len(rows) < 20_000 and set(rows.values()) == {1}
    ended = sum(isinstance(event, RunEnded) for event in found)
    lost = capture.losses()["spool-full"] - (1 - ended)
    assert general + lost == 3 * (20_000 - len(rows))


def test_a_small_spool_loses_nothing_while_it_is_shipped_if_it_may_block(spool: Path) -> None:
    settings = tight(spool, "block", block_seconds=30.0)
    transport = MemoryTransport()
    stop = threading.Event()
    shipping = threading.Thread(
        target=ship, args=(spool, transport), kwargs={"watch": True, "stop": stop, "poll": 0.005}
    )
    shipping.start()
    with capture.workflow("w", settings=settings) as run:
        captured = 2 + steps(run, 20_000)
    stop.set()
    shipping.join()
    ship(spool, transport)
    assert capture.losses() == {} and len(events_of(transport.bags)) == captured


def ledger(spool: Path, policy: str, moments: Callable[[int, MemoryTransport, Shipper], None]) -> None:
    """Capture while a shipper comes, goes, and loses its broker; then ship the rest and compare."""
    transport = MemoryTransport()
    shipper = Shipper(transport, bag_size=7)
    run = capture.workflow("w", definition=PLAN, settings=tight(spool, policy, block_seconds=0.0)).begin()
    captured = 1
    for moment in range(30):
        captured += steps(run, 200)
        for _ in run.loop("row", range(400)):
            captured += 2  # As a row and as a general step.
        moments(moment, transport, shipper)
    run.end()
    captured += 1
    transport.up = True
    shipper.round([], lambda: False)  # What is on its way arrives, else it would be sent once more.
    shipper.close()
    ship(spool, transport)
    delivered = events_of(transport.bags)
    general = Counter(
        (type(e).__name__, e.step.transformation, e.step.task)
        for e in delivered
        if isinstance(e, (StepStarted, StepEnded))
    )
    assert set(general.values()) <= {1} and set(rows_of(delivered).values()) <= {1}, "each once"
    assert sum(map(event_count, delivered)) + capture.losses().get("spool-full", 0) == captured
    assert spools(spool) == []


@pytest.mark.parametrize("policy", POLICIES)
@trying(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.sampled_from(["ship", "nothing", "down", "up"]), min_size=30, max_size=30))
def test_the_ledger_is_exact_whenever_a_shipper_comes_and_a_broker_goes(
    policy: str, plan: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    capture.errors.LOSSES.clear()

    def moments(moment: int, transport: MemoryTransport, shipper: Shipper) -> None:
        if plan[moment] in ("down", "up"):
            transport.up = plan[moment] == "up"
        elif plan[moment] == "ship":
            for directory in [spools(spool)] * 3:
                shipper.round(directory, lambda: True)

    spool = tmp_path_factory.mktemp("ledger") / "spool"
    ledger(spool, policy, moments)


def test_a_shipper_that_starts_anew_goes_on_behind_what_was_dropped(spool: Path) -> None:
    run = capture.workflow("w", definition=PLAN, settings=tight(spool, "drop_oldest")).begin()
    captured = 1 + steps(run, 500)
    (directory,) = spools(spool)
    first = MemoryTransport()
    for _ in range(2):  # Into the spool, and then it dies: its checkpoint stays.
        shipper = Shipper(first, bag_size=20)
        shipper._send(shipper._take(directory), lambda: True, 30_000)  # type: ignore[arg-type]
        shipper._settle(lambda: False)
        shipper.close()
    captured += steps(run, 6000)
    run.end()
    captured += 1
    ship(spool, first)
    assert len(events_of(first.bags)) + capture.losses()["spool-full"] == captured
    assert spools(spool) == []


SCRIPT = """
import json, os, sys
from headstream import capture
with capture.workflow("w") as run:
    for n in range(15_000):
        run.task("t", used={"n": n}).begin().end()
    for turn in run.loop("row", range(5000)):
        pass
print(json.dumps(capture.warnings()))
"""
CAPTURED = 2 + 2 * 15_000 + 2 * 5000


def balanced(
    spool: Path, policy: str, prefix: str = "", **more: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Run the script: what it captured is in the spool, or counted in the one line at its end."""
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_SPOOL_FULL": policy,
        "HEADSTREAM_BLOCK_SECONDS": "0.2",
        "HEADSTREAM_SEGMENT_BYTES": str(64 << 10),
        "HEADSTREAM_MEMORY_BYTES": str(256 << 10),
        "HEADSTREAM_SPOOL_FREE_BYTES": "0",
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prefix) + SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("headstream: provenance was lost")
    lost = {name: int(number) for number, name in re.findall(r"(\d+) ([a-z-]+)", done.stderr)}
    assert lost.keys() <= {"spool-full", "memory-not-shipped"}
    kept = [event for directory in spools(spool) for event in events_of(read(directory))]
    assert sum(map(event_count, kept)) + sum(lost.values()) == CAPTURED
    return lost, json.loads(done.stdout)


def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        assert os.environ.get("CI", "").lower() != "true" or os.getuid() != 0, made.stderr
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    yield from mounted(tmp_path / "disk", "size=1m")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", "size=1m", "ro")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_disk_that_is_full_costs_what_is_counted(policy: str, small_disk: Path) -> None:
    lost, warned = balanced(small_disk / "spool", policy)
    assert warned["spool-in-memory"] > 0 and lost["spool-full"] > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_disk_that_is_read_only_costs_what_is_counted(policy: str, read_only_disk: Path) -> None:
    lost, warned = balanced(read_only_disk / "spool", policy)
    assert warned["spool-in-memory"] > 0 and lost["memory-not-shipped"] > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_limit_of_file_sizes_costs_what_is_counted(policy: str, spool: Path) -> None:
    prefix = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    balanced(spool, policy, prefix)


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_disk_all_that_is_lost_is_counted(policy: str, tmp_path: Path) -> None:
    lost, _ = balanced(tmp_path / "none", policy, HEADSTREAM_SPOOL="off")
    assert sum(lost.values()) == CAPTURED


def test_a_disk_is_never_filled_to_its_end(small_disk: Path) -> None:
    balanced(small_disk / "spool", "drop_newest", HEADSTREAM_SPOOL_FREE_BYTES=str(1 << 30))
    found = os.statvfs(small_disk)
    assert found.f_bavail * 10 >= found.f_blocks
