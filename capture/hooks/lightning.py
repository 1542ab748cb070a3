"""Lightning: a callback that tells fit, validation, test and prediction as steps.

    with HeadstreamCallback(run) as told:
        Trainer(callbacks=[told]).fit(model, loader)

| step | inside | used | generated |
|---|---|---|---|
| `fit` | the run | trainer, module, optimizer, loader, hyperparameters | |
| `training_epoch` (`epoch`) | `fit` | `lr` at its beginning | metrics, checkpoints |
| `training_batch` (`batch`) | `training_epoch` | | what `training_step` returns in scalars |
| `validation`, `test`, `prediction` | the epoch, or the run | | metrics |
| `validation_batch`, `test_batch`, `prediction_batch` (`batch`) | these | | |

An epoch ends when the next begins, so that it holds the checkpoint that follows it. The sanity
check before a fit is left out.
"""

from __future__ import annotations

import functools
import os
from types import TracebackType
from typing import Any, Self

from headstream.capture import Run, Step, file, metadata
from headstream.capture.hooks.nest import Nest
from headstream.capture.hooks.shield import need, shielded, warn
from headstream.capture.hooks.torch import (
    learning_rate,
    loader_facts,
    module_facts,
    optimizer_facts,
    scheduler_facts,
    torch,
)

lightning = need("lightning.pytorch", "lightning")

Callback: Any = lightning.Callback
FIT, EPOCH, BATCH = "fit", "training_epoch", "training_batch"
VALIDATION, TEST, PREDICTION = "validation", "test", "prediction"


class HeadstreamCallback(Callback):  # type: ignore[misc]
    """Tells what a Trainer does as steps inside a run or step. One callback for one trainer at a time.

    A copy, as a spawned process gets one, tells nothing and counts a warning: launch processes
    that each begin a run (`strategy="ddp"`).
    """

    def __init__(self, inside: Run | Step | None, *, store: str | None = None) -> None:
        super().__init__()
        self._nest = None if inside is None else Nest(inside)
        self._store = store
        self._since: dict[str, dict[str, Any]] = {}  # Metrics as they were when a step began.
        self._validated: set[str] = set()  # Their names, where a validation told them.
        self._strategy: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        warn("hook-copied", "a copy of a HeadstreamCallback tells nothing")
        return type(self), (None,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    @shielded("lightning")
    def close(self, error: BaseException | None = None) -> None:
        """End what is still open, as failed if an error is given."""
        self._unwatch()
        if self._nest is not None:
            self._nest.close(error)

    @shielded("lightning")
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._unwatch()
        if self._nest is not None:
            self._watch(trainer)

    @shielded("lightning")
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._unwatch()

    @shielded("lightning")
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.close(exception)

    @shielded("lightning")
    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self._nest is not None:
            self._nest.close("left before its end")
            self._nest.begin(FIT, {**_trainer(trainer), **_hyperparameters(pl_module)})

    @shielded("lightning")
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self._nest is not None:
            self._nest.here.used(**_training(trainer, pl_module))  # type: ignore[union-attr]

    @shielded("lightning")
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self._nest is not None:
            self._end_epoch(trainer)
            self._since[EPOCH], self._validated = dict(trainer.callback_metrics), set()
            turn = self._nest.turn(EPOCH, "epoch", int(trainer.current_epoch))
            for optimizer in trainer.optimizers[:1]:
                turn.used(**learning_rate(optimizer))

    @shielded("lightning")
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._nest is not None:
            self._nest.turn(BATCH, "batch", batch_idx)

    @shielded("lightning")
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        turn = None if self._nest is None else self._nest.current(BATCH)
        if self._nest is not None and turn is not None:
            turn.generated(**_scalars(outputs))
            self._nest.end_turn(BATCH)

    @shielded("lightning")
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._nest is not None:
            self._end_epoch(trainer)
            self._nest.leave(EPOCH)

    @shielded("lightning")
    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self._nest is not None:
            self._nest.leave(FIT)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(VALIDATION, trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(VALIDATION, batch_idx, dataloader_idx)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._end_batch(VALIDATION)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._end(VALIDATION, trainer)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(TEST, trainer, pl_module)

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(TEST, batch_idx, dataloader_idx)

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self._end_batch(TEST)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._end(TEST, trainer)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(PREDICTION, trainer, pl_module)

    def on_predict_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(PREDICTION, batch_idx, dataloader_idx)

    def on_predict_batch_end(self, *_: Any, **__: Any) -> None:
        self._end_batch(PREDICTION)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._end(PREDICTION, trainer)

    @shielded("lightning")
    def _begin(self, name: str, trainer: Any, pl_module: Any) -> None:
        if self._nest is None or trainer.sanity_checking:
            return
        if not self._nest.within(EPOCH):
            self._nest.close("left before its end")
            self._nest.begin(name, {"module": type(pl_module).__name__, **_trainer(trainer)})
        else:
            self._nest.begin(name)
        self._since[name] = dict(trainer.callback_metrics)

    @shielded("lightning")
    def _batch(self, name: str, batch: int, loader: int) -> None:
        if self._nest is not None and self._nest.within(name):
            turn = self._nest.turn(f"{name}_batch", "batch", batch)
            if loader:
                turn.used(loader=loader)

    @shielded("lightning")
    def _end_batch(self, name: str) -> None:
        if self._nest is not None:
            self._nest.end_turn(f"{name}_batch")

    @shielded("lightning")
    def _end(self, name: str, trainer: Any) -> None:
        if self._nest is None or not self._nest.within(name):
            return
        self._nest.leave(f"{name}_batch")
        metrics = self._fresh(trainer, name)
        self._validated.update(metrics)
        self._nest.here.generated(**metrics)
        self._nest.leave(name)

    def _end_epoch(self, trainer: Any) -> None:
        turn = None if self._nest is None else self._nest.current(EPOCH)
        if self._nest is None or turn is None:
            return
        self._nest.leave(BATCH)
        fresh = self._fresh(trainer, EPOCH)
        metrics = {name: value for name, value in fresh.items() if name not in self._validated}
        turn.generated(**metrics)
        self._nest.end_turn(EPOCH)

    def _fresh(self, trainer: Any, name: str) -> dict[str, Any]:
        """Metrics that were logged since a step began; Lightning keeps older ones as they were."""
        before, now = self._since.pop(name, {}), dict(trainer.callback_metrics)
        fresh = {each: value for each, value in now.items() if value is not before.get(each)}
        return {each: value.item() for each, value in fresh.items() if value.numel() == 1}

    def _watch(self, trainer: Any) -> None:
        """See each checkpoint where every one of them is written: by the trainer's strategy."""
        strategy, save = trainer.strategy, trainer.strategy.save_checkpoint

        @functools.wraps(save)
        def watched(checkpoint: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
            result = save(checkpoint, filepath, *args, **kwargs)
            if trainer.is_global_zero:
                self._saved(os.fspath(filepath), trainer)
            return result

        strategy.save_checkpoint = watched
        self._strategy = strategy

    def _unwatch(self) -> None:
        strategy, self._strategy = self._strategy, None
        if strategy is not None:
            vars(strategy).pop("save_checkpoint", None)  # The method of its class comes forward again.

    @shielded("lightning")
    def _saved(self, path: str, trainer: Any) -> None:
        if self._nest is not None:
            facts: dict[str, Any] = {"epoch": int(trainer.current_epoch), "step": int(trainer.global_step)}
            if os.path.isfile(path):
                facts["bytes"] = os.path.getsize(path)
            told = self._nest.current(EPOCH) or self._nest.here
            told.generated(checkpoint=metadata(file(path, store=self._store), **facts))


def _trainer(trainer: Any) -> dict[str, Any]:
    return {
        "max_epochs": trainer.max_epochs,
        "max_steps": trainer.max_steps,
        "accelerator": type(trainer.accelerator).__name__,
        "strategy": type(trainer.strategy).__name__,
        "devices": int(trainer.num_devices),
        "nodes": int(trainer.num_nodes),
        "precision": str(trainer.precision),
        "lightning_version": lightning.__version__,
    }


def _hyperparameters(module: Any) -> dict[str, Any]:
    """What the module has saved of its own arguments, by `save_hyperparameters`."""
    with shielded("lightning"):
        return {str(name): value for name, value in dict(getattr(module, "hparams", {})).items()}
    return {}


def _training(trainer: Any, module: Any) -> dict[str, Any]:
    facts = {f"module_{k}" if k == "devices" else k: v for k, v in module_facts(module).items()}
    for optimizer in trainer.optimizers[:1]:
        facts.update(optimizer_facts(optimizer))
    for config in trainer.lr_scheduler_configs[:1]:
        facts.update(scheduler_facts(config.scheduler))
    loader = trainer.train_dataloader
    return {**facts, **loader_facts(loader)} if isinstance(loader, torch.utils.data.DataLoader) else facts


def _scalars(outputs: Any) -> dict[str, Any]:
    """The scalars of a step's outputs; capture holds one on an accelerator until nobody waits for it."""
    given = outputs if isinstance(outputs, dict) else {"loss": outputs}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            found[str(name)] = value.item() if value.device.type == "cpu" else value
        elif isinstance(value, (bool, int, float)):
            found[str(name)] = value
    return found
