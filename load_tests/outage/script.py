"""A script that captures steps with small and large values, and times each of its calls.

script.py MODE STEPS PLACE    MODE is `none` (the same work, nothing captured), `capture`,
                              `pause` (waits at a third and at two thirds to be told on),
                              or `idle` (captures nothing for so many milliseconds)
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

MODE, STEPS, PLACE = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
LARGE = 500  # One step in so many has a large value.
TEXT = "x" * 100_000
THIRD = STEPS // 3


def values() -> Iterator[tuple[int, str | float]]:
    for n in range(STEPS):
        if MODE == "pause" and n in (THIRD, 2 * THIRD):
            (PLACE / f"at-{n // THIRD}").touch()
            while not (PLACE / f"on-{n // THIRD}").exists():
                time.sleep(0.005)
        yield n, f"{n} {TEXT}" if n % LARGE == 0 else 1.0 / (n + 1)


def quantile(part: array[int], share: float) -> float:
    return sorted(part)[int(len(part) * share)] / 1000 if part else 0.0


took = array("Q", range(STEPS))  # Part of the baseline too.
told: dict[str, object] = {"captured": 0}
if MODE == "none":
    for n, value in values():
        began = time.perf_counter_ns()
        len(str(value))
        took[n] = time.perf_counter_ns() - began
else:
    from headstream import capture

    with capture.workflow("outage", execution=PLACE.name) as run:
        if MODE == "idle":
            time.sleep(STEPS / 1000)
        else:
            for n, value in values():
                began = time.perf_counter_ns()
                run.task("t", used={"value": value, "n": n}).begin().end()
                took[n] = time.perf_counter_ns() - began
            told = {"captured": 2 + 2 * STEPS}
told["p99"] = [quantile(took[at : at + THIRD], 0.99) for at in (0, THIRD, 2 * THIRD)]
told["p50"] = [quantile(took[at : at + THIRD], 0.5) for at in (0, THIRD, 2 * THIRD)]
(PLACE / "told.json").write_text(json.dumps(told))
