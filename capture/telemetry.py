"""What a step cost: processor time and peak memory of this process, as the kernel counts them.

Both are of the whole process: steps that run at once in several threads share them. The kernel is
asked at most once in `SAMPLE` microseconds, so a step's processor time is exact to about that.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

SAMPLE: Final = 1000
# Linux counts ru_maxrss in KiB, macOS in bytes.
_UNIT = 1 if sys.platform == "darwin" else 1024


class Usage:
    """What this process has used by now."""

    __slots__ = ("_before", "_cpu", "_until")

    def __init__(self) -> None:
        self._until = 0
        self._cpu = 0.0
        self._before = ""

    def cpu(self, now: int) -> float:
        """Processor seconds, user and system, at a time in microseconds."""
        if now >= self._until:
            found = resource.getrusage(resource.RUSAGE_SELF)
            self._cpu = found.ru_utime + found.ru_stime
            self._before = f"[null,null,[],{found.ru_maxrss * _UNIT},"
            self._until = now + SAMPLE
        return self._cpu

    def since(self, cpu_at_start: float, now: int) -> str:
        """The execution data of a step that began with this much processor time (layout: wire.context)."""
        used = self.cpu(now) - cpu_at_start
        return (
            f"{self._before}{used:.6f},null,null,null]" if used > 0 else f"{self._before}0.0,null,null,null]"
        )

    def after_fork(self) -> None:
        """A child has used nothing yet, whatever its parent had."""
        self._until = 0


USAGE: Final = Usage()
