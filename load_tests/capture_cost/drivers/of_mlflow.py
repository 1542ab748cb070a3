"""MLflow with its file store: metrics of a turn, or a nested run with parameters and metrics."""

from stopwatch import Stopwatch

watch = Stopwatch()
import mlflow  # noqa: E402

watch.imported()


def loop() -> None:
    for e in range(watch.epochs):
        for b in range(watch.batches):
            mlflow.log_metric("loss", 1 / (b + 1), step=e * watch.batches + b)


def loop4() -> None:
    for e in range(watch.epochs):
        for b in range(watch.batches):
            values = {"loss": 1 / (b + 1), "accuracy": 0.5 + b, "rate": 0.01, "norm": 2.0 * b}
            mlflow.log_metrics(values, step=e * watch.batches + b)


def step() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            with mlflow.start_run(nested=True):
                mlflow.log_params({"batch": b, "rate": 0.01, "data": "train.h5"})
                mlflow.log_metric("loss", 1 / (b + 1))
                mlflow.set_tag("model", "model.pt")


if watch.case != "import":
    mlflow.set_experiment("cost")
    with mlflow.start_run():
        watch.begin()
        {"loop": loop, "loop4": loop4, "step": step}[watch.case]()
        watch.looped()
