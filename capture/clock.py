"""Time as capture writes it: microseconds since the epoch that never run backwards in a process.

The wall clock is read once; after that the monotonic clock counts. So a step of the wall clock
in mid run (NTP, daylight saving, an operator) can bend no duration (faults.md row 31), and all
times of one process keep their order. A forked child goes on with its parent's clock.
"""

from __future__ import annotations

import time
from typing import Final

# Nanoseconds that never run backwards, and what makes them those of the day.
monotonic: Final = time.monotonic_ns
OFFSET: Final = time.time_ns() - time.monotonic_ns()


def now() -> int:
    """Microseconds since 1970-01-01T00:00:00Z."""
    return (monotonic() + OFFSET) // 1000
