"""What every driver measures, and how it says it: one line of JSON, after everything else at exit."""

from __future__ import annotations

import atexit
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import repeat

SETTLE = 0.3  # Seconds in which a shipper ends what a stretch has left it: not timed.


class Stopwatch:
    """Made before a contender is imported: its exit handler then runs after those of the contender."""

    def __init__(self) -> None:
        self.case, self.mode = sys.argv[1], sys.argv[2]
        self.epochs, self.batches, self.work = (int(text) for text in sys.argv[3:6])
        self._imported = self._began = self._looped = 0.0
        self._paired: dict[str, float] = {}
        self._made = time.perf_counter()
        atexit.register(self._say)

    def imported(self) -> None:
        self._imported = time.perf_counter()

    def begin(self) -> None:
        """The contender has started; the loop follows."""
        self._began = time.perf_counter()

    def looped(self) -> None:
        """The loop is over; what the contender still has to write follows."""
        self._looped = time.perf_counter()

    def pairs(self, captured: Callable[[int], None]) -> None:
        """Time stretches of turns with capture beside stretches of the same work without, in turns.

        Neighbours in one process: what else the machine does falls on both. Each `epoch` is a pair.
        """
        self.begin()
        found = []
        for number in range(self.epochs):
            first, second = (self._plain, captured) if number % 2 else (captured, self._plain)
            times = {first: self._stretch(first), second: self._stretch(second)}
            found.append((times[captured], times[self._plain]))
        self.looped()
        turns = self.batches
        self._paired = {
            "captured_us": statistics.median(with_ for with_, _ in found) / turns * 1e6,
            "plain_us": statistics.median(without for _, without in found) / turns * 1e6,
            "slower_best": (min(with_ for with_, _ in found) / min(plain for _, plain in found) - 1) * 100,
            "slower": (statistics.median(with_ / without for with_, without in found) - 1) * 100,
        }

    def _stretch(self, body: Callable[[int], None]) -> float:
        time.sleep(SETTLE)
        began = time.perf_counter()
        body(self.batches)
        return time.perf_counter() - began

    def _plain(self, turns: int) -> None:
        for _ in range(turns):
            busy(self.work)

    def _say(self) -> None:
        ended = time.perf_counter()
        turns = self.epochs * self.batches
        said = {
            "import_ms": (self._imported - self._made) * 1e3,
            "cpu_ms": time.process_time() * 1e3,
            "rss_mb": _peak() / 1024,
            **self._paired,
        }
        if self._began:
            said["loop_us"] = (self._looped - self._began) / turns * 1e6
            said["total_us"] = (ended - self._began) / turns * 1e6
            said["end_ms"] = (ended - self._looped) * 1e3
        print(json.dumps(said), flush=True)


def _peak() -> int:
    """Peak resident memory of this process in KiB. (ru_maxrss would begin with that of the parent.)"""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def busy(times: int) -> None:
    """Work that holds the GIL, as a training loop in Python does between two calls of a library.

    It allocates nothing: sums of numbers cost 10 % more or less with whatever else lives in their
    memory pool, which is more than what is measured.
    """
    flag = True
    for _ in repeat(None, times):
        flag = not flag
