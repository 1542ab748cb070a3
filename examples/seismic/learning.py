"""Learning: train, validate and test a stratigraphic classifier (paper, Fig. 7, right, and Algorithm 1).

    python learning.py --data FOLDER --out DIR [--epochs 5] [--batch-size 60] [--learning-rates 0.01,0.001]

Trains once for each learning rate, writes a model after every epoch into `DIR/models/EXECUTION`,
validates the last model of each training, tests the best of these, and prints its path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import commandline
import network
import tiles
import torch
from commandline import HERE, Say

from headstream import capture


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained model and how it did in validation."""

    model: Path
    learning_rate: float
    mean_iou: float
    loss: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the learning and return the exit status."""
    options = _options().parse_args(arguments)
    return commandline.finish("learning", lambda: learn(options, commandline.sayer(options.quiet)))


def learn(options: argparse.Namespace, say: Say) -> Iterator[Path]:
    """One training and one validation for each learning rate, then the test; yields the best model."""
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    with capture.workflow(
        "seismic_train",
        definition=HERE / "learning.yaml",
        execution=commandline.execution(options.execution),
        person=options.person,
        stores=commandline.stores(),
    ) as run:
        folder = options.out / "models" / run.execution
        candidates = []
        for rate in options.learning_rates:
            model = _train(run, options, rate, folder, say)
            measures = _examine(run, options, "validation", "valid", model)
            say(f"  validation: loss {measures.loss:.4f}, mean IoU {measures.mean_iou:.3f}")
            candidates.append(
                Candidate(model=model, learning_rate=rate, mean_iou=measures.mean_iou, loss=measures.loss)
            )
        best = max(candidates, key=lambda candidate: (candidate.mean_iou, -candidate.loss))
        measures = _examine(run, options, "test", "test", best.model)
        say(f"best learning rate: {best.learning_rate}")
        say(f"  test: loss {measures.loss:.4f}, mean IoU {measures.mean_iou:.3f}")
    say("best model:")
    yield best.model


def _train(run: capture.Run, options: argparse.Namespace, rate: float, folder: Path, say: Say) -> Path:
    """Algorithm 1 of the paper for one learning rate; returns the model of the last epoch."""
    train = options.data / "train.h5"
    used = {
        "train_path": capture.file(train, store=options.file_store),
        "batch_size": options.batch_size,
        "max_epochs": options.epochs,
        "learning_rates": capture.as_list(options.learning_rates),
        "learning_rate": rate,
        "seed": options.seed,
        "learning_task": network.TASK,
        "algorithm": f"PyTorch {torch.__version__}: {network.ALGORITHM}",
    }
    with run.task("training", used=used, person=options.person) as step:
        training = network.Training(
            tiles.read_tiles(train), learning_rate=rate, batch_size=options.batch_size, seed=options.seed
        )
        say(f"training with learning rate {rate} on {len(training.inputs)} tiles")
        for epoch in step.loop("epoch", range(options.epochs), index_as="epoch"):
            training.restart()
            for batch in epoch.loop("batch", training.batches(epoch.index), index_as="batch_id"):
                batch.generated(loss=training.learn(batch.item))
            measures = training.measures()
            model = network.save_model(
                folder / f"lr{rate!r}-epoch{epoch.index}.pt",
                training.network,
                learning_rate=rate,
                epoch=epoch.index,
                seed=options.seed,
            )
            epoch.generated(
                loss=measures.loss,
                mean_iou=measures.mean_iou,
                confusion_matrix=measures.confusion.tolist(),
                learning_rate=rate,
                epoch=epoch.index,
                n_parameters=training.network.n_parameters(),
                model_path=capture.file(model, store=options.file_store, checksum="sha256"),
            )
            say(f"  epoch {epoch.index}: loss {measures.loss:.4f}, mean IoU {measures.mean_iou:.3f}")
    return model


def _examine(
    run: capture.Run, options: argparse.Namespace, stage: str, part: str, model: Path
) -> network.Measures:
    """Validate or test a model on its part of the data."""
    path = options.data / f"{part}.h5"
    used = {
        "model_path": capture.file(model, store=options.file_store),
        f"{part}_path": capture.file(path, store=options.file_store),
    }
    with run.task(stage, used=used, person=options.person) as step:
        measures = network.evaluate(network.load_model(model), tiles.read_tiles(path))
        step.generated(
            loss=measures.loss, mean_iou=measures.mean_iou, confusion_matrix=measures.confusion.tolist()
        )
    return measures


def _options() -> argparse.ArgumentParser:
    options = commandline.parser(__doc__.splitlines()[0], person="ml_scientist_lee")
    options.add_argument(
        "--data", type=commandline.absolute, required=True, help="folder with train.h5, valid.h5 and test.h5"
    )
    options.add_argument("--epochs", type=commandline.positive, default=5, help="default: %(default)s")
    options.add_argument(
        "--batch-size", type=commandline.positive, default=60, help="tiles (default: %(default)s)"
    )
    options.add_argument(
        "--learning-rates",
        type=commandline.rates,
        default=(0.01, 0.003, 0.001),
        help="default: 0.01,0.003,0.001",
    )
    options.add_argument("--seed", type=int, default=2019, help="default: %(default)s")
    options.add_argument(
        "--threads", type=commandline.positive, default=2, help="of PyTorch (default: %(default)s)"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
