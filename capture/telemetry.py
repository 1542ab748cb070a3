"""What a step cost: processor time and peak memory of this process, as the kernel counts them.

Both are of the whole process: steps that run at once in several threads share them. The kernel is
asked at most once in `SAMPLE` microseconds, so a step's processor time is exact to about that.
Where telemetry is sampled (sampling.py) a step also says what the sampler counted meanwhile.
"""

from __future__ import annotations

import resource
import sys
from typing import Any, Final, Protocol

SAMPLE: Final = 1000
# Linux counts ru_maxrss in KiB, macOS in bytes.
_UNIT = 1 if sys.platform == "darwin" else 1024


_NOTHING: Final = "null,null,null"


class Meter(Protocol):
    """Who counts more than processor time."""

    def mark(self, now: int) -> Any:
        """What is counted by now."""

    def since(self, mark: Any, now: int) -> str | None:
        """The end of the execution data of a step that began at this mark; None if nothing is known."""


class Mark(float):
    """The processor seconds with which a step began, and what a meter had counted by then."""

    __slots__ = ("counted", "meter")

    counted: Any
    meter: Meter


class Usage:
    """What this process has used by now."""

    __slots__ = ("cpu", "meters", "peak", "until")

    def __init__(self) -> None:
        self.until = 0  # Microseconds; what is known holds for so long.
        self.cpu = 0.0  # Processor seconds, user and system; a Mark where telemetry is sampled.
        self.meters: tuple[Meter, ...] = ()  # Empty unless it is.
        self.peak = 0  # Bytes of resident memory.

    def ask(self, now: int) -> None:
        """Ask the kernel; to be called when it is `until`."""
        found = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu = found.ru_utime + found.ru_stime
        self.peak = found.ru_maxrss * _UNIT
        self.until = now + SAMPLE
        if self.meters:
            self.cpu = self._mark(self.cpu, now)

    def since(self, cpu_at_start: float, now: int) -> str:
        """The execution data of a step that began with this much processor time (layout: wire.context)."""
        if now >= self.until:
            self.ask(now)
        more = self._more(cpu_at_start, now) if self.meters else _NOTHING
        return f"[null,null,[],{self.peak},{max(0.0, self.cpu - cpu_at_start)},{more}]"

    def watch(self, meter: Meter) -> None:
        """From now on steps say what this meter counts; of several, the last that came."""
        self.meters = (*self.meters, meter)
        self.until = 0

    def unwatch(self, meter: Meter) -> None:
        self.meters = tuple(each for each in self.meters if each is not meter)

    def after_fork(self) -> None:
        """A child has used nothing yet, whatever its parent had."""
        self.until = 0
        self.meters = ()

    def _mark(self, cpu: float, now: int) -> float:
        mark = Mark(cpu)
        mark.meter = self.meters[-1]
        mark.counted = mark.meter.mark(now)
        return mark

    def _more(self, start: float, now: int) -> str:
        if type(start) is not Mark or start.meter not in self.meters:
            return _NOTHING  # Sampling has begun or ended since.
        return start.meter.since(start.counted, now) or _NOTHING


USAGE: Final = Usage()
