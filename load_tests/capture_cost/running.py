"""Run each contender in a process of its own, in turns, and take medians.

In each round every contender runs once, in a new order: what else the machine does then falls on
all of them alike. One process a measurement: no imports, heap or threads are shared.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load_tests.capture_cost.contenders import PACE, SETTINGS, Contender
from load_tests.peers import environment

DRIVERS: Final = Path(__file__).with_name("drivers")
SECONDS: Final = 180


class DriverFailed(Exception):
    """A contender did not come to its end; the message has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much one measurement does: as the paper's training, 300 epochs of 35 batches."""

    epochs: int = 300
    batches: int = 35
    rounds: int = 5
    pace_turns: int = 1_500
    pace_pairs: int = 20


Rows = dict[str, dict[str, float]]


def once(
    python: Path, case: str, who: Contender, size: Size, work: int, bootstrap: str | None
) -> dict[str, float]:
    """One measurement in a folder of its own."""
    epochs, batches = max(1, round(size.epochs * who.share)), size.batches
    if case == PACE:
        epochs, batches = size.pace_pairs, size.pace_turns
    driven = "loop" if case == SETTINGS else case
    with tempfile.TemporaryDirectory(prefix="headstream-cost-") as folder:
        place = Path(folder)
        arguments = [driven, who.mode, str(epochs), str(batches), str(work)]
        done = subprocess.run(
            [python, DRIVERS / f"{who.driver}.py", *arguments],
            cwd=place,
            env=environment(place, **who.environment(place, bootstrap)),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode != 0 or not done.stdout.strip():
            raise DriverFailed(f"{who.name} ({case}) ended with {done.returncode}:\n{done.stderr[-2000:]}")
        if who.driver == "ours" and done.stderr:
            raise DriverFailed(f"{who.name} ({case}) lost something: {done.stderr[-2000:]}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        found["disk_kb"] = _allocated(place) / 1024
    return found


def measure(
    python: Path, case: str, who: Sequence[Contender], size: Size, bootstrap: str | None, seed: int = 0
) -> Rows:
    """Medians of all rounds, by contender."""
    work = calibrate(python, size) if case == PACE else 0
    for each in who:  # Not counted: byte code is written, and the page cache warmed.
        once(python, case, each, Size(epochs=2, batches=2, pace_turns=100, pace_pairs=1), work, bootstrap)
    runs: dict[str, list[dict[str, float]]] = {each.name: [] for each in who}
    order = random.Random(seed)
    for _ in range(min(size.rounds, 2) if case == PACE else size.rounds):
        for each in order.sample(who, len(who)):
            runs[each.name].append(once(python, case, each, size, work, bootstrap))
    return {name: _medians(found) for name, found in runs.items()}


def calibrate(python: Path, size: Size) -> int:
    """Rounds of `busy` that make a turn last 200 us: two events a turn are then 10,000 events/s."""
    probe = 5_000
    code = "from stopwatch import busy; import time\n"
    code += f"for n in range(200): busy({probe})\nt = time.perf_counter()\n"
    code += f"for n in range(300): busy({probe})\nprint((time.perf_counter() - t) / 300 * 1e6)"
    done = subprocess.run([python, "-c", code], cwd=DRIVERS, capture_output=True, text=True, check=True)
    return max(1, round(probe * 198 / float(done.stdout)))


def _medians(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def _allocated(place: Path) -> int:
    """Bytes that lie on the disk, settings aside."""
    return sum(
        path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file() and path.suffix != ".yaml"
    )


def note(message: str) -> None:
    """Progress, on stderr: stdout has the result only."""
    print(message, file=sys.stderr, flush=True)
