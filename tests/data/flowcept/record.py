"""Writes flowcept_buffer.jsonl with FlowCept 1.0.3 itself; the file is kept, as FlowCept is no dependency.

In a virtual environment with `flowcept==1.0.3 psutil py-cpuinfo pandas`, in this folder:

    FLOWCEPT_SETTINGS_PATH=settings.yaml python record.py
"""

from contextlib import suppress

from flowcept import Flowcept, FlowceptTask, flowcept_task
from flowcept.instrumentation.flowcept_loop import FlowceptLightweightLoop, FlowceptLoop


@flowcept_task
def prepare(path: str) -> dict[str, str]:
    sum(range(3_000_000))
    return {"tiles": "/data/tiles.h5"}


@flowcept_task
def fails(x: int) -> None:
    raise ValueError(f"no {x}")


with Flowcept(
    workflow_name="tiling",
    start_persistence=False,
    check_safe_stops=False,
    workflow_args={"survey": "north"},
):
    prepare("/data/survey.sgy")
    with suppress(ValueError):
        fails(1)
    with FlowceptTask(activity_id="training", used={"lr": 0.1, "data": "/data/tiles.h5"}) as training:
        with FlowceptTask(activity_id="epoch", used={"i": 0}, parent_task_id=training._task.task_id) as epoch:
            turns = FlowceptLoop(range(3), loop_name="batch", parent_task_id=epoch._task.task_id)
            for turn in turns:
                turns.end_iter({"loss": 1.0 / (1 + turn)})
            epoch.end(generated={"loss": 0.5, "model": "/models/0.pt"})
        training.end(generated={"accuracy": 0.9})
    light = FlowceptLightweightLoop(range(2), loop_name="light")
    for turn in light:
        light.end_iter({"score": float(turn)})
