"""Telemetry is sampled beside the script: it says what the script costs, and never fails or holds it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings, errors, gauges, gpus, sampling, threads
from headstream.capture.gauges import Gauges, Sample
from headstream.capture.reading import read, spools
from headstream.capture.sampling import Sampler
from headstream.capture.telemetry import USAGE
from headstream.schemas.events import Bag, Context, Event, IterationBlock, StepEnded, StepStarted

from ..environment import without_settings

psutil = pytest.importorskip("psutil")
Told = Callable[[], list[Event]]
Rows = list[dict[str, Any]]


@dataclass
class Gpu:
    """A GPU that says what a test wants: a double of gpus.Device."""

    index: int
    used: Iterator[int] = field(default_factory=lambda: iter(lambda: 1000, None))
    busy: Iterator[float] = field(default_factory=lambda: iter(lambda: 50.0, None))

    def memory_bytes(self) -> int:
        return next(self.used)

    def utilization_percent(self) -> float:
        return next(self.busy)

    def power_watts(self) -> float:
        raise RuntimeError("NVML_ERROR_NOT_SUPPORTED")


@pytest.fixture
def run(settings: Settings) -> Iterator[capture.Run]:
    """A run without telemetry of its own: the tests start samplers."""
    with capture.workflow("w", settings=settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    assert not threads._LIVE and not USAGE.meters
    assert not [t for t in threading.enumerate() if t.name == "headstream-telemetry"]


def rows(events: list[Event]) -> Rows:
    """Turns of the loop, in order: their times and values."""
    found: Rows = []
    for block in events:
        if isinstance(block, IterationBlock) and block.transformation == "telemetry":
            for number, started in enumerate(block.started):
                values = {column.name: column.values[number] for column in block.columns}
                found.append({"started": started, "ended": block.ended[number], **values})
    return sorted(found, key=lambda row: row["started"])


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))


def measured(spool: Path, seconds: float = 0.1) -> Settings:
    return Settings(spool=spool, git=False, packages=False, telemetry_seconds=seconds)


def ended(events: list[Event], name: str) -> Context:
    (found,) = [e.context for e in events if isinstance(e, StepEnded) and e.step.transformation == name]
    assert found is not None
    return found


# Rows.


def test_each_interval_is_a_turn_of_a_loop_that_says_what_the_process_used(spool: Path, told: Told) -> None:
    with capture.workflow("w", settings=measured(spool)) as opened:
        until(lambda: len(rows(told())) >= 1)
        burn(0.3)
    found = rows(told())
    assert len(found) >= 3
    # All that was burnt is in the rows, however long it took on a busy machine.
    assert sum(row["cpu_percent"] / 100 * (row["ended"] - row["started"]) / 1e6 for row in found) > 0.25
    assert all("host_cpu_percent" in row for row in found[:-1])
    rss = psutil.Process().memory_info().rss
    for row in found:
        assert 0.2 * rss < row["memory_bytes"] < 5 * rss and row["host_memory_bytes"] > 0
        # The kernel counts the host by hundredths of a second: the last interval may be shorter.
        assert 0 <= row.get("host_cpu_percent", 0) <= 100
        assert row["disk_write_bytes"] >= 0 and row["network_sent_bytes"] >= 0
    # Nothing between the intervals is left out.
    assert all(a["ended"] <= b["started"] < a["ended"] + 50_000 for a, b in pairwise(found))
    assert opened.started is not None and found[-1]["ended"] >= opened.started + 300_000


def test_a_run_that_is_shorter_than_the_interval_has_one_row(spool: Path, told: Told) -> None:
    with capture.workflow("w", settings=measured(spool, 3600)):
        burn(0.05)
    (row,) = rows(told())
    assert row["memory_bytes"] > 0 and row["cpu_percent"] > 0


def test_without_the_setting_no_thread_runs_and_steps_say_what_they_always_said(
    settings: Settings, told: Told
) -> None:
    with capture.workflow("w", settings=settings) as opened, opened.task("t"):
        assert not [t for t in threading.enumerate() if t.name == "headstream-telemetry"]
    assert rows(told()) == []
    assert ended(told(), "t").metadata is None and ended(told(), "t").cpu_seconds is not None


def test_samples_are_told_while_the_run_goes_on(spool: Path, told: Told) -> None:
    with capture.workflow("w", settings=measured(spool, 0.05)):
        until(lambda: len(rows(told())) >= 3)


def test_an_exception_of_the_script_leaves_the_rows_finished(spool: Path, told: Told) -> None:
    with pytest.raises(ValueError, match="mine"), capture.workflow("w", settings=measured(spool)):
        burn(0.02)
        raise ValueError("mine")
    assert len(rows(told())) == 1
    turns = [e for e in told() if isinstance(e, StepStarted | StepEnded)]
    assert turns == []  # No turn had to be told as an errored step.


def test_two_runs_at_once_have_telemetry_each(spool: Path, told: Told) -> None:
    with (
        capture.workflow("a", settings=measured(spool)) as one,
        capture.workflow("b", settings=measured(spool)) as other,
    ):
        one.task("in-a").begin().end()
        other.task("in-b").begin().end()
        burn(0.05)
    assert len(rows(told())) >= 2
    assert capture.losses() == {}


# Steps.


def test_a_step_says_what_it_read_and_wrote(spool: Path, told: Told, tmp_path: Path) -> None:
    amount = iter(range(0, 10_000_000, 1000))
    readings: dict[str, gauges.Reading] = {
        "disk": lambda: {"disk_read_bytes": 7, "disk_write_bytes": next(amount)}
    }
    with capture.workflow("w", settings=Settings(spool=spool, git=False, packages=False)) as opened:
        sampler = Sampler(opened, 3600, lambda: Gauges(readings))
        until(lambda: sampler._last is not None)
        with opened.task("long"):
            time.sleep(2 * sampling._FRESH / 1e6)
        with opened.task("short"):
            pass
        sampler.leave()
    said = json.loads(ended(told(), "long").metadata or "")
    assert said["disk_read_bytes"] == 0 and said["disk_write_bytes"] in (1000, 2000)
    assert ended(told(), "short").metadata is None


def test_a_step_that_begins_before_the_first_sample_counts_from_that_one(spool: Path, told: Told) -> None:
    begun = threading.Event()
    amount = iter(range(0, 10_000_000, 1000))

    def slow() -> Gauges:
        assert begun.wait(20)
        return Gauges({"disk": lambda: {"disk_read_bytes": 0, "disk_write_bytes": next(amount)}})

    with capture.workflow("w", settings=Settings(spool=spool, git=False, packages=False)) as opened:
        sampler = Sampler(opened, 3600, slow)
        with opened.task("first"):
            begun.set()
            until(lambda: sampler._last is not None)
            time.sleep(1.5 * sampling._FRESH / 1e6)
        sampler.leave()
    assert json.loads(ended(told(), "first").metadata or "")["disk_write_bytes"] == 1000


def test_a_step_says_the_gpu_seconds_and_the_peak_gpu_memory_of_its_time(
    run: capture.Run, told: Told
) -> None:
    memory = iter([9000, 100, 700, 300, *[200] * 1000])
    devices = [Gpu(0, used=memory), Gpu(3)]
    sampler = Sampler(run, 3600, lambda: Gauges({}, devices))
    until(lambda: sampler._last is not None)
    time.sleep(1.5 * sampling._FRESH / 1e6)
    step = run.task("train").begin()  # It asks for a sample: 100.
    for _ in range(3):
        time.sleep(1.5 * sampling._FRESH / 1e6)
        run.task("inside").begin().end()  # So does each of these.
    step.end()
    sampler.leave()
    found = ended(told(), "train")
    assert found.gpu_peak_memory_bytes == 1700
    started, over = next(
        (e.started, e.ended) for e in told() if isinstance(e, StepEnded) and e.step.transformation == "train"
    )
    assert started is not None and found.gpu_seconds is not None
    # Two GPUs, each half busy: as many GPU seconds as seconds.
    assert found.gpu_seconds == pytest.approx((over - started) / 1e6, abs=0.25)


def test_turns_of_loops_take_no_telemetry(spool: Path, told: Told) -> None:
    with capture.workflow("w", settings=measured(spool)) as opened:
        for turn in opened.loop("epoch", range(3)):
            turn.used(text="makes it a general step")
            burn(0.12)
    turns = [e for e in told() if isinstance(e, StepEnded)]
    assert [turn.context for turn in turns] == [None, None, None]


# What goes wrong.


def test_a_gpu_that_vanishes_is_counted_and_given_up_and_the_other_is_still_told() -> None:
    def lost() -> Iterator[int]:
        yield 5
        raise RuntimeError("NVML_ERROR_GPU_IS_LOST")

    source = Gauges({}, [Gpu(0, used=lost(), busy=iter([])), Gpu(1)])
    samples = [source.sample() for _ in range(10)]
    assert samples[0].read["gpu0_memory_bytes"] == 5 and "gpu0_memory_bytes" not in samples[1].read
    assert all(sample.read["gpu1_memory_bytes"] == 1000 for sample in samples)
    # Each of the two powers, the memory and the utilization failed three times, and was not asked again.
    assert errors.WARNINGS.counts() == {"telemetry-reading": 12}


def test_a_driver_that_hangs_holds_up_neither_steps_nor_forks_nor_the_end(
    run: capture.Run, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_JOIN_SECONDS", 0.05)
    hangs, let_go = threading.Event(), threading.Event()

    def reading() -> dict[str, int]:
        if hangs.is_set():
            let_go.wait(60)
        return {"disk_read_bytes": 1, "disk_write_bytes": 1}

    sampler = Sampler(run, 3600, lambda: Gauges({"disk": reading}))
    until(lambda: sampler._last is not None)
    hangs.set()
    time.sleep(1.5 * sampling._FRESH / 1e6)
    begun = time.monotonic()
    for _ in range(100):
        run.task("t").begin().end()
    # One of 200 waited; all of them in vain would have been 4 s.
    assert time.monotonic() - begun < 1
    sampler.leave()
    run.end()
    assert errors.WARNINGS.counts() == {"telemetry-stuck": 1}
    assert capture.losses() == {}
    let_go.set()
    sampler._thread.join(20)
    assert capture.losses() == {}


def test_without_psutil_processor_time_is_told_and_the_rest_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, run: capture.Run, told: Told
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sampler = Sampler(run, 3600)
    burn(0.02)
    sampler.leave()
    run.end()
    (row,) = rows(told())
    assert row.keys() == {"started", "ended", "cpu_percent"}
    assert capture.warnings() == {"telemetry-without-psutil": 1, "telemetry-without-gpu": 1}


def test_a_sampler_that_cannot_start_is_an_error_of_ours_and_not_of_the_script(
    run: capture.Run, internal_errors: list[BaseException]
) -> None:
    def broken() -> Gauges:
        raise RuntimeError("no")

    sampler = Sampler(run, 0.05, broken)
    until(lambda: bool(internal_errors))
    run.task("t").begin().end()
    sampler.leave()
    run.end()
    assert capture.losses() == {"internal-telemetry": 1}
    internal_errors.clear()


# Forks and ends of processes.


def script(spool: Path, body: str) -> subprocess.CompletedProcess[str]:
    clean = without_settings()
    ours = {"HEADSTREAM_SPOOL": str(spool), "HEADSTREAM_GIT": "off", "HEADSTREAM_PACKAGES": "off"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(body)],
        env={**clean, **ours, "HEADSTREAM_TELEMETRY_SECONDS": "0.05"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def by_process(spool: Path) -> list[list[Event]]:
    found = [[e for b in read(d) if isinstance(b, Bag) for e in b.events] for d in spools(spool)]
    return sorted(found, key=len, reverse=True)


def test_a_forked_child_has_no_sampler_and_its_parent_goes_on(spool: Path) -> None:
    body = """
    import os, threading, time
    from headstream import capture
    from headstream.capture import telemetry, threads
    def samplers(): return [t for t in threading.enumerate() if t.name == "headstream-telemetry"]
    seen = []
    os.register_at_fork(before=lambda: seen.append(len(samplers())))  # The first to come is asked last.
    with capture.workflow("w") as run:
        while run._sampler._turn is None or run._sampler._turn.index < 2:
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            assert seen == [0] and not samplers()
            assert threads._LIVE == [] and telemetry.USAGE.meters == ()
            with run.task("child"):
                time.sleep(0.15)
            run.end()
            assert capture.losses() == {}, capture.losses()
            os._exit(0)
        assert len(samplers()) == 1
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        while run._sampler._turn.index < 6:
            time.sleep(0.01)
    assert capture.losses() == {}, capture.losses()
    """
    done = script(spool, body)
    assert (done.returncode, done.stderr) == (0, "")
    parent, child = by_process(spool)
    found = rows(parent)
    assert len(found) >= 4 and rows(child) == []
    # The fork left no gap: each interval begins where the one before has ended.
    assert [b["started"] - a["ended"] < 20_000 for a, b in pairwise(found)].count(False) <= 1
    assert ended(child, "child").metadata is None


def test_a_script_that_never_ends_its_run_finishes_its_last_row_at_exit(spool: Path) -> None:
    body = """
    import time
    from headstream import capture
    run = capture.workflow("w").begin()
    while run._sampler._turn is None or run._sampler._turn.index < 1:
        time.sleep(0.01)
    """
    done = script(spool, body)
    assert (done.returncode, done.stderr) == (0, "")
    (events,) = by_process(spool)
    assert len(rows(events)) >= 2
    assert not [event for event in events if isinstance(event, StepStarted)]  # No row was left open.


def test_importing_and_beginning_load_neither_psutil_nor_nvml(spool: Path) -> None:
    body = """
    import os, sys
    os.environ.pop("HEADSTREAM_TELEMETRY_SECONDS")
    from headstream import capture
    with capture.workflow("w"):
        pass
    assert not {"psutil", "pynvml", "headstream.capture.sampling"} & set(sys.modules)
    """
    done = script(spool, body)
    assert (done.returncode, done.stderr) == (0, "")


# NVML.


@pytest.mark.parametrize(
    ("given", "indices"),
    [
        (None, [0, 1, 2]), ("", []), ("-1", []), ("NoDevFiles", []), ("2,0", [0, 2]), ("1, 1", [1]),
        ("0,7,1", [0]),        ("GPU-b", [1]), ("GPU-b,GPU-c", [1, 2]), ("GPU-", []), ("MIG-b", [0, 1, 2]),
    ],
)  # fmt: skip
def test_the_gpus_of_a_process_are_those_that_cuda_would_give_it(
    given: str | None, indices: list[int]
) -> None:
    assert gpus.visible(given, ["GPU-a1", "GPU-b2", "GPU-c3"]) == indices


def test_what_nvml_finds_is_told_and_finding_nothing_is_a_warning(
    run: capture.Run, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with a GPU this asks the real driver; elsewhere it holds that none is no failure."""
    nvml = pytest.importorskip("pynvml")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    try:
        expected = [device.index for device in gpus.devices(nvml, os.environ)]
    except Exception:
        expected = []
    sampler = Sampler(run, 0.2)
    until(lambda: sampler._last is not None)
    with run.task("t"):
        time.sleep(0.5)
    sampler.leave()
    run.end()
    found, step = rows(told()), ended(told(), "t")
    assert found and capture.losses() == {}
    for index in expected:
        for row in found:
            assert row[f"gpu{index}_memory_bytes"] >= 0
            assert 0 <= row[f"gpu{index}_utilization_percent"] <= 100
            assert row[f"gpu{index}_power_watts"] > 0
    if expected:
        assert capture.warnings() == {}
        assert step.gpu_peak_memory_bytes is not None and step.gpu_seconds is not None
    else:
        assert capture.warnings() == {"telemetry-without-gpu": 1}
        assert step.gpu_peak_memory_bytes is None and step.gpu_seconds is None


# Arithmetic.


def test_a_row_is_the_difference_of_counters_and_the_last_of_all_else() -> None:
    before = Sample(
        1_000_000, {"cpu_seconds": 1.0, "disk_read_bytes": 10, "memory_bytes": 5, "gpu_seconds": 1.0}
    )
    after = Sample(
        3_000_000,
        {
            "cpu_seconds": 4.0, "disk_read_bytes": 25, "disk_write_bytes": 3, "memory_bytes": 7,
            "gpu0_memory_bytes": 9, "gpu_memory_bytes": 9, "gpu_seconds": 2.0,
        },
    )  # fmt: skip
    assert gauges.row(before, after) == {
        "cpu_percent": 150.0, "disk_read_bytes": 15, "memory_bytes": 7, "gpu0_memory_bytes": 9
    }  # fmt: skip


def test_a_counter_that_begins_anew_is_no_negative_amount() -> None:
    assert Sample(2, {"a": 1}).grown(Sample(1, {"a": 5}), "a") == 0
