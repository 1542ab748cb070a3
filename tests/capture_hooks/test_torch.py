"""PyTorch is described without a look into a tensor, and what torch.save writes is recorded."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from headstream import capture
from headstream.capture import Run
from headstream.capture.hooks.torch import (
    checkpoints,
    learning_rate,
    loader_facts,
    module_facts,
    optimizer_facts,
    scheduler_facts,
)

Steps = Callable[[], dict[str, list[Any]]]


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))


def test_a_module_is_its_class_its_counts_and_its_layers() -> None:
    module = net()
    module[2].weight.requires_grad = False  # type: ignore[index]
    assert module_facts(module) == {
        "module": "Sequential",
        "parameters": 21,
        "trainable_parameters": 15,
        "parameter_bytes": 84,
        "parameter_types": ["float32"],
        "devices": ["cpu"],
        "layers": [
            {"name": "0", "layer": "Linear(in_features=4, out_features=3, bias=True)", "parameters": 15},
            {"name": "1", "layer": "ReLU()", "parameters": 0},
            {"name": "2", "layer": "Linear(in_features=3, out_features=2, bias=False)", "parameters": 6},
        ],
    }


def test_a_deep_module_keeps_a_bounded_list_of_layers() -> None:
    facts = module_facts(nn.Sequential(*(nn.Linear(1, 1) for _ in range(30))), most_layers=10)
    assert (len(facts["layers"]), facts["layers_left_out"], facts["parameters"]) == (10, 20, 60)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_parameters_that_are_not_initialised_count_as_none() -> None:
    assert module_facts(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1)))["parameters"] == 4


def test_an_optimizer_is_its_class_and_its_settings() -> None:
    facts = optimizer_facts(torch.optim.AdamW(net().parameters(), lr=0.01, betas=(0.8, 0.99)))
    assert {
        "optimizer": "AdamW",
        "lr": 0.01,
        "betas": (0.8, 0.99),
        "weight_decay": 0.01,
    }.items() <= facts.items()
    assert "params" not in facts and "parameter_groups" not in facts


def test_settings_that_differ_between_parameter_groups_are_lists() -> None:
    module = net()
    groups = [{"params": module[0].parameters(), "lr": 0.1}, {"params": module[2].parameters()}]  # type: ignore[index]
    facts = optimizer_facts(torch.optim.SGD(groups, lr=0.5, momentum=0.9))
    assert (facts["lr"], facts["momentum"], facts["parameter_groups"]) == ([0.1, 0.5], 0.9, 2)


def test_the_learning_rate_is_that_of_now() -> None:
    optimizer = torch.optim.SGD(net().parameters(), lr=torch.tensor(1.0))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    assert learning_rate(optimizer) == {"lr": 1.0}
    optimizer.step()
    scheduler.step()
    assert learning_rate(scheduler) == learning_rate(optimizer) == {"lr": 0.5}
    facts = scheduler_facts(scheduler)
    assert (facts["scheduler"], facts["scheduler_step_size"], facts["scheduler_gamma"]) == ("StepLR", 1, 0.5)


def test_a_loader_is_its_batch_size_workers_and_lengths() -> None:
    data = TensorDataset(torch.zeros(10, 4))
    assert loader_facts(DataLoader(data, batch_size=4, shuffle=True), prefix="training_") == {
        "training_batch_size": 4,
        "training_workers": 0,
        "training_dataset": "TensorDataset",
        "training_dataset_length": 10,
        "training_batches": 3,
        "training_sampler": "RandomSampler",
        "training_drop_last": False,
        "training_pin_memory": False,
    }


class Short(IterableDataset[int]):
    """Says that it has two items, and has six."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(6))

    def __len__(self) -> int:
        return 2


class Refusing(Short):
    def __len__(self) -> int:
        raise RuntimeError("nobody knows")


def test_describing_a_loader_changes_nothing_in_how_it_iterates() -> None:
    loader = DataLoader(Short(), batch_size=2)
    facts = loader_facts(loader)
    assert facts["dataset_length"] == 2 and "batches" not in facts
    # A loader of an iterable dataset that was asked for its length warns as soon as there is more.
    assert sum(1 for _ in loader) == 3


def test_a_dataset_that_refuses_its_length_has_none() -> None:
    facts = loader_facts(DataLoader(Refusing(), batch_size=2))
    assert set(facts) == {"batch_size", "workers", "dataset", "drop_last", "pin_memory"}


def test_what_torch_save_writes_is_generated_by_the_step(run: Run, steps: Steps, tmp_path: Path) -> None:
    before, path = torch.save, tmp_path / "net.pt"
    with run.task("training") as training:
        with checkpoints(training, store="disk"):
            torch.save({"w": torch.ones(2)}, path)
            torch.save(obj=1, f=str(tmp_path / "more.pt"))
            with (tmp_path / "open.pt").open("wb") as target:
                torch.save(2, target)
        torch.save(3, tmp_path / "after.pt")
    assert torch.save is before
    assert torch.equal(torch.load(path)["w"], torch.ones(2))
    (told,) = steps()["training"]
    assert told.generated == {"checkpoint": [str(tmp_path / n) for n in ("net.pt", "more.pt", "open.pt")]}
    assert json.loads(told.metadata[0]) == {"bytes": path.stat().st_size}
    assert capture.warnings() == {} == capture.losses()


def test_a_save_that_fails_is_the_scripts_and_is_not_recorded(run: Run, steps: Steps, tmp_path: Path) -> None:
    before = torch.save
    with (
        run.task("training") as training,
        pytest.raises(RuntimeError),
        checkpoints(training),
    ):
        torch.save(1, tmp_path / "missing" / "net.pt")
    assert torch.save is before
    assert steps()["training"][0].generated == {}


def test_a_save_into_memory_is_counted(run: Run, steps: Steps) -> None:
    with run.task("training") as training, checkpoints(training):
        torch.save(1, io.BytesIO())
    assert steps()["training"][0].generated == {}
    assert capture.warnings() == {"checkpoint-without-a-file": 1}


def test_the_innermost_scope_records_and_only_that(run: Run, steps: Steps, tmp_path: Path) -> None:
    with run.task("training") as training, checkpoints(training):
        for epoch in training.loop("epoch", range(2), index_as="epoch"):
            with checkpoints(epoch, attribute="model"):
                torch.save(1, tmp_path / f"{epoch.index}.pt")
        torch.save(1, tmp_path / "final.pt")
    told = steps()
    assert [e.generated for e in told["epoch"]] == [{"model": [str(tmp_path / f"{n}.pt")]} for n in range(2)]
    assert told["training"][0].generated == {"checkpoint": [str(tmp_path / "final.pt")]}


def test_scopes_of_two_threads_that_overlap_keep_their_own_saves(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    before, opened, saved = torch.save, threading.Event(), threading.Event()

    def other() -> None:
        with run.task("second") as step, checkpoints(step):
            opened.set()
            assert saved.wait(30)
            torch.save(1, tmp_path / "second.pt")

    thread = threading.Thread(target=other)
    with run.task("first") as step, checkpoints(step):
        thread.start()
        assert opened.wait(30)
        torch.save(1, tmp_path / "first.pt")
    saved.set()  # The scope that was opened first is left first.
    thread.join()
    assert torch.save is before
    told = steps()
    assert [told[name][0].generated["checkpoint"] for name in ("first", "second")] == [
        [str(tmp_path / "first.pt")],
        [str(tmp_path / "second.pt")],
    ]


def test_a_wrapper_that_came_later_stays_when_the_scope_is_left(
    run: Run, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "save", torch.save)
    with run.task("training") as training:
        with checkpoints(training):
            inner = torch.save

            def theirs(*args: Any, **kwargs: Any) -> None:
                inner(*args, **kwargs)

            torch.save = theirs
        assert torch.save is theirs
        torch.save(1, tmp_path / "net.pt")
    assert (tmp_path / "net.pt").exists()
    assert steps()["training"][0].generated == {}


def test_a_fault_of_the_hook_is_counted_and_never_raised(internal_errors: list[BaseException]) -> None:
    assert module_facts(None) == optimizer_facts(None) == learning_rate(3) == loader_facts("") == {}
    assert capture.losses() == {"internal-hook-torch": 4}
    internal_errors.clear()
