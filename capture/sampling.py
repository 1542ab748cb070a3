"""Telemetry of a run: sampled by a thread at a set interval, and when a step begins or ends.

Each interval becomes a turn of a loop `telemetry` directly in the run, so it takes the way of all
that is captured, and can be asked for while the run goes on. What steps say of disk, network and
GPU is the difference between two samples, at most `_FRESH` microseconds older than the step's own
times. Only this thread ever reads psutil and NVML: a driver that hangs holds up no more than it.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, Final

from headstream.capture import gauges, gpus, threads
from headstream.capture.clock import now
from headstream.capture.errors import WARNINGS, swallow
from headstream.capture.gauges import Gauges, Sample
from headstream.capture.iteration import Iteration
from headstream.capture.opening import Opener
from headstream.capture.telemetry import USAGE
from headstream.capture.wire import text
from headstream.schemas.values import canonical_json

LOOP: Final = "telemetry"
SHORTEST: Final = 0.05  # Seconds between samples; a smaller setting counts as this.
_FRESH: Final = 100_000  # Microseconds for which a sample is good enough for the start or end of a step.
_PATIENCE: Final = 0.02  # Seconds that a step waits for a fresh one.
_JOIN_SECONDS: Final = 1.0
_GPU_SECONDS: Final = 1.0  # GPUs say how busy they are now, not how busy they were: ask often enough.
_MOST_PEAKS: Final = 4096


class Sampler:
    """Samples for one run, from its beginning to its end."""

    def __init__(self, run: Opener, seconds: float, make: Callable[[], Gauges] | None = None) -> None:
        """Start. No driver is asked for anything in the thread of the caller."""
        self._make = make or of_this_process()
        self._gauges: Gauges | None = None
        self._interval = max(seconds, SHORTEST)
        self._over = False
        self._loop = run.loop(LOOP, iter(lambda: not self._over, False))
        self._turns: Iterator[Iteration[Any]] | None = None
        self._turn: Iteration[Any] | None = None
        self._condition = threading.Condition()
        self._stopped = False
        self._wanted = False
        self._prompt = False  # The last that was asked for came in time.
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._told: Sample | None = None
        # Samples by time, each with more GPU memory in use than all later ones: the first one not
        # before a moment has the peak since then.
        self._peaks: list[tuple[int, int | float]] = []
        self._thread: threading.Thread
        self._leaving = False
        self.resume()
        threads.join(self)
        USAGE.watch(self)

    # What steps ask (telemetry.Meter), in their own threads.

    def mark(self, at: int) -> Sample | None:
        """The last sample, or a fresh one if that is too old and the sampler is quick enough."""
        last = self._last
        if last is None or at - last.at < _FRESH or not self._prompt:
            return last
        with self._condition:
            self._prompt, self._wanted = False, True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._last is not last, _PATIENCE)
        return self._last

    def since(self, mark: Sample | None, at: int) -> str | None:
        """GPU seconds, peak GPU memory and metadata of what lies between a mark and a moment."""
        last = self.mark(at)
        # A step that began with the run, before the first sample, counts from that one.
        mark = mark or self._first
        if mark is None or last is None or last is mark:
            return None
        grown = {name: n for name in gauges.COUNTERS if (n := last.grown(mark, name)) is not None}
        with self._condition:
            number = bisect_left(self._peaks, (mark.at, 0))
            peak = self._peaks[number][1] if number < len(self._peaks) else None
        metadata = canonical_json(grown) if grown else None
        busy = last.grown(mark, gauges.GPU_SECONDS)
        return text([None if busy is None else round(busy, 6), peak, metadata])[1:-1]

    # The life of the thread (threads.Companion).

    def resume(self) -> None:
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="headstream-telemetry", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """End the thread for a fork; the interval goes on."""
        if not self._join():
            self._give_up()

    def leave(self) -> None:
        """End the thread and the last interval, however short. Later calls do nothing."""
        if self._over:
            return
        self._leaving = True
        if not self._join():
            self._give_up()
            return
        USAGE.unwatch(self)
        threads.part(self)
        self._say()
        self._over = True
        if self._turns is not None:
            next(self._turns, None)  # It ends the turn, and there is no other.

    def _join(self) -> bool:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        self._thread.join(_JOIN_SECONDS)
        return not self._thread.is_alive()

    def _give_up(self) -> None:
        """Go on without it: most likely a driver does not answer."""
        WARNINGS.add("telemetry-stuck", message=f"no answer within {_JOIN_SECONDS} s; sampling has ended")
        self._over = True
        USAGE.unwatch(self)
        threads.part(self)

    # What the thread does.

    def _work(self) -> None:
        try:
            if self._gauges is None:
                self._gauges = self._make()
            if self._turns is None:
                self._told = self._take(self._gauges)
                self._turns = iter(self._loop)
                self._turn = next(self._turns, None)
            while not self._wait(self._gauges):
                self._take(self._gauges)
                if self._due() <= 0 and not self._over:
                    self._say()
                    self._turn = next(self._turns, None)
            if self._leaving and not self._over:
                self._take(self._gauges)
        except Exception as error:
            swallow(error, "telemetry")

    def _wait(self, source: Gauges) -> bool:
        """Wait for the next sample to be due or wanted; True if it is time to stop."""
        seconds = min(self._due(), _GPU_SECONDS) if source.watches_gpus else self._due()
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._wanted, max(seconds, 0))
            return self._stopped

    def _due(self) -> float:
        assert self._told is not None
        return self._interval - (now() - self._told.at) / 1e6

    def _take(self, source: Gauges) -> Sample:
        asked = now()
        sample = source.sample()
        with self._condition:
            self._first, self._last = self._first or sample, sample
            self._prompt, self._wanted = sample.at - asked < _PATIENCE * 1e6, False
            self._remember(sample)
            self._condition.notify_all()
        return sample

    def _remember(self, sample: Sample) -> None:
        used = sample.read.get(gauges.GPU_MEMORY)
        if used is not None:
            while self._peaks and self._peaks[-1][1] <= used:
                self._peaks.pop()
            self._peaks.append((sample.at, used))
            del self._peaks[:-_MOST_PEAKS]

    def _say(self) -> None:
        """Say in the turn of this interval what was counted in it."""
        before, last = self._told, self._last
        if self._turn is not None and before is not None and last is not None:
            self._turn.generated(**gauges.row(before, last))
            self._told = last


def of_this_process() -> Callable[[], Gauges]:
    """What makes readings of this process, its host and its GPUs; that there are no GPUs is a warning.

    Modules are imported here, by the thread that begins the run (a child that is forked while a thread
    imports would wait for that module for ever); drivers are woken by who calls the answer.
    """
    readings = gauges.of_process()
    try:
        import pynvml  # An optional package.
    except ImportError as error:
        _no_gpu(error)
        return lambda: Gauges(readings)

    def make() -> Gauges:
        try:
            return Gauges(readings, gpus.devices(pynvml, os.environ))
        except Exception as error:  # No driver, no rights: NVML has forty reasons.
            _no_gpu(error)
        return Gauges(readings)

    return make


def _no_gpu(error: Exception) -> None:
    WARNINGS.add("telemetry-without-gpu", message=f"{type(error).__name__}: {error}")
