"""Processes that outlive their starter: known again, waited for, stopped, never confused."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from headstream.services import processes
from headstream.services.errors import StartFailed
from headstream.services.processes import Child, Identity, alive, identify, kill, spawn, stop, wait_ready


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., tuple[Child, Identity]]]:
    """Start a Python one-liner; whatever the test leaves is killed."""
    left: list[Identity] = []

    def start(code: str, ready: Callable[[], bool] = lambda: True) -> tuple[Child, Identity]:
        child = Child(
            name="thing",
            argv=[sys.executable, "-c", code],
            ready=ready,
            log=tmp_path / "thing.log",
            start_seconds=20.0,
        )
        left.append(spawn(child))
        return child, left[-1]

    yield start
    for identity in left:
        kill(identity)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s"
        time.sleep(0.01)


def test_a_process_lives_in_a_session_of_its_own(started: Callable[..., tuple[Child, Identity]]) -> None:
    _, identity = started("import time; time.sleep(60)")
    assert alive(identity)
    assert os.getsid(identity.pid) == identity.pid


def test_a_recycled_pid_is_not_ours() -> None:
    me = identify(os.getpid())
    before = Identity(me.pid, me.started - 3600)
    assert alive(me)
    assert not alive(before)
    assert stop(before, 0.1)  # And we are still here.
    kill(before)


def test_a_process_that_dies_is_reported_at_once_with_its_last_words(
    started: Callable[..., tuple[Child, Identity]],
) -> None:
    child, identity = started("print('no disk left', flush=True); raise SystemExit(3)", ready=lambda: False)
    begun = time.monotonic()
    with pytest.raises(StartFailed, match=r"thing died before it was ready.*\n?.*no disk left"):
        wait_ready(child, identity)
    assert time.monotonic() - begun < child.start_seconds / 2


def test_a_process_that_is_never_ready_is_given_up_on(
    started: Callable[..., tuple[Child, Identity]], tmp_path: Path
) -> None:
    child, identity = started("import time; print('warming', flush=True); time.sleep(60)")
    slow = Child(
        name="thing", argv=child.argv, ready=lambda: False, log=tmp_path / "thing.log", start_seconds=0.2
    )
    with pytest.raises(StartFailed, match=r"thing was not ready within 0 s"):
        wait_ready(slow, identity)


def test_a_process_that_stops_when_asked_stops_cleanly(
    started: Callable[..., tuple[Child, Identity]],
) -> None:
    _, identity = started("import time; time.sleep(60)")
    assert stop(identity, 10.0)
    assert not psutil.pid_exists(identity.pid)
    assert stop(identity, 10.0)


def test_a_process_that_will_not_stop_is_killed_after_the_grace(
    started: Callable[..., tuple[Child, Identity]], tmp_path: Path
) -> None:
    child, identity = started(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
        "time.sleep(60)"
    )
    until(lambda: "up" in processes.tail(child.log))
    assert not stop(identity, 0.2)
    assert not psutil.pid_exists(identity.pid)


def test_children_of_a_process_go_with_it(started: Callable[..., tuple[Child, Identity]]) -> None:
    child, identity = started(
        "import subprocess, sys, time;"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True);"
        "time.sleep(60)"
    )
    until(lambda: processes.tail(child.log).isdecimal())
    grandchild = identify(int(processes.tail(child.log)))
    assert stop(identity, 10.0)
    assert not alive(grandchild)


def test_a_dead_child_that_nobody_waited_for_is_dead(
    started: Callable[..., tuple[Child, Identity]],
) -> None:
    _, identity = started("import time; time.sleep(60)")
    os.kill(identity.pid, signal.SIGKILL)
    until(lambda: not alive(identity))


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    child = Child(name="thing", argv=[str(tmp_path / "none")], ready=lambda: True, log=tmp_path / "log")
    with pytest.raises(StartFailed, match=r"thing could not be started: .*none: No such file"):
        spawn(child)


def test_a_grown_log_is_set_aside(
    started: Callable[..., tuple[Child, Identity]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    (tmp_path / "thing.log").write_text("long ago " * 10)
    started("pass")
    assert (tmp_path / "thing.log.1").read_text().startswith("long ago")


def test_the_tail_of_no_log_says_so(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none.log") == "(no log: No such file or directory)"
