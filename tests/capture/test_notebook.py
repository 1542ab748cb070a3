"""Cells of a notebook that are run again and again, in a real Jupyter kernel."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from headstream.schemas.events import Event, RunEnded, RunStarted, StepEnded, StepStarted

Told = Callable[[], list[Event]]
Cell = Callable[[str], str]
BEGIN = "run = capture.workflow('study').begin()\nprint(run.execution)"
TRAIN = """
step = run.task("train", used={"lr": 0.1}).begin()
for turn in step.loop("epoch", range(3), index_as="epoch"):
    turn.generated(loss=1.0)
step.generated(loss=0.5).end()
"""
END = "run.end()"
COUNTS = "print(capture.losses(), capture.warnings())"


@pytest.fixture
def kernel(spool: Path, tmp_path: Path) -> Iterator[KernelManager]:
    manager = KernelManager()
    manager.start_kernel(
        cwd=str(tmp_path),
        env={
            **os.environ,
            "HEADSTREAM_SPOOL": str(spool),
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_PACKAGES": "off",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield manager
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.fixture
def cell(kernel: KernelManager) -> Iterator[Cell]:
    """Run a cell and return what it prints; an exception in it fails the test."""
    client: Any = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(source: str) -> str:
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        answer = client.execute_interactive(source, timeout=60, output_hook=hear)
        assert answer["content"]["status"] == "ok", answer["content"]
        return "".join(printed).strip()

    run("from headstream import capture")
    yield run
    client.stop_channels()


def told_of(kind: type, told: Told) -> int:
    return sum(isinstance(event, kind) for event in told())


def test_a_cell_that_begins_a_run_begins_a_new_one_each_time(cell: Cell, told: Told) -> None:
    first, second = cell(BEGIN), cell(BEGIN)
    cell(TRAIN)
    cell(END)
    assert first != second and cell(COUNTS) == "{} {}"
    assert (told_of(RunStarted, told), told_of(RunEnded, told)) == (2, 1)


def test_a_cell_that_is_run_twice_tells_two_steps_of_one_run(cell: Cell, told: Told) -> None:
    cell(BEGIN)
    for _ in range(3):
        cell(TRAIN)
    cell(END)
    cell(END)
    assert cell(COUNTS) == "{} {}"
    trained = Counter(event.step.task for event in told() if isinstance(event, StepEnded))
    assert trained == {"0": 1, "1": 1, "2": 1} and told_of(RunEnded, told) == 1


def test_a_step_left_open_in_a_cell_stays_open_until_a_cell_ends_it(cell: Cell, told: Told) -> None:
    cell(BEGIN)
    cell("step = run.task('slow').begin()")
    cell("step.begin(); run.begin()")  # What has begun is left as it is.
    cell("step.generated(x=1)")
    cell("step = run.task('slow').begin()")
    cell("step.end()")
    assert cell(COUNTS) == "{} {}"
    assert (told_of(StepStarted, told), told_of(StepEnded, told), told_of(RunStarted, told)) == (2, 1, 1)


def test_cells_that_go_on_after_the_end_are_counted_and_do_not_raise(cell: Cell, told: Told) -> None:
    cell(BEGIN)
    cell(END)
    cell(TRAIN)
    cell("run.begin()\nrun.generated(x=1)")
    # Of the step: start, value and end; each turn as a start, its value and an end; one output of the run.
    assert cell(COUNTS) == "{'after-end': 12, 'values-after-end': 1} {}"
    cell(BEGIN)
    cell(TRAIN)
    cell(END)
    assert told_of(RunEnded, told) == 2 and told_of(StepEnded, told) == 1


def test_an_interrupted_loop_and_a_run_never_ended_leave_what_was_said(
    cell: Cell, kernel: KernelManager, told: Told
) -> None:
    cell(BEGIN)
    failing = """
try:
    for turn in run.loop("epoch", range(9)):
        turn.generated(loss=1.0)
        if turn.index == 4:
            raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
"""
    cell(failing)
    cell(failing)
    assert cell(COUNTS) == "{} {}"
    kernel.shutdown_kernel(now=False)
    errored = [e for e in told() if isinstance(e, StepEnded) and e.outcome == "ERRORED"]
    assert {e.step.task for e in errored} == {"4", "9"}
    assert (told_of(RunStarted, told), told_of(RunEnded, told)) == (1, 0)
