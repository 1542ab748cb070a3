"""What capture costs where the numbers are on a GPU: nothing may wait for the device in the hot path.

    python -m load_tests.accelerator [--turns 200] [--rounds 5] [--json]

Each turn queues some milliseconds of work and says a loss that only the device knows. A script runs
ahead of its GPU as long as nothing asks for a number: `ahead_ms` is how long the host had nothing to
do but wait when its loop was over. Beside an empty loop and `loss.item()`, the way of a logger that
waits. The loop of headstream runs with torch's `set_sync_debug_mode("error")`: a hidden wait fails.
Needs a CUDA device; says so and ends with 2 where there is none.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstream import capture
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, IterationBlock

Work = Callable[[int], Any]


def bare(work: Work, turns: int, folder: Path) -> list[float]:
    """The loop alone."""
    for turn in range(turns):
        work(turn)
    return []


def waits(work: Work, turns: int, folder: Path) -> list[float]:
    """Ask for each number at once."""
    return [work(turn).item() for turn in range(turns)]


def captured(work: Work, turns: int, folder: Path) -> list[float]:
    """Hand each number to headstream."""
    import torch

    settings = capture.Settings(spool=folder, git=False)
    with capture.workflow("accelerator", settings=settings) as run, run.task("training") as training:
        torch.cuda.set_sync_debug_mode("error")
        try:
            for turn in training.loop("batch", range(turns), index_as="batch"):
                turn.generated(loss=work(turn.index))
                if turn.index == turns - 1:
                    looped.append(time.perf_counter())
                    torch.cuda.set_sync_debug_mode("default")  # The last may be waited for: the loop is over.
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return []


looped: list[float] = []


def told(folder: Path) -> dict[int, float]:
    """The loss of each turn, as the spool has it."""
    found: dict[int, float] = {}
    for directory in spools(folder):
        for bag in read(directory):
            for event in bag.events if isinstance(bag, Bag) else ():
                if isinstance(event, IterationBlock):
                    losses = next(column.values for column in event.columns if column.name == "loss")
                    found.update(zip(event.index, map(float, losses), strict=True))
    return found


def once(body: Callable[[Work, int, Path], list[float]], work: Work, turns: int) -> dict[str, float]:
    import torch

    looped.clear()
    with tempfile.TemporaryDirectory() as folder:
        torch.cuda.synchronize()
        began = time.perf_counter()
        body(work, turns, Path(folder))
        ended = looped[0] if looped else time.perf_counter()
        torch.cuda.synchronize()
        whole = time.perf_counter()
        if body is captured:
            expected = {turn: float(work(turn).item()) for turn in range(turns)}
            assert told(Path(folder)) == expected, "the spool does not have what the device computed"
    return {"host_us": (ended - began) / turns * 1e6, "ahead_ms": (whole - ended) * 1e3}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=200)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: pip install 'headstream[demo]'", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print("there is no CUDA device here", file=sys.stderr)
        return 2
    data = torch.rand(4096, 4096, device="cuda", dtype=torch.bfloat16)
    scale = torch.arange(chosen.turns, device="cuda", dtype=torch.float32)

    def work(turn: int) -> Any:
        product = data
        for _ in range(8):
            product = torch.matmul(product, data) * 1e-3
        return product[0, 0].float() * 0 + scale[turn] / 7

    contenders = {"empty loop": bare, "headstream": captured, "loss.item()": waits}
    for body in contenders.values():
        once(body, work, 5)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    order = random.Random(0)
    for _ in range(chosen.rounds):
        for name in order.sample(sorted(contenders), len(contenders)):
            runs[name].append(once(contenders[name], work, chosen.turns))
    rows = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in runs.items()
    }
    facts = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "turns": chosen.turns}
    if chosen.json:
        print(json.dumps({"facts": facts, "rows": rows}))
        return 0
    print(f"{json.dumps(facts)}\n\n| | host, us a turn | host ahead at the end, ms | host, x empty loop |")
    print("|---|---:|---:|---:|")
    for name, row in rows.items():
        ratio = row["host_us"] / rows["empty loop"]["host_us"]
        print(f"| {name} | {row['host_us']:.1f} | {row['ahead_ms']:.1f} | {ratio:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
