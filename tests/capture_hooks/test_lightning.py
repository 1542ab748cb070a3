"""A Lightning Trainer's epochs and batches are steps, its metrics and checkpoints what they generated."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstream import capture
from headstream.capture import Run
from headstream.capture.hooks.lightning import HeadstreamCallback, _scalars

Steps = Callable[[], dict[str, list[Any]]]
pytestmark = [
    # Advice of Lightning's, and a call of its own that torch deprecates: none of it is ours to heed.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
]


class Net(pl.LightningModule):
    def __init__(self, width: int = 2, fails_at: int | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(width, 1)
        self.fails_at = fails_at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == self.fails_at:
            raise ValueError("the batch is empty")
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("last_loss", loss)
        return {"loss": loss, "seen": torch.tensor(len(batch[0]))}

    def on_train_epoch_end(self) -> None:
        self.log("late", float(self.current_epoch))

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.layer(batch[0]).pow(2).mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.layer(batch[0]).pow(2).mean())

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch[0])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)]


def loader(count: int = 6) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(count, 2)), batch_size=2)


def trainer(folder: Path, *callbacks: Any, **settings: Any) -> pl.Trainer:
    given = {"max_epochs": 3, "enable_checkpointing": False, **settings}
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **given,
    )


def test_epochs_and_batches_of_a_fit_are_steps(run: Run, steps: Steps, tmp_path: Path) -> None:
    trainer(tmp_path, HeadstreamCallback(run)).fit(Net(), loader(), loader(2))
    told = steps()
    (fit,) = told["fit"]
    assert {
        "max_epochs": 3,
        "module": "Net",
        "parameters": 3,
        "width": 2,
        "optimizer": "SGD",
        "lr": 0.1,
        "scheduler": "StepLR",
        "batch_size": 2,
        "dataset_length": 6,
        "devices": 1,
    }.items() <= fit.used.items()
    epochs, batches, validations = told["training_epoch"], told["training_batch"], told["validation"]
    assert [e.used for e in epochs] == [{"epoch": n, "lr": 0.1 * 0.5**n} for n in range(3)]
    assert [b.used for b in batches] == [{"batch": n} for n in range(3)] * 3
    assert [b.parent for b in batches] == [e.step for e in epochs for _ in range(3)]
    assert all(set(b.generated) == {"loss", "seen"} and b.generated["seen"] == [2] for b in batches)
    assert [v.parent for v in validations] == [e.step for e in epochs]
    assert [b.parent for b in told["validation_batch"]] == [v.step for v in validations]
    assert {s.outcome for each in told.values() for s in each} == {"FINISHED"}
    assert capture.losses() == {}


def test_metrics_are_generated_where_they_were_logged_and_once(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    trainer(tmp_path, HeadstreamCallback(run)).fit(Net(), loader(), loader(2))
    told = steps()
    for number, (epoch, validation) in enumerate(
        zip(told["training_epoch"], told["validation"], strict=True)
    ):
        batches = told["training_batch"][3 * number : 3 * number + 3]
        assert set(epoch.generated) == {"train_loss", "last_loss", "late"} and set(validation.generated) == {
            "val_loss"
        }
        mean = sum(b.generated["loss"][0] for b in batches) / 3
        assert epoch.generated["train_loss"] == [pytest.approx(mean, rel=1e-5)]
        assert epoch.generated["last_loss"] == [pytest.approx(batches[-1].generated["loss"][0])]
        assert epoch.generated["late"] == [float(number)]
    losses = [e.generated["train_loss"][0] for e in told["training_epoch"]]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 3


def test_a_validation_in_mid_epoch_is_a_step_of_it_and_batches_go_on(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    trainer(tmp_path, HeadstreamCallback(run), max_epochs=1, val_check_interval=1).fit(
        Net(), loader(), loader(2)
    )
    told = steps()
    assert [v.parent for v in told["validation"]] == [told["training_epoch"][0].step] * 3
    assert [b.used for b in told["training_batch"]] == [{"batch": n} for n in range(3)]
    assert len({v.generated["val_loss"][0] for v in told["validation"]}) == 3
    assert set(told["training_epoch"][0].generated) == {"train_loss", "last_loss", "late"}


def test_checkpoints_are_generated_by_their_epoch(run: Run, steps: Steps, tmp_path: Path) -> None:
    saving = ModelCheckpoint(dirpath=tmp_path / "ckpt", filename="{epoch}", save_top_k=-1)
    told = HeadstreamCallback(run, store="disk")
    fitting = trainer(tmp_path, saving, told, enable_checkpointing=True)
    fitting.fit(Net(), loader())
    assert "save_checkpoint" not in vars(fitting.strategy)
    epochs = steps()["training_epoch"]
    assert [e.generated["checkpoint"] for e in epochs] == [
        [str(tmp_path / "ckpt" / f"epoch={n}.ckpt")] for n in range(3)
    ]
    assert all('"bytes":' in e.metadata[0] for e in epochs)
    assert capture.warnings() == {}


def test_resuming_goes_on_at_the_epoch_of_the_checkpoint(run: Run, steps: Steps, tmp_path: Path) -> None:
    first = trainer(tmp_path, max_epochs=2)
    first.fit(Net(), loader())
    first.save_checkpoint(tmp_path / "two.ckpt")
    trainer(tmp_path, HeadstreamCallback(run)).fit(
        Net(), loader(), ckpt_path=tmp_path / "two.ckpt", weights_only=False
    )
    assert [e.used["epoch"] for e in steps()["training_epoch"]] == [2]


def test_validation_test_and_prediction_alone_are_steps_of_the_run(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    told, net = HeadstreamCallback(run), Net()
    trainer(tmp_path, told).validate(net, [loader(4), loader(2)], verbose=False)
    trainer(tmp_path, told).test(net, loader(4), verbose=False)
    trainer(tmp_path, told).predict(net, loader(2))
    found = steps()
    assert set(found) == {
        *("validation", "validation_batch", "test", "test_batch", "prediction", "prediction_batch")
    }
    assert [s.parent for name in ("validation", "test", "prediction") for s in found[name]] == [None] * 3
    assert [b.used for b in found["validation_batch"]] == [
        *({"batch": 0}, {"batch": 1}, {"batch": 0, "loader": 1})
    ]
    assert set(found["test"][0].generated) == {"test_loss"} and len(found["test_batch"]) == 2
    assert found["test"][0].used["module"] == "Net"


def test_a_fit_that_fails_fails_as_before_and_its_steps_say_so(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the batch is empty"):
        trainer(tmp_path, HeadstreamCallback(run)).fit(Net(fails_at=4), loader())
    told = steps()
    failed = [told["fit"][0], told["training_epoch"][1], told["training_batch"][4]]
    assert [s.outcome for s in failed] == ["ERRORED"] * 3
    assert {s.error for s in failed} == {"ValueError: the batch is empty"}
    assert [s.outcome for s in told["training_batch"][:4]] == ["FINISHED"] * 4


def test_a_fault_of_the_hook_never_stops_a_fit(
    run: Run, tmp_path: Path, internal_errors: list[BaseException]
) -> None:
    told = HeadstreamCallback(run)
    told._nest.begin = told._nest.turn = None  # type: ignore[union-attr, method-assign, assignment]
    fitting = trainer(tmp_path, told)
    fitting.fit(Net(), loader())
    assert fitting.current_epoch == 3
    assert internal_errors and capture.losses() == {"internal-hook-lightning": len(internal_errors)}
    internal_errors.clear()


def test_a_copy_tells_nothing_and_counts_it(run: Run, steps: Steps, tmp_path: Path) -> None:
    copied = pickle.loads(pickle.dumps(HeadstreamCallback(run)))
    trainer(tmp_path, copied, max_epochs=1).fit(Net(), loader())
    assert steps() == {} and capture.warnings() == {"hook-copied": 1}


def test_a_scalar_on_an_accelerator_is_handed_on_unread() -> None:
    away = torch.tensor(1.0, device="meta")  # Whoever reads it raises.
    assert _scalars({"loss": away, "seen": 2, "text": "x"}) == {"loss": away, "seen": 2}
    assert _scalars(torch.tensor(0.5)) == {"loss": 0.5}
    assert _scalars(None) == {}
