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

    __slots__ = ("cpu", "peak", "until")

    def __init__(self) -> None:
        self.until = 0  # Microseconds; what is known holds for so long.
        self.cpu = 0.0  # Processor seconds, user and system.
        self.peak = 0  # Bytes of resident memory.

    def ask(self, now: int) -> None:
        """Ask the kernel; to be called when it is `until`."""
        found = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu = found.ru_utime + found.ru_stime
        self.peak = found.ru_maxrss * _UNIT
        self.until = now + SAMPLE

    def since(self, cpu_at_start: float, now: int) -> str:
        """The execution data of a step that began with this much processor time (layout: wire.context)."""
        if now >= self.until:
            self.ask(now)
        return f"[null,null,[],{self.peak},{max(0.0, self.cpu - cpu_at_start)},null,null,null]"

    def after_fork(self) -> None:
        """A child has used nothing yet, whatever its parent had."""
        self.until = 0


USAGE: Final = Usage()
