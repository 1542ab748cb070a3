"""The same loops without any capture."""

from stopwatch import Stopwatch, busy

watch = Stopwatch()
watch.imported()


def loop() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            loss = 1 / (b + 1)  # noqa: F841


def loop4() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            loss, accuracy, rate, norm = 1 / (b + 1), 0.5 + b, 0.01, 2.0 * b  # noqa: F841


def step() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            used = {"batch": b, "rate": 0.01, "data": "train.h5"}  # noqa: F841
            generated = {"loss": 1 / (b + 1), "model": "model.pt"}  # noqa: F841


def turns(count: int) -> None:
    for _ in range(count):
        busy(watch.work)


def pace() -> None:
    """Twice the same: shows how much of a difference is noise."""
    watch.pairs(turns)


if watch.case == "pace":
    pace()
elif watch.case != "import":
    watch.begin()
    {"loop": loop, "loop4": loop4, "step": step}[watch.case]()
    watch.looped()
