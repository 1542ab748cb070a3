"""How much of a loop capture may take, and how many turns it therefore keeps: pure decisions.

What keeping a turn costs is measured on the turns that are kept. Where that would be more than its
share of the time from turn to turn, only every n-th is kept. A mean of the last turns decides, so a
loop that slows down is kept whole again.
"""

from __future__ import annotations

from math import ceil, exp, log
from typing import Final

MOST_APART: Final = 10_000
_SETTLED: Final = 16  # Turns before the first decision: the first ones make segments and code.
_WEIGHT: Final = 1 / 32  # Of the newest in a mean.


class Meter:
    """Times of loops that are alike, in nanoseconds, and what follows from them."""

    __slots__ = ("_cost", "_last", "_time", "budget", "every", "kept", "said")

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.every = 1  # Of so many turns one is kept.
        self.kept = 0
        self.said = 0  # What saying values has taken in the turn that is open.
        self._cost = 0.0  # Its logarithm: turns that were interrupted weigh little in a geometric mean.
        self._time = 0.0
        self._last: int | None = None

    @property
    def share(self) -> float:
        """The part of the loop's time that it would take to keep every turn."""
        return exp(self._cost) / self._time if self._time > 0 else 0.0

    def pause(self) -> None:
        """Another loop begins: the time since the last turn is not that of a turn."""
        self._last = None

    def keep(self, at: int, turns: int) -> None:
        """A turn begins that is kept, so many turns after the last one that was."""
        if self._last is not None:
            self._time = _mean(self._time, (at - self._last) / turns, self.kept)
        self._last = at

    def cost(self, nanoseconds: int) -> int:
        """Take in what keeping a turn has cost, what it said included; how many to leave out now."""
        said, self.said = self.said, 0
        self._cost = _mean(self._cost, log(max(1, nanoseconds + said)), self.kept)
        self.kept += 1
        if self.kept >= _SETTLED and self._time > 0:
            self.every = min(MOST_APART, max(1, ceil(self.share / self.budget)))
        return self.every - 1


def _mean(mean: float, new: float, count: int) -> float:
    """A mean that forgets: the plain one at first, then one of about the last thirty."""
    return mean + (new - mean) * max(_WEIGHT, 1 / (count + 1))
