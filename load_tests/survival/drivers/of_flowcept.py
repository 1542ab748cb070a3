"""A script that captures with FlowCept, by its Task, its Loop or its LightweightLoop."""

import os

from flowcept import Flowcept, FlowceptTask
from flowcept.instrumentation.flowcept_loop import FlowceptLightweightLoop, FlowceptLoop
from script import MODE, SITUATION, TURNS, ranks, turned


def started() -> Flowcept:
    return Flowcept(
        workflow_name="survival", start_persistence=False, check_safe_stops=False, save_workflow=False
    )


def turns(base: int) -> None:
    if MODE == "task":
        for index in range(TURNS):
            with FlowceptTask(activity_id="batch", used={"i": index}) as task:
                task.end(generated={"loss": float(base + index)})
            if turned(index, base + index):
                break
        return
    loop = (FlowceptLoop if MODE == "loop" else FlowceptLightweightLoop)(range(TURNS), loop_name="batch")
    for index in loop:
        loop.end_iter({"loss": float(base + index)})
        if turned(index, base + index):
            break


def rank(base: int) -> None:
    """One rank: FlowCept is started in it, and writes into a folder of its own."""
    os.makedirs(f"rank{base}")
    os.chdir(f"rank{base}")
    with started():
        turns(base)


if SITUATION == "by-hand":
    flowcept = started().start()
    turns(0)
    flowcept.stop()
elif SITUATION == "fork":
    ranks(rank)
else:
    with started():
        turns(0)
