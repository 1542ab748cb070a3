"""FlowCept 1.0.3 at its cheapest (see FLOWCEPT in load_tests/peers.py), by five of its ways to say a turn."""

import sys
import time

from stopwatch import Stopwatch, busy

# Only the survival test needs these two: where they are there, stop() spends 0.2 s on importing them.
sys.modules.update({"pandas": None, "lmdb": None})  # type: ignore[dict-item]
watch = Stopwatch()
from flowcept import Flowcept, FlowceptTask  # noqa: E402

if watch.case != "import":
    from flowcept.flowceptor.adapters.instrumentation_interceptor import InstrumentationInterceptor
    from flowcept.instrumentation.flowcept_loop import FlowceptLightweightLoop, FlowceptLoop
watch.imported()


def light() -> None:
    """One record a turn, without times."""
    for _ in range(watch.epochs):
        turns = FlowceptLightweightLoop(range(watch.batches), loop_name="batch")
        for b in turns:
            turns.end_iter({"loss": 1 / (b + 1)})


def light4() -> None:
    for _ in range(watch.epochs):
        turns = FlowceptLightweightLoop(range(watch.batches), loop_name="batch")
        for b in turns:
            turns.end_iter({"loss": 1 / (b + 1), "accuracy": 0.5 + b, "rate": 0.01, "norm": 2.0 * b})


def loop() -> None:
    """One record a turn, with its start."""
    for _ in range(watch.epochs):
        turns = FlowceptLoop(range(watch.batches), loop_name="batch")
        for b in turns:
            turns.end_iter({"loss": 1 / (b + 1)})


def loop4() -> None:
    for _ in range(watch.epochs):
        turns = FlowceptLoop(range(watch.batches), loop_name="batch")
        for b in turns:
            turns.end_iter({"loss": 1 / (b + 1), "accuracy": 0.5 + b, "rate": 0.01, "norm": 2.0 * b})


# Two records a turn, put into its buffer by hand: the floor for two events, below its public classes.
def raw() -> None:
    interceptor, workflow = InstrumentationInterceptor.get_instance(), Flowcept.current_workflow_id
    for e in range(watch.epochs):
        for b in range(watch.batches):
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "started_at": time.time(),
                    "used": {"batch": b},
                }
            )
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "ended_at": time.time(),
                    "generated": {"loss": 1 / (b + 1)},
                }
            )


def raw4() -> None:
    interceptor, workflow = InstrumentationInterceptor.get_instance(), Flowcept.current_workflow_id
    for e in range(watch.epochs):
        for b in range(watch.batches):
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "started_at": time.time(),
                    "used": {"batch": b},
                }
            )
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "ended_at": time.time(),
                    "generated": {"loss": 1 / (b + 1), "accuracy": 0.5 + b, "rate": 0.01, "norm": 2.0 * b},
                }
            )


def raw_step() -> None:
    interceptor, workflow = InstrumentationInterceptor.get_instance(), Flowcept.current_workflow_id
    for e in range(watch.epochs):
        for b in range(watch.batches):
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "started_at": time.time(),
                    "used": {"batch": b, "rate": 0.01, "data": "train.h5"},
                }
            )
            interceptor.intercept(
                {
                    "type": "task",
                    "workflow_id": workflow,
                    "activity_id": "batch",
                    "task_id": f"{e}.{b}",
                    "ended_at": time.time(),
                    "generated": {"loss": 1 / (b + 1), "model": "model.pt"},
                }
            )


def pace() -> None:
    interceptor, workflow = InstrumentationInterceptor.get_instance(), Flowcept.current_workflow_id

    def turns(count: int) -> None:
        for b in range(count):
            start = {"type": "task", "workflow_id": workflow, "activity_id": "batch", "task_id": str(b)}
            interceptor.intercept({**start, "started_at": time.time(), "used": {"batch": b}})
            busy(watch.work)
            interceptor.intercept({**start, "ended_at": time.time(), "generated": {"loss": 1 / (b + 1)}})

    watch.pairs(turns)


def task() -> None:
    """One record a step, with start and end, by its context manager."""
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            used = {"batch": b, "rate": 0.01, "data": "train.h5"}
            with FlowceptTask(activity_id="train", used=used) as step:
                step.end(generated={"loss": 1 / (b + 1), "model": "model.pt"})


def send() -> None:
    """Two records a step, as the paper has two events."""
    for e in range(watch.epochs):
        for b in range(watch.batches):
            name = f"{e}.{b}"
            used = {"batch": b, "rate": 0.01, "data": "train.h5"}
            FlowceptTask(task_id=name, activity_id="train", used=used).send()
            # With `generated` the constructor ends and sends by itself.
            FlowceptTask(
                task_id=name, activity_id="train", generated={"loss": 1 / (b + 1), "model": "model.pt"}
            )


BODIES = {
    ("loop", "light"): light,
    ("loop4", "light"): light4,
    ("loop", "loop"): loop,
    ("loop4", "loop"): loop4,
    ("loop", "raw"): raw,
    ("loop4", "raw"): raw4,
    ("step", "raw"): raw_step,
    ("pace", "raw"): pace,
    ("step", "task"): task,
    ("step", "send"): send,
}
if watch.case != "import":
    flowcept = Flowcept(
        workflow_name="cost", start_persistence=False, check_safe_stops=False, save_workflow=False
    ).start()
    body = BODIES[watch.case, watch.mode]
    if watch.case == "pace":
        body()
    else:
        watch.begin()
        body()
        watch.looped()
    flowcept.stop()
