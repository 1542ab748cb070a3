"""A tensor of an accelerator is never waited for while the script works; it is told nevertheless."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings, deferred
from headstream.schemas.events import Event, IterationBlock, StepEnded, StepRef, StepStarted, ValuesAdded
from headstream.schemas.values import Json

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]


class Device:
    type = "cuda"


class Tensor:
    """As torch's on a GPU: facts are free, and reading it waits."""

    dtype = "float32"
    device = Device()
    requires_grad = True

    def __init__(self, value: Any, reads: list[Any], shape: tuple[int, ...] = ()) -> None:
        self.value = value
        self.reads = reads
        self.shape = shape

    def detach(self) -> Tensor:
        return self

    def clone(self) -> Tensor:
        return Tensor(self.value, self.reads, self.shape)

    def item(self) -> Any:
        self.reads.append(self.value)
        return self.value

    def tolist(self) -> Any:
        self.reads.append(self.value)
        return [self.value] * self.shape[0]

    def __bool__(self) -> bool:
        raise AssertionError("this waits for the device")

    __float__ = __int__ = __len__ = __bool__  # type: ignore[assignment]


def test_a_tensor_of_a_turn_is_read_one_turn_later_into_its_row(settings: Settings, told: Told) -> None:
    reads: list[float] = []
    seen = []
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(6)):
            before = len(reads)
            turn.generated(loss=Tensor(turn.index + 0.5, reads), n=turn.index)
            assert len(reads) == before
            seen.append(len(reads))
    # In turn n the tensor of turn n - 1 is still on its way: only those before it have been read.
    assert seen == [0, 0, 1, 2, 3, 4] and reads == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert not any(isinstance(e, StepEnded) for e in told())
    blocks = [e for e in told() if isinstance(e, IterationBlock)]
    losses = [v for b in blocks for c in b.columns if c.name == "loss" for v in c.values]
    assert losses == reads
    assert all(s <= e for b in blocks for s, e in zip(b.started, b.ended, strict=True))


def test_turns_with_and_without_a_tensor_mix(settings: Settings, told: Told, facts: Facts) -> None:
    reads: list[float] = []
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(40), index_as="i"):
            if turn.index % 3 == 0:
                turn.generated(loss=Tensor(float(turn.index), reads))
            else:
                turn.generated(loss=float(turn.index))
            if turn.index % 7 == 0:
                turn.used(seed=1)
    found = facts(told())
    assert {s.task: f["out"]["loss"] for s, f in found.items()} == {str(n): repr(float(n)) for n in range(40)}
    assert all(f["ends"] == 1 and f["outcome"] == "FINISHED" for f in found.values())
    assert len(reads) == 14


def test_a_tensor_that_is_changed_in_place_keeps_what_it_was(
    settings: Settings, told: Told, facts: Facts
) -> None:
    total = Tensor(0.0, [])
    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(3)):
            turn.generated(total=total)
            total.value += 1.0
    assert [f["out"]["total"] for f in facts(told()).values()] == ["0.0", "1.0", "2.0"]


def test_a_tensor_of_a_step_is_read_when_the_step_ends(settings: Settings, told: Told, facts: Facts) -> None:
    reads: list[Any] = []
    with capture.workflow("w", settings=settings) as run:
        with run.task("t", used={"start": Tensor(1.0, reads), "lr": 0.1}) as step:
            step.generated(loss=Tensor(0.5, reads), many=Tensor(2.0, reads, (3,)), n=3)
            assert reads == []
            started = [e for e in told() if isinstance(e, StepStarted)]
            assert [v.name for v in started[0].values] == ["lr"]
        assert len(reads) == 3
    (fact,) = facts(told()).values()
    assert fact["in"] == {"lr": "0.1", "start": "1.0"}
    assert fact["out"] == {"n": "3", "loss": "0.5", "many": repr(Json("[2.0,2.0,2.0]"))}
    end = next(e for e in told() if isinstance(e, StepEnded))
    assert [h.attribute for h in end.scope.generated] == ["n", "loss", "many"]


@pytest.mark.parametrize("way", ["break", "raise", "outer", "device"])
def test_tensors_are_told_however_the_loop_ends(
    way: str, settings: Settings, told: Told, facts: Facts
) -> None:
    reads: list[Any] = []
    with capture.workflow("w", settings=settings) as run:
        try:
            with run.task("outer") as outer:
                turns = iter(outer.loop("t", range(9)))
                for turn in turns if way == "outer" else outer.loop("t", range(9)):
                    many = Tensor(float(turn.index), reads, (2,) if way == "device" else ())
                    turn.generated(loss=many)
                    if turn.index == 3:
                        if way == "raise":
                            raise ValueError("x")
                        if way == "outer":
                            outer.end()
                        break
        except ValueError:
            pass
    found = {s.task: f for s, f in facts(told()).items() if s.transformation == "t"}
    assert len(found) == 4 and all(f["ends"] >= 1 for f in found.values())
    shape = "Json(text='[{0},{0}]')" if way == "device" else "{0}"
    assert [f["out"]["loss"] for f in found.values()] == [shape.format(float(n)) for n in range(4)]
    assert found["0.3"]["outcome"] == ("ERRORED" if way == "raise" else "FINISHED")


def test_a_kill_takes_at_most_the_tensors_of_the_last_two_turns(
    spool: Path, told: Told, facts: Facts
) -> None:
    body = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_deferred import Tensor
from headstream import capture
run = capture.workflow("w").begin()
for turn in run.loop("t", range(100)):
    turn.generated(loss=Tensor(float(turn.index), []), n=turn.index)
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
    found = {int(s.task): f for s, f in facts(told()).items()}
    assert sorted(found) == list(range(58))
    assert all(found[n]["out"] == {"n": repr(n), "loss": repr(float(n))} for n in range(56))
    assert all(found[n]["out"] == {"n": repr(n)} for n in (56, 57))


def test_a_tensor_of_the_processor_is_a_number_at_once(settings: Settings, told: Told) -> None:
    import torch

    with capture.workflow("w", settings=settings) as run:
        for turn in run.loop("t", range(4)):
            turn.generated(loss=torch.tensor(0.5), n=torch.tensor([3]), ok=torch.tensor(True))
            said = next(e for e in reversed(told()) if isinstance(e, IterationBlock)) if turn.index else None
            assert said is None or {c.name for c in said.columns} == {"loss", "n", "ok"}
    assert not any(isinstance(e, StepEnded) for e in told())
    values = {v for e in told() if isinstance(e, IterationBlock) for c in e.columns for v in c.values}
    assert values == {0.5, 3, True}


class Failed(deferred.Coming):
    """A copy from a device that has failed since: CUDA raises wherever it is asked."""

    def __init__(self) -> None:
        self.shape = ()

    def is_ready(self) -> bool:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def read(self) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")


def test_a_device_that_fails_costs_its_number_and_not_the_end_of_the_step(
    settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "snapshot", lambda value: Failed())
    with capture.workflow("w", settings=settings) as run:
        with run.task("t") as step:
            step.generated(loss=Tensor(0.5, []))
        for turn in run.loop("u", range(3)):
            turn.generated(loss=Tensor(0.5, []))
    said = [v for e in told() if isinstance(e, ValuesAdded) for v in e.values]
    assert len(said) == 4 and all(v.name == "loss" and v.note is not None for v in said)
    ends = [e.step.transformation for e in told() if isinstance(e, StepEnded)]
    rows = sum(len(e.index) for e in told() if isinstance(e, IterationBlock))
    assert ends.count("t") == 1 and rows + ends.count("u") == 3
