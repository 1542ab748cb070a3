"""Hugging Face Transformers: a callback that tells what a Trainer does as steps.

    with HeadstreamCallback(run) as told:
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[told]).train()

| step | inside | used | generated |
|---|---|---|---|
| `fit` | the run | arguments, module, optimizer, loader | summary of the training |
| `training_epoch` (`epoch`) | `fit` | | what is logged at its end, checkpoints |
| `training_step` (`step`) | `training_epoch` | | what is logged at it |
| `evaluation` | the epoch, or the run | | metrics, `batches` |

A training step is one of the optimizer, so it may take several batches. An epoch ends when the
next begins, so that it holds the evaluation and the checkpoint that follow it. The Trainer does
not say when an evaluation or a prediction begins, nor which of them: both are an `evaluation`, told
from the end of its first batch.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from headstream.capture import Run, Step, file, metadata
from headstream.capture.hooks.nest import Nest
from headstream.capture.hooks.shield import need, shielded, warn
from headstream.capture.hooks.torch import loader_facts, module_facts, optimizer_facts, torch

transformers = need("transformers", "transformers accelerate")

Callback: Any = transformers.TrainerCallback
FIT, EPOCH, STEP = "fit", "training_epoch", "training_step"
EVALUATION = "evaluation"
_ROUNDING = 1e-6  # An epoch is counted in fractions, summed over its steps.
# What of the arguments decides the result. Never all of them: tokens are among them.
_ARGUMENTS = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "bf16",
    "data_seed",
    "eval_strategy",
    "fp16",
    "full_determinism",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "label_smoothing_factor",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "num_train_epochs",
    "optim",
    "output_dir",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
    "seed",
    "warmup_ratio",
    "warmup_steps",
    "weight_decay",
)


class HeadstreamCallback(Callback):  # type: ignore[misc]
    """Tells what a Trainer does as steps inside a run or step. One callback for one trainer at a time.

    A Trainer does not tell its callbacks when it fails: use this one with `with`, or `close` it.
    A copy, as a spawned process gets one, tells nothing and counts a warning.
    """

    def __init__(self, inside: Run | Step | None, *, store: str | None = None) -> None:
        self._nest = None if inside is None else Nest(inside)
        self._store = store
        self._batches = 0

    def __reduce__(self) -> tuple[Any, ...]:
        warn("hook-copied", "a copy of a HeadstreamCallback tells nothing")
        return type(self), (None,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    @shielded("transformers")
    def close(self, error: BaseException | None = None) -> None:
        """End what is still open, as failed if an error is given."""
        if self._nest is not None:
            self._nest.close(error)

    @shielded("transformers")
    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is not None:
            self._nest.close("left before its end")
            self._nest.begin(FIT, _training(args, more))

    @shielded("transformers")
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is not None:
            self._nest.turn(EPOCH, "epoch", int((state.epoch or 0) + _ROUNDING))

    @shielded("transformers")
    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is not None:
            self._nest.turn(STEP, "step", int(state.global_step))

    @shielded("transformers")
    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        # What is logged next belongs to this step: only then it is left open for it.
        if self._nest is not None and not control.should_log:
            self._nest.end_turn(STEP)

    @shielded("transformers")
    def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is not None:
            self._nest.leave(STEP)

    @shielded("transformers")
    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any
    ) -> None:
        # The metrics of an evaluation come again, with `on_evaluate`.
        if self._nest is None or not self._nest.within(FIT) or self._nest.within(EVALUATION):
            return
        told = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        if "train_runtime" in told:  # The summary of a training that has ended.
            self._nest.leave(EPOCH)
        self._nest.here.generated(**told)
        self._nest.end_turn(STEP)

    @shielded("transformers")
    def on_prediction_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is None:
            return
        if not self._nest.within(EVALUATION):
            self._nest.end_turn(STEP)
            self._nest.begin(EVALUATION)
            self._batches = 0
        self._batches += 1

    @shielded("transformers")
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **more: Any
    ) -> None:
        self._end_evaluation(metrics)

    @shielded("transformers")
    def on_predict(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **more: Any) -> None:
        self._end_evaluation(metrics)

    @shielded("transformers")
    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is None or not state.is_world_process_zero:
            return
        self._nest.end_turn(STEP)
        path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if os.path.isdir(path):
            facts = {"step": int(state.global_step), "epoch": state.epoch}
            self._nest.here.generated(checkpoint=metadata(file(path, store=self._store), **facts))
        else:
            warn("checkpoint-not-found", path)

    @shielded("transformers")
    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._nest is None or not self._nest.within(FIT):
            return
        self._nest.leave(EPOCH)
        best = {"best_metric": state.best_metric} if state.best_metric is not None else {}
        if state.best_model_checkpoint:
            best["best_checkpoint"] = file(state.best_model_checkpoint, store=self._store)
        self._nest.here.generated(global_step=int(state.global_step), **best)
        self._nest.leave(FIT)

    def _end_evaluation(self, metrics: dict[str, Any] | None) -> None:
        if self._nest is None:
            return
        if not self._nest.within(EVALUATION):  # It had no batch.
            self._nest.begin(EVALUATION)
            self._batches = 0
        told = {name: value for name, value in (metrics or {}).items() if name != "epoch"}
        self._nest.here.generated(batches=self._batches, **told)
        self._nest.leave(EVALUATION)


def _training(args: Any, more: dict[str, Any]) -> dict[str, Any]:
    given = {name: getattr(args, name, None) for name in _ARGUMENTS}
    facts = {name: value for name, value in given.items() if value is not None}
    facts["transformers_version"] = transformers.__version__
    if more.get("model") is not None:
        facts.update(module_facts(more["model"]))
        config = getattr(more["model"], "config", None)
        if config is not None:
            facts["model_type"] = getattr(config, "model_type", None)
            facts["model_name"] = getattr(config, "_name_or_path", None) or None
    if more.get("optimizer") is not None:
        facts.update(optimizer_facts(more["optimizer"]))
    if isinstance(more.get("train_dataloader"), torch.utils.data.DataLoader):
        facts.update(loader_facts(more["train_dataloader"]))
    return {name: value for name, value in facts.items() if value is not None}
