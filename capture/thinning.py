"""Turns that a budget leaves out (budget.py), and what is said of them.

Nothing but rows is ever left out: a turn that uses something, refers to data, opens steps or fails
is told as a step whatever the budget, with all that it had said. The graph says that turns were left
out and how many, as outputs of the step or run around the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from headstream.capture import deferred
from headstream.capture.budget import Meter
from headstream.capture.clock import OFFSET
from headstream.capture.columns import KINDS
from headstream.capture.errors import WARNINGS, swallow
from headstream.capture.iteration import Iteration, plain
from headstream.capture.opening import ENDED, OPEN, THINNING, say_of_thinning
from headstream.capture.wire import OUT

if TYPE_CHECKING:
    from headstream.capture.loop import Loop

T = TypeVar("T")


class LeftOut(Iteration[T]):
    """A turn of which nothing is kept, unless it says or does more than a row has."""

    __slots__ = ("began", "ordinal", "said", "told")

    began: int  # Monotonic nanoseconds.
    ordinal: int
    said: dict[str, Any] | None

    def __init__(self, loop: Loop[T]) -> None:
        super().__init__(loop, None)
        self._at = self._free = 0
        self.said = None
        self.told = False

    def generated(self, /, **values: Any) -> LeftOut[T]:
        """Numbers are left out; anything else makes this a step that is told."""
        try:
            if self.told or self._state != OPEN:
                self._say(values)
                return self
            for value in values.values():
                if type(value) not in KINDS and not self._numbers(values):
                    self._general()._add(OUT, values)
                    return self
            if self.said is None:
                self.said = values
            else:
                self.said.update(values)
        except Exception as error:
            swallow(error, "generated")
        return self

    def _numbers(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a row would have had these; no accelerator is asked for them."""
        here = {n: v for n, v in values.items() if not (deferred.on_accelerator(v) and deferred.is_number(v))}
        return all(plain(v) for v in self.recorder.values(OUT, self._loop.name, here))

    def _is_open(self) -> bool:
        return super()._is_open() if self.told else self._state == OPEN

    def _close(self) -> None:
        if self.told:
            super()._close()
        else:
            self._state = ENDED

    def _general(self) -> Iteration[T]:
        if not self.told:
            if self._state != OPEN:
                return self
            self.told = True
            said = self.said
            self._become_general((self.began + OFFSET) // 1000, self.ordinal)
            if said:
                self._add(OUT, said)
        return self


@lru_cache(maxsize=256)
def metered(turn: type[Iteration[Any]]) -> type[Iteration[Any]]:
    """The class of turns that also measure what it takes to say something."""

    def generated(self: Any, /, **values: Any) -> Any:
        before = perf_counter_ns()
        turn.generated(self, **values)
        self._loop.meter.said += perf_counter_ns() - before
        return self

    return type("Iteration", (turn,), {"__slots__": (), "__module__": __name__, "generated": generated})


def meter_of(loop: Loop[Any]) -> Meter | None:
    """What loops of this name inside steps of this name have measured; None without a budget."""
    recorder = loop.recorder
    if recorder.settings.budget is None:
        return None
    return recorder.meters.setdefault(loop.family.key, Meter(recorder.settings.budget))


def begun(loop: Loop[Any], meter: Meter) -> None:
    """Say once a process that turns are left out: a run that is killed has it too."""
    recorder = loop.recorder
    if not recorder.thins:
        recorder.thins = True
        facts = {"loop": loop.name, "every": meter.every, "share": round(meter.share, 6)}
        say_of_thinning(loop.inside, THINNING, {**facts, "budget": meter.budget})


def count(loop: Loop[Any], meter: Meter, turns: int, kept: int) -> None:
    """Add what a loop has left out to what the step or run around it will say at its end."""
    if turns > kept:
        WARNINGS.add("turns-left-out", turns - kept)
        before = loop.inside._opened().thinned.setdefault(loop.name, {"turns": 0, "kept": 0})
        before["turns"] += turns
        before["kept"] += kept
        before |= {"budget": meter.budget, "share": round(meter.share, 6)}
