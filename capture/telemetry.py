"""What a step cost: processor time and peak memory of this process, read in about a microsecond.

Both are of the whole process: steps that run at once in several threads share them.
"""

from __future__ import annotations

import resource
import sys

from headstream.capture import wire

# Linux counts ru_maxrss in KiB, macOS in bytes.
_UNIT = 1 if sys.platform == "darwin" else 1024
_read = resource.getrusage
_SELF = resource.RUSAGE_SELF


def cpu_seconds() -> float:
    """Processor time of this process so far, user and system."""
    usage = _read(_SELF)
    return usage.ru_utime + usage.ru_stime


def since(cpu_at_start: float) -> wire.Wire:
    """What a step that began with this much processor time has used."""
    usage = _read(_SELF)
    return wire.context(
        peak_memory_bytes=usage.ru_maxrss * _UNIT,
        cpu_seconds=round(max(0.0, usage.ru_utime + usage.ru_stime - cpu_at_start), 6),
    )
