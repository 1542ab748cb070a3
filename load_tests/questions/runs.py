"""What the paper's training says while it runs: the events of one run of 300 epochs of 35 batches.

Every run is trained on the dataset of the worked example (`/input/train.hdf5`): the worst case for the
questions that begin at a dataset. Times, losses and the few slow batches differ from run to run and are
the same each time a run is made.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from headstream.capture.totals import LEAST, OpenStep, Totals
from headstream.schemas.definition import Definition
from headstream.schemas.events import (
    Bag,
    Column,
    Context,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    RunEnded,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
)
from headstream.schemas.values import AttributeValue, Json, Reference
from headstream.schemas.vocabulary import FINISHED

WORKFLOW: Final = "seismic_train"
EPOCHS: Final = 300
BATCHES: Final = 35
DATASET: Final = Reference(text="/input/train.hdf5", store="gpfs1")
TRAINING: Final = StepRef("training", "0")
SETTINGS: Final = (
    AttributeValue("batch_size", 60),
    AttributeValue("max_epochs", EPOCHS),
    AttributeValue("learning_rates", Json("[0.01,0.001]")),
    AttributeValue("learning_task", "Seismic Stratigraphic Classification"),
    AttributeValue("algorithm", "PyTorch 1.1 convolutional network"),
)
# Around every epoch: what its model derives from, and under which settings.
AROUND: Final = Scope(
    enclosing=(
        Enclosing(
            TRAINING,
            (Holding("train_path", DATASET), *(Holding(setting.name) for setting in SETTINGS)),
        ),
    )
)
_FIRST: Final = 1_560_300_000_000_000  # Two days after the runs of the worked example.
_HOUR: Final = 3_600_000_000
_BATCH: Final = 110_000  # The paper's run takes 21.3 minutes.
_SLOW: Final = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many turns the loops of a run have."""

    epochs: int = EPOCHS
    batches: int = BATCHES

    @property
    def triples(self) -> int:
        """How many triples a run adds: 53 for it and its training, 47 an epoch and its model, 20 a batch,
        and 7 for what the batches of an epoch came to, where that is told (totals.py of capture)."""
        totals = 7 if self.batches >= LEAST else 0
        return 53 + self.epochs * (47 + totals + 20 * self.batches)


def execution(number: int) -> str:
    """The id of a run."""
    return f"paper-{number:04d}"


def model(number: int, epoch: int) -> Reference:
    """The file of the model that an epoch of a run leaves behind."""
    path = f"/models/{execution(number)}/model{epoch:03d}.hdf5"
    return Reference(text=path, store="gpfs1", checksum=f"crc32:{number * EPOCHS + epoch:08x}")


def bags(number: int, definition: Definition, shape: Shape) -> Iterator[Bag]:
    """A run from its start to its end, one bag an epoch."""
    chance = random.Random(number)
    begun = _FIRST + number * _HOUR
    moment = begun + 2_000_000
    yield _bag(number, definition, (_training_started(moment),))
    for epoch in range(shape.epochs):
        events, moment = _epoch(number, epoch, moment + 50_000, shape, chance)
        yield _bag(number, definition, events)
    yield _bag(number, definition, tuple(_ends(number, begun, moment)))


def _bag(number: int, definition: Definition, events: tuple[Event, ...]) -> Bag:
    return Bag(
        workflow=WORKFLOW, execution=execution(number), definition=definition.content_hash, events=events
    )


def _training_started(moment: int) -> StepStarted:
    return StepStarted(
        step=TRAINING,
        registered=_FIRST,
        started=moment,
        person="ml_scientist_lee",
        values=(AttributeValue("train_path", DATASET), *SETTINGS),
    )


def _epoch(
    number: int, epoch: int, begun: int, shape: Shape, chance: random.Random
) -> tuple[tuple[Event, ...], int]:
    """The batches of an epoch as one block, its end with the model, and when that was."""
    step = StepRef("epoch", f"0.{epoch}")
    turns = tuple(range(shape.batches))
    seconds = [_BATCH * chance.uniform(0.9, 1.2) * (4 if chance.random() < _SLOW else 1) for _ in turns]
    ended = tuple(round(begun + 1_000 + spent) for spent in accumulate(seconds))
    loss = round(2.0 / (epoch + 2) * chance.uniform(0.8, 1.2), 6)
    block = IterationBlock(
        transformation="batch",
        parent=step,
        prefix=f"0.{epoch}.",
        index_attribute="batch_id",
        ordinals=turns,
        index=turns,
        started=(begun + 1_000, *ended[:-1]),
        ended=ended,
        columns=(Column("loss", tuple(round(loss * chance.uniform(0.9, 1.1), 6) for _ in turns)),),
        enclosing=AROUND.enclosing,
    )
    end = StepEnded(
        step=step,
        parent=TRAINING,
        cycle=True,
        iteration=epoch,
        started=begun,
        ended=ended[-1] + 400_000,
        outcome=FINISHED,
        values=(
            AttributeValue("loss", loss),
            AttributeValue("mean_iou", round(1 - loss * 0.9, 6)),
            AttributeValue("learning_rate", 0.01 if epoch < 150 else 0.001),
            AttributeValue("epoch", epoch),
            AttributeValue("model_path", model(number, epoch)),
        ),
        scope=AROUND,
    )
    totals = Totals([OpenStep(TRAINING), OpenStep(step)])
    return (totals.told(block), totals.told(end)), end.ended


def _ends(number: int, begun: int, moment: int) -> Iterator[Event]:
    first = number * 4 % 32
    yield StepEnded(
        step=TRAINING,
        started=begun + 2_000_000,
        ended=moment + 1_000_000,
        outcome=FINISHED,
        context=Context(
            peak_memory_bytes=48_000_000_000 + number,
            cpu_seconds=8200.5,
            gpu_seconds=1178.25,
            gpu_peak_memory_bytes=15_000_000_000,
        ),
    )
    yield RunEnded(
        started=begun,
        ended=moment + 2_000_000,
        outcome=FINISHED,
        context=Context(
            cluster="learning",
            job=str(900_000 + number),
            hosts=tuple(f"n{node:02d}" for node in range(first, first + 4)),
        ),
    )
