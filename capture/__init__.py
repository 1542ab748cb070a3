"""Capture the provenance of a script while it runs; nothing here can raise into it or slow it.

    from headstream import capture

    with capture.workflow("train_model", definition="train.yaml") as run:
        with run.task("training", used={"learning_rate": 0.01, "data": capture.file("train.h5")}) as training:
            for epoch in training.loop("epoch", range(10), index_as="epoch"):
                epoch.generated(loss=train(epoch.item))
            training.generated(model=capture.file("model.pt"))

Importing reads nothing and starts nothing.
"""

from headstream.capture.decorators import task
from headstream.capture.errors import losses, warnings
from headstream.capture.iteration import Iteration
from headstream.capture.joining import attach
from headstream.capture.loop import Loop
from headstream.capture.place import current
from headstream.capture.references import as_dict, as_list, file, metadata, reference, resource
from headstream.capture.run import Run, workflow
from headstream.capture.settings import Settings
from headstream.capture.step import Step

__all__ = [
    "Iteration",
    "Loop",
    "Run",
    "Settings",
    "Step",
    "as_dict",
    "as_list",
    "attach",
    "current",
    "file",
    "losses",
    "metadata",
    "reference",
    "resource",
    "task",
    "warnings",
    "workflow",
]
