"""headstream.capture by its public face; the settings come from HEADSTREAM_* variables."""

from stopwatch import Stopwatch, busy

watch = Stopwatch()
from headstream import capture  # noqa: E402

watch.imported()


def loop(training: capture.Step) -> None:
    for _ in range(watch.epochs):
        for batch in training.loop("batch", range(watch.batches)):
            batch.generated(loss=1 / (batch.index + 1))


def loop4(training: capture.Step) -> None:
    for _ in range(watch.epochs):
        for batch in training.loop("batch", range(watch.batches)):
            b = batch.index
            batch.generated(loss=1 / (b + 1), accuracy=0.5 + b, rate=0.01, norm=2.0 * b)


def epochs(training: capture.Step) -> None:
    """As Algorithm 1 of the paper: the epochs are steps too, around their batches."""
    for epoch in training.loop("epoch", range(watch.epochs), index_as="epoch"):
        for batch in epoch.loop("batch", range(watch.batches)):
            batch.generated(loss=1 / (batch.index + 1))
        epoch.generated(loss=0.5)


def step(training: capture.Step) -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            with training.task("train", used={"batch": b, "rate": 0.01, "data": "train.h5"}) as step:
                step.generated(loss=1 / (b + 1), model="model.pt")


def pace(training: capture.Step) -> None:
    def turns(count: int) -> None:
        for batch in training.loop("batch", range(count)):
            busy(watch.work)
            batch.generated(loss=1 / (batch.index + 1))

    watch.pairs(turns)


if watch.case != "import":
    body = {"loop": loop, "loop4": loop4, "step": step, "pace": pace}[watch.case]
    if watch.mode == "epochs":
        body = epochs
    with capture.workflow("cost") as run, run.task("training") as training:
        if watch.case == "pace":
            pace(training)
        else:
            watch.begin()
            body(training)
            watch.looped()
