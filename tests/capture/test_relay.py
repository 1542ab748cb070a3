"""A relay ships what other hosts wrote: nothing is taken away while somebody may still write there."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings
from headstream.capture.owner import OWNER, writer_lives
from headstream.capture.reading import spools
from headstream.capture.shipper import ship
from headstream.capture.transports import MemoryTransport
from headstream.schemas.events import Bag, Event, IterationBlock, StepEnded, StepStarted

BODY = """
import os, signal
from headstream import capture
with capture.workflow("w", execution="dead") as run:
    for turn in run.loop("t", range(100)):
        turn.generated(loss=0.5)
        if turn.index == 57:
            os.kill(os.getpid(), signal.SIGKILL)
"""
DAY = 86_400.0


def crashed(spool: Path, host: str) -> Path:
    """The spool of a script that was killed on some host, in its 58th turn."""
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
    }
    dead = subprocess.run([sys.executable, "-c", BODY], env=env, check=False, timeout=60)
    assert dead.returncode == -signal.SIGKILL
    (directory,) = spools(spool)
    (directory / OWNER).write_text(f"{host}\n1\n")
    return directory


def events(bags: list[Bag]) -> list[Event]:
    return [event for bag in bags for event in bag.events]


def told(bags: list[Bag]) -> Counter[tuple[str, str]]:
    """What is said of each step, each time."""
    found: Counter[tuple[str, str]] = Counter()
    for event in events(bags):
        if isinstance(event, IterationBlock):
            found.update(("row", f"{event.prefix}{ordinal}") for ordinal in event.ordinals)
        elif isinstance(event, (StepStarted, StepEnded)):
            found[type(event).__name__, event.step.task] += 1
    return found


def test_of_another_host_all_is_shipped_but_what_may_still_end(spool: Path) -> None:
    directory = crashed(spool, "another-node")
    transport = MemoryTransport()
    for _ in range(2):
        ship(spool, transport)
        assert told(transport.bags) == Counter({("row", str(n)): 1 for n in range(57)})
        assert directory.exists() and writer_lives(directory)
    # A day of silence is the end of a writer that said nothing of leaving.
    for path in directory.iterdir():
        os.utime(path, (0, 0))
    ship(spool, transport)
    assert told(transport.bags)["StepStarted", "57"] == 1 and sum(told(transport.bags).values()) == 58
    assert spools(spool) == []


def test_a_day_may_be_any_time(spool: Path) -> None:
    crashed(spool, "another-node")
    transport = MemoryTransport()
    ship(spool, transport, silent_seconds=0.0)
    assert sum(told(transport.bags).values()) == 58 and spools(spool) == []


def test_of_this_host_a_crash_is_shipped_to_its_end_at_once(spool: Path) -> None:
    crashed(spool, os.uname().nodename)
    transport = MemoryTransport()
    ship(spool, transport)
    assert sum(told(transport.bags).values()) == 58 and spools(spool) == []


def test_a_writer_of_another_host_that_has_left_leaves_a_spool_that_can_go(spool: Path) -> None:
    settings = Settings(spool=spool, git=False, packages=False)
    with capture.workflow("w", settings=settings) as run:
        run.task("t").begin().end()
    (directory,) = spools(spool)
    owner = directory / OWNER
    owner.write_text(owner.read_text().replace(os.uname().nodename, "another-node"))
    transport = MemoryTransport()
    ship(spool, transport)
    assert len(events(transport.bags)) == 4 and spools(spool) == []


def test_a_writer_whose_lock_is_not_seen_elsewhere_goes_on_undisturbed(spool: Path) -> None:
    settings = Settings(spool=spool, git=False, packages=False, segment_bytes=16 << 10)
    run = capture.workflow("w", settings=settings).begin()
    (directory,) = spools(spool)
    owner = directory / OWNER
    # As another host sees it through a file system that keeps locks to one host.
    text = owner.read_text().replace(os.uname().nodename, "another-node")
    owner.unlink()
    owner.write_text(text)
    transport = MemoryTransport()
    for _ in range(5):
        for turn in run.loop("t", range(100)):
            turn.generated(loss=0.5)
            if turn.index == 50:
                ship(spool, transport)
                assert directory.exists()
        run.task("s").begin().end()
    run.end()
    owner.write_text(text + "left\n")
    ship(spool, transport)
    assert sum(told(transport.bags).values()) == 5 * 102 and set(told(transport.bags).values()) == {1}
    assert spools(spool) == [] and capture.losses() == {}


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parallel file system that is mounted without locks."""

    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refused)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_process_id_stands_in(spool: Path) -> None:
    settings = Settings(spool=spool, git=False, packages=False)
    run = capture.workflow("w", settings=settings).begin()
    (directory,) = spools(spool)
    transport = MemoryTransport()
    ship(spool, transport)
    assert writer_lives(directory) and directory.exists()
    run.task("t").begin().end()
    run.end()
    ship(spool, transport)
    assert len(events(transport.bags)) == 4 and spools(spool) == []
    assert capture.warnings() == {"spool-without-lock": 1} and capture.losses() == {}


def test_many_spools_are_shipped_with_few_open_files(
    spool: Path, monkeypatch: pytest.MonkeyPatch, internal_errors: list[BaseException]
) -> None:
    monkeypatch.setattr("headstream.capture.shipper._MOST_HELD", 5)
    settings = Settings(spool=spool, git=False, packages=False)
    runs = [capture.workflow("w", settings=settings, execution=f"e{n}").begin() for n in range(40)]
    transport = MemoryTransport()
    most = 0

    def watched(_: object) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        for run in runs:
            run.task("t").begin().end()
        ship(spool, transport, progress=watched)
    for run in runs:
        run.end()
    ship(spool, transport, progress=watched)
    assert len(events(transport.bags)) == 40 * (2 + 6) and spools(spool) == [] and not internal_errors
    assert most <= before + 2 * (5 + 1) + 2, "the lock and one segment of each that is held"
    assert Counter(type(e).__name__ for e in events(transport.bags))["RunEnded"] == 40


def test_a_spool_that_cannot_be_read_for_a_while_is_tried_again(
    spool: Path, monkeypatch: pytest.MonkeyPatch, internal_errors: list[BaseException]
) -> None:
    with capture.workflow("w", settings=Settings(spool=spool, git=False, packages=False)):
        pass
    monkeypatch.setattr("headstream.capture.shipper._AGAIN_SECONDS", 0.0)
    real: Callable[..., bytes] = os.pread
    broken = True

    def stale(handle: int, length: int, offset: int) -> bytes:
        nonlocal broken
        if broken and length > 4096:
            broken = False
            raise OSError(errno.ESTALE, "stale file handle")
        return real(handle, length, offset)

    monkeypatch.setattr(os, "pread", stale)
    transport = MemoryTransport()
    ship(spool, transport)
    ship(spool, transport)
    assert len(events(transport.bags)) == 2 and spools(spool) == []
    assert [type(error) for error in internal_errors] == [OSError]
    internal_errors.clear()
