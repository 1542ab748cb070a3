"""OpenTelemetry: a span a turn, exported in batches as JSON lines into a file."""

from stopwatch import Stopwatch

watch = Stopwatch()
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: E402

watch.imported()


def loop() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            with tracer.start_as_current_span("batch") as span:
                span.set_attribute("loss", 1 / (b + 1))


def loop4() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            with tracer.start_as_current_span("batch") as span:
                span.set_attributes({"loss": 1 / (b + 1), "accuracy": 0.5 + b, "rate": 0.01, "norm": 2.0 * b})


def step() -> None:
    for _ in range(watch.epochs):
        for b in range(watch.batches):
            used = {"batch": b, "rate": 0.01, "data": "train.h5"}
            with tracer.start_as_current_span("train", attributes=used) as span:
                span.set_attributes({"loss": 1 / (b + 1), "model": "model.pt"})


if watch.case != "import":
    with open("spans.jsonl", "w") as out:
        exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
        provider = TracerProvider()
        # The default queue of 2,048 would drop most of these spans; this one keeps them.
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1 << 20))
        tracer = provider.get_tracer("cost")
        watch.begin()
        {"loop": loop, "loop4": loop4, "step": step}[watch.case]()
        watch.looped()
        provider.shutdown()
