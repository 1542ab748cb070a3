"""A Hugging Face Trainer's epochs, steps and evaluations are steps, with what it logs at each."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

from headstream import capture
from headstream.capture import Run
from headstream.capture.hooks.transformers import HeadstreamCallback

Steps = Callable[[], dict[str, list[Any]]]


class TinyConfig(PretrainedConfig):
    model_type = "tiny"


class Tiny(PreTrainedModel):
    """One linear layer, made here: nothing is downloaded."""

    config_class = TinyConfig

    def __init__(self, config: TinyConfig, fails_at: int | None = None) -> None:
        super().__init__(config)
        self.layer = nn.Linear(2, 1)
        self.calls, self.fails_at = 0, fails_at
        self.post_init()

    def forward(self, x: Any = None, labels: Any = None, **_: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ValueError("the batch is empty")
        logits = self.layer(x)
        return {"loss": (logits[:, 0] - labels).pow(2).mean(), "logits": logits}


class Points(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.tensor([index / 8, 1.0]), "labels": torch.tensor(index / 4)}


def trainer(folder: Path, told: HeadstreamCallback, fails_at: int | None = None, **more: Any) -> Trainer:
    arguments = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 4,
        "logging_steps": 2,
        "save_strategy": "no",
        **more,
    }
    settings = TrainingArguments(
        output_dir=str(folder), report_to=[], disable_tqdm=True, use_cpu=True, **arguments
    )
    return Trainer(
        model=Tiny(TinyConfig(), fails_at),
        args=settings,
        train_dataset=Points(),
        eval_dataset=Points(),
        callbacks=[told],
    )


def test_epochs_steps_and_what_is_logged_are_told(run: Run, steps: Steps, tmp_path: Path) -> None:
    with HeadstreamCallback(run) as told:
        trainer(tmp_path, told, learning_rate=0.01).train()
    found = steps()
    (fit,) = found["fit"]
    assert {
        "learning_rate": 0.01,
        "num_train_epochs": 2,
        "module": "Tiny",
        "model_type": "tiny",
        "parameters": 3,
        "batch_size": 2,
        "dataset_length": 8,
    }.items() <= fit.used.items()
    assert "optimizer" in fit.used and not any("token" in name for name in fit.used)
    epochs, turns = found["training_epoch"], found["training_step"]
    assert [e.used for e in epochs] == [{"epoch": 0}, {"epoch": 1}]
    assert [t.used for t in turns] == [{"step": n} for n in range(8)]
    assert [t.parent for t in turns] == [epochs[n // 4].step for n in range(8)]
    assert [set(t.generated) >= {"loss", "grad_norm", "learning_rate"} for t in turns] == [False, True] * 4
    assert "train_runtime" in fit.generated and fit.generated["global_step"] == [8]
    assert {s.outcome for each in found.values() for s in each} == {"FINISHED"}
    assert capture.losses() == {}


def test_evaluations_and_checkpoints_belong_to_their_epoch(run: Run, steps: Steps, tmp_path: Path) -> None:
    settings = {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "load_best_model_at_end": True,
    }
    with HeadstreamCallback(run, store="disk") as told:
        trainer(tmp_path, told, **settings).train()
    found = steps()
    epochs, evaluations = found["training_epoch"], found["evaluation"]
    assert [e.parent for e in evaluations] == [e.step for e in epochs]
    assert all(e.generated["batches"] == [2] and "eval_loss" in e.generated for e in evaluations)
    assert [e.generated["checkpoint"] for e in epochs] == [
        [str(tmp_path / f"checkpoint-{n}")] for n in (4, 8)
    ]
    assert all("loss" in e.generated and "eval_loss" not in e.generated for e in epochs)
    best = found["fit"][0].generated["best_checkpoint"][0]
    assert Path(best).is_dir() and capture.warnings() == {} == capture.losses()


def test_evaluation_and_prediction_alone_are_steps_of_the_run(run: Run, steps: Steps, tmp_path: Path) -> None:
    with HeadstreamCallback(run) as told:
        made = trainer(tmp_path, told)
        made.evaluate()
        made.predict(Points())  # type: ignore[arg-type]
    evaluations = steps()["evaluation"]
    assert [e.parent for e in evaluations] == [None, None]
    assert ["eval_loss" in e.generated for e in evaluations] == [True, False]
    assert "test_loss" in evaluations[1].generated


def test_a_training_that_fails_fails_as_before_and_its_steps_say_so(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the batch is empty"), HeadstreamCallback(run) as told:
        trainer(tmp_path, told, fails_at=6).train()
    found = steps()
    failed = [found["fit"][0], found["training_epoch"][1], found["training_step"][5]]
    assert {(s.outcome, s.error) for s in failed} == {("ERRORED", "ValueError: the batch is empty")}


def test_a_training_that_follows_one_that_failed_closes_it(run: Run, steps: Steps, tmp_path: Path) -> None:
    told = HeadstreamCallback(run)
    with pytest.raises(ValueError, match="the batch is empty"):
        trainer(tmp_path, told, fails_at=2).train()
    trainer(tmp_path, told).train()
    assert [(s.outcome, s.error) for s in steps()["fit"]] == [
        ("ERRORED", "left before its end"),
        ("FINISHED", None),
    ]


def test_a_fault_of_the_hook_never_stops_a_training(
    run: Run, tmp_path: Path, internal_errors: list[BaseException]
) -> None:
    told = HeadstreamCallback(run)
    told._nest.begin = told._nest.turn = None  # type: ignore[union-attr, method-assign, assignment]
    assert trainer(tmp_path, told).train().global_step == 8
    assert internal_errors and capture.losses() == {"internal-hook-transformers": len(internal_errors)}
    internal_errors.clear()


def test_a_copy_tells_nothing_and_counts_it(run: Run, steps: Steps, tmp_path: Path) -> None:
    copied = pickle.loads(pickle.dumps(HeadstreamCallback(run)))
    trainer(tmp_path, copied, num_train_epochs=1).train()
    assert steps() == {} and capture.warnings() == {"hook-copied": 1}
