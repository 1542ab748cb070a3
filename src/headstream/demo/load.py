"""A script that captures at a steady rate: `python -m headstream.demo.load RATE SECONDS`.

Each turn of its loop is two capture events, a start and an end with a loss (Algorithm 1).
"""

from __future__ import annotations

import os
import sys
import time

from headstream import capture

WORKFLOW = "freshness"
EXECUTION = "steady"


def main(rate: float, seconds: float) -> int:
    """Capture `rate` events a second for so long; the number of turns."""
    turns = max(1, int(rate * seconds / 2))
    begin = time.monotonic()
    with (
        capture.workflow(WORKFLOW, execution=os.environ.get("HEADSTREAM_EXECUTION", EXECUTION)) as run,
        run.task("training", used={"rate": rate}) as training,
    ):
        for turn in training.loop("batch", range(turns)):
            turn.generated(loss=1.0 / (turn.index + 1))
            # By the clock of the whole run, so that a late turn does not slow down the next ones.
            time.sleep(max(0.0, begin + (turn.index + 1) * 2 / rate - time.monotonic()))
    return turns


if __name__ == "__main__":
    print(main(float(sys.argv[1]), float(sys.argv[2])))
