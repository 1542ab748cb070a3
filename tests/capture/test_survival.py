"""What a call has said is there after kill -9, any exit, a fork, threads, and on a disk that is full."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings, errors
from headstream.capture.logs import DirectoryLog
from headstream.capture.owner import writer_lives
from headstream.capture.reading import Reader, read, spools
from headstream.schemas.events import Bag, Event, RunEnded, StepRef, StepStarted

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]

PREAMBLE = """
import os, sys
from headstream import capture
from headstream.capture import errors
def fail(error):
    import traceback
    traceback.print_exception(error)
    os._exit(77)
errors.on_internal_error = fail
"""


def script(
    spool: Path, body: str, *, wait: bool = True, **environ: str
) -> subprocess.Popen[str] | subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
        **environ,
    }
    arguments = [sys.executable, "-c", PREAMBLE + textwrap.dedent(body)]
    if wait:
        return subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=60, check=False)
    return subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True)


def done(spool: Path, body: str, **environ: str) -> subprocess.CompletedProcess[str]:
    found = script(spool, body, **environ)
    assert isinstance(found, subprocess.CompletedProcess)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_nothing_that_a_call_has_said_is_lost_to_kill_9(
    seed: int, spool: Path, told: Told, facts: Facts
) -> None:
    body = """
    with capture.workflow("w", execution="e") as run:
        with run.task("outer", used={"lr": 1}) as outer:
            n = 0
            while True:
                for turn in outer.loop("row", range(50), index_as="i"):
                    print("row", turn.index + n * 50, flush=True)
                    turn.generated(loss=float(turn.index), big=turn.index)
                    print("said", turn.index + n * 50, flush=True)
                with outer.task("step", used={"n": n}) as step:
                    step.generated(out=capture.file(f"/data/{n}"))
                    print("step", n, flush=True)
                n += 1
    """
    child = script(spool, body, wait=False)
    assert isinstance(child, subprocess.Popen) and child.stdout is not None
    wanted = random.Random(seed).randrange(1, 2500)
    ledger: dict[str, int] = {}
    for _, line in zip(range(wanted), child.stdout, strict=False):
        kind, number = line.split()
        ledger[kind] = int(number)
    child.send_signal(signal.SIGKILL)
    for line in child.stdout:  # What it had said by the time the signal came.
        if line.endswith("\n"):
            kind, number = line.split()
            ledger[kind] = int(number)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    (directory,) = spools(spool)
    assert not writer_lives(directory)
    found = facts(told())
    for number in range(ledger.get("row", -1) + 1):
        assert found[StepRef("row", f"0.{number}")]["in"] == {"i": repr(number % 50)}
    for number in range(ledger.get("said", -1) + 1):
        values = found[StepRef("row", f"0.{number}")]["out"]
        assert values == {"loss": repr(float(number % 50)), "big": repr(number % 50)}
    for number in range(ledger.get("step", -1) + 1):
        assert f"/data/{number}" in found[StepRef("step", f"0.{number}")]["out"]["out"]


def test_a_turn_that_was_open_when_the_process_died_is_told_as_started(
    spool: Path, told: Told, facts: Facts
) -> None:
    body = """
    run = capture.workflow("w").begin()
    for turn in run.loop("t", range(9), index_as="i"):
        turn.generated(loss=0.5)
        if turn.index == 3:
            os._exit(3)
    """
    assert done(spool, body).returncode == 3
    last = facts(told())[StepRef("t", "3")]
    assert last["ends"] == 0 and last["in"] == {"i": "3"} and last["out"] == {"loss": "0.5"}
    assert any(isinstance(e, StepStarted) and e.iteration == 3 for e in told())
    assert not any(isinstance(e, RunEnded) for e in told())


@pytest.mark.parametrize(
    ("ending", "code", "outcome"),
    [
        ("pass", 0, "FINISHED"),
        ("sys.exit(5)", 5, "ERRORED"),
        ("raise ValueError('x')", 1, "ERRORED"),
        ("os.kill(os.getpid(), 15)", -15, None),
        ("os._exit(4)", 4, None),
    ],
)
def test_every_way_to_end_keeps_what_was_said_and_the_exit_code(
    ending: str, code: int, outcome: str | None, spool: Path, told: Told, facts: Facts
) -> None:
    body = f"""
    with capture.workflow("w") as run:
        for turn in run.loop("t", range(3)):
            turn.generated(loss=1.0)
            if turn.index == 2:
                {ending}
    """
    assert done(spool, body).returncode == code
    found = facts(told())
    assert len(found) == 3 and all(f["out"] == {"loss": "1.0"} for f in found.values())
    assert [e.outcome for e in told() if isinstance(e, RunEnded)] == ([] if outcome is None else [outcome])


def test_a_torn_frame_is_set_aside_and_the_rest_is_read(settings: Settings, spool: Path) -> None:
    with capture.workflow("w", settings=settings) as run:
        for name in "abc":
            run.generated(**{name: f"said by {name}"})
    (directory,) = spools(spool)
    whole = [e for c in read(directory) if isinstance(c, Bag) for e in c.events]
    segment = directory / "000000.seg"
    data = bytearray(segment.read_bytes())
    place = data.index(b"said by b")
    data[place + 5] ^= 0x20
    segment.write_bytes(data)
    reader = Reader(DirectoryLog(directory))
    events = [e for i in reader.poll() if isinstance(i.content, Bag) for e in i.content.events]
    assert len(reader.torn) == 1 and len(events) == len(whole) - 1


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_spool_cut_anywhere_is_read_up_to_there(cut: int, settings: Settings, spool: Path) -> None:
    run = capture.workflow("w", settings=settings).begin()
    for name in "abc":
        run.task(name).begin().end()
    writer = run.recorder.writer
    end = writer._position
    writer.release()
    (directory,) = spools(spool)
    segment = directory / "000000.seg"
    data = bytearray(segment.read_bytes())
    data[end - cut : end] = bytes(cut)
    segment.write_bytes(data[: end - cut] + bytes(4096) if cut == 40 else data)
    reader = Reader(DirectoryLog(directory))
    events = [e for i in reader.poll() if isinstance(i.content, Bag) for e in i.content.events]
    assert len(events) in (6, 7) and reader.checkpoint.done
    run.recorder.open_writer = None


def test_children_of_a_fork_have_spools_and_ids_of_their_own(spool: Path, told: Told, facts: Facts) -> None:
    body = """
    with capture.workflow("w", execution="e") as run, run.task("outer") as outer:
        children = []
        for turn in outer.loop("t", range(4)):
            turn.generated(before=1)
            pid = os.fork()
            if pid == 0:
                turn.generated(inherited=turn.index)
                for inner in outer.loop("t", range(100)):
                    inner.generated(loss=1.0)
                with outer.task("child") as step:
                    step.generated(x=1)
                outer.end()
                run.end()
                os._exit(0)
            children.append(pid)
            turn.generated(after=1)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
    """
    result = done(spool, body)
    assert result.returncode == 0, result.stderr
    assert len(spools(spool)) == 5
    found = facts(told())
    turns = [s for s in found if s.transformation == "t"]
    assert len(turns) == 404
    assert all(found[StepRef("t", f"0.{n}")]["ends"] == 1 for n in range(4))
    for n in range(4):
        assert found[StepRef("t", f"0.{n}")]["out"] == {"before": "1", "inherited": str(n), "after": "1"}
    assert len([s for s in found if s.transformation == "child"]) == 4
    assert found[StepRef("outer", "0")]["ends"] == 1
    assert sum(isinstance(e, RunEnded) for e in told()) == 1


def test_threads_share_a_run_without_losing_or_mixing(settings: Settings, told: Told, facts: Facts) -> None:
    with capture.workflow("w", settings=settings) as run, run.task("outer") as outer:

        def work(number: int) -> None:
            for turn in outer.loop("t", range(1000)):
                turn.generated(thread=number)
                if turn.index % 100 == 0:
                    with turn.task("inner", used={"thread": number}):
                        pass

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = facts(told())
    turns = {s: f for s, f in found.items() if s.transformation == "t"}
    assert len(turns) == 16_000 and all(f["ends"] == 1 for f in turns.values())
    inner = {s: f for s, f in found.items() if s.transformation == "inner"}
    assert len(inner) == 160
    assert all(turns[f["parent"]]["out"]["thread"] == f["in"]["thread"] for f in inner.values())


def test_a_signal_handler_may_capture_while_the_script_does(spool: Path, told: Told, facts: Facts) -> None:
    body = """
    import signal, itertools
    with capture.workflow("w") as run:
        count = itertools.count()
        def handler(*_):
            with run.task("signal") as step:
                step.generated(n=next(count))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for n in range(3000):
            run.task("t", used={"n": n}).begin().end()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(next(count))
    """
    result = done(spool, body)
    assert result.returncode == 0, result.stderr
    found = facts(told())
    assert len([s for s in found if s.transformation == "t"]) == 3000
    assert len([s for s in found if s.transformation == "signal"]) == int(result.stdout)
    assert all(f["ends"] == 1 for f in found.values())


@pytest.mark.parametrize("kind", ["file in the way", "too small", "file size limit"])
def test_a_spool_that_cannot_be_written_never_reaches_the_script(kind: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    limits = {"HEADSTREAM_MEMORY_BYTES": str(1 << 20)}
    prefix = ""
    if kind == "file in the way":
        spool.write_text("")
    elif kind == "too small":
        limits["HEADSTREAM_SPOOL_BYTES"] = str(300_000)
    else:
        prefix = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))"
    body = f"""
    {prefix}
    with capture.workflow("w") as run:
        for n in range(10_000):
            with run.task("t") as step:
                step.generated(x=n)
        for turn in run.loop("l", range(10_000)):
            turn.generated(x=0.5)
    import json
    print(json.dumps(capture.losses()), json.dumps(capture.warnings()), sep="\\n")
    """
    result = done(spool, body, **limits)
    assert result.returncode == 0, result.stderr
    losses, warned = map(json.loads, result.stdout.splitlines())
    assert losses["spool-full"] > 0 and ("spool-in-memory" in warned) == (kind != "too small")
    assert result.stderr.startswith("headstream: provenance was lost: ") and result.stderr.count("\n") == 1


def test_memory_is_given_to_the_disk_at_exit_if_the_disk_has_come_back(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("")
    body = """
    with capture.workflow("w") as run:
        run.task("t").begin().end()
    os.unlink(os.environ["HEADSTREAM_SPOOL"])
    """
    result = done(spool, body)
    assert (result.returncode, result.stderr) == (0, "")
    (directory,) = spools(spool)
    assert len([e for c in read(directory) if isinstance(c, Bag) for e in c.events]) == 4


def test_diskless_capture_counts_what_it_drops(tmp_path: Path) -> None:
    result = done(tmp_path / "x", "with capture.workflow('w'): pass", HEADSTREAM_SPOOL="off")
    assert result.returncode == 0
    assert result.stderr == "headstream: provenance was lost: 2 memory-not-shipped\n"
    assert not (tmp_path / "x").exists()


def test_our_own_failures_are_counted_and_never_raised(
    settings: Settings, internal_errors: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ours")

    with capture.workflow("w", settings=settings) as run:
        monkeypatch.setattr(run.recorder, "write", broken)
        monkeypatch.setattr(run.recorder.writer, "link", broken)
        monkeypatch.setattr(run.recorder, "values", broken)
        with run.task("t", used={"a": 1}) as step:
            step.used(b=1).generated(c=1)
            assert [turn.item for turn in step.loop("l", [1, 2])] == [1, 2]
        monkeypatch.setattr("headstream.capture.opening.clean", broken)
        with run.task("u") as step:
            step.generated(c=1)
        assert [turn.item for turn in step.loop("l", [1, 2])] == [1, 2]
    assert internal_errors and all(str(e) == "ours" for e in internal_errors)
    assert sum(capture.losses().values()) >= 5
    internal_errors.clear()
    assert errors.report() is not None


def test_the_spool_is_bounded_by_memory_files_and_descriptors(settings: Settings) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with capture.workflow("w", settings=settings) as run:
            run.task("t").begin().end()
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20
