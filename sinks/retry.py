"""How long to wait before trying again: from 0.3 s to 60 s with jitter, for as long as it takes.

An unavailable store is nobody's fault and costs no event, so there is no last attempt (faults.md row 14).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from headstream.sinks.errors import Stopped, Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Delays that double from `first` to `most`, shortened by up to half so that workers spread out."""

    first: float = 0.3
    most: float = 60.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after failed attempt number `attempt`, from 0; `chance` is in [0, 1)."""
        # The exponent is bounded because 2.0 ** 1024 overflows after a week or two of trying.
        return min(self.most, self.first * 2.0 ** min(attempt, 60)) * (1 - chance / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Tries again until it works or `wait` says that the process is to end."""

    wait: Callable[[float], bool]
    failed: Callable[[Unavailable, float], None]
    schedule: Schedule = Schedule()
    chance: Callable[[], float] = random.random

    def persist(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns; Unavailable is waited out, Stopped means told to end meanwhile."""
        for number in count():
            try:
                return attempt()
            except Unavailable as error:
                delay = self.schedule.delay(number, self.chance())
                self.failed(error, delay)
                if self.wait(delay):
                    raise Stopped(f"told to end while waiting to try again: {error}") from error
        raise AssertionError("count() never ends")
