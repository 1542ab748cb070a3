"""A small convolutional network that gives every sample of a tile its stratigraphic unit.

The same seed gives the same weights, batches, losses and metrics on the same kind of machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import numpy.typing as npt
import torch
from errors import DatasetUnreadable
from tiles import Tiles
from torch import Tensor, nn

ALGORITHM = "dilated convolutional network, Adam, cross entropy"
TASK = "Seismic Stratigraphic Classification"

Confusion = npt.NDArray[np.int64]  # (true unit, predicted unit) -> samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How good the predictions for a set of tiles are."""

    loss: float
    confusion: Confusion

    @property
    def mean_iou(self) -> float:
        return mean_iou(self.confusion)

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))


class StratigraphicNet(nn.Module):
    """Four convolutions at half resolution; a tile of any size keeps its size.

    The second input channel is the depth in the section: texture alone cannot tell one sand from
    the next, an interpreter looks at the depth as well.
    """

    def __init__(self, units: int, width: int = 12) -> None:
        super().__init__()
        self.units = units
        self.layers = nn.Sequential(
            # Half the resolution costs a quarter of the time; the shuffle at the end gives it back.
            nn.Conv2d(2, width, 5, padding=2, stride=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(width, units * 4, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(tile, channel, sample, crossline) to (tile, unit, sample, crossline)."""
        scores: Tensor = self.layers(inputs)
        return scores[..., : inputs.shape[-2], : inputs.shape[-1]]

    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class Training:
    """One network, its optimiser and its tiles; every number it gives follows from the seed."""

    def __init__(self, tiles: Tiles, *, learning_rate: float, batch_size: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = StratigraphicNet(tiles.units)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=learning_rate)
        self.inputs, self.targets = as_tensors(tiles)
        self.units, self.batch_size, self.seed = tiles.units, batch_size, seed
        self.restart()

    def restart(self) -> None:
        """Forget the measures so far: an epoch begins."""
        self.confusion = np.zeros((self.units, self.units), dtype=np.int64)
        self.loss_sum, self.seen = 0.0, 0

    def batches(self, epoch: int) -> list[Tensor]:
        """The tiles of an epoch in an order that the seed and the epoch decide, batch by batch."""
        order = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        return list(torch.split(torch.randperm(len(self.inputs), generator=order), self.batch_size))

    def learn(self, batch: Tensor) -> float:
        """Take one step of the optimiser and return the loss of the batch before the step."""
        self.network.train()
        inputs, targets = self.inputs[batch], self.targets[batch]
        self.optimiser.zero_grad(set_to_none=True)
        scores = self.network(inputs)
        loss = nn.functional.cross_entropy(scores, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        value = float(loss.detach())
        self.confusion += confusion(scores.detach().argmax(1), targets, self.units)
        self.loss_sum, self.seen = self.loss_sum + value * len(batch), self.seen + len(batch)
        return value

    def measures(self) -> Measures:
        """Mean loss and confusion of the predictions made while learning since `restart`."""
        return Measures(loss=self.loss_sum / max(1, self.seen), confusion=self.confusion.copy())


def as_tensors(tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Amplitude and depth channels, and the units to find."""
    size = tiles.tiles.shape[1]
    depth = (tiles.top[:, None] + np.arange(size)) / max(1, tiles.n_samples - 1) * 2 - 1
    channel = np.broadcast_to(depth[:, :, None], tiles.tiles.shape).astype(np.float32)
    inputs = np.stack([tiles.tiles, channel], axis=1)
    return torch.from_numpy(inputs), torch.from_numpy(tiles.labels.astype(np.int64))


def evaluate(network: StratigraphicNet, tiles: Tiles, batch_size: int = 64) -> Measures:
    """Loss and confusion on tiles, without learning from them."""
    network.eval()
    inputs, targets = as_tensors(tiles)
    total, counts = 0.0, np.zeros((tiles.units, tiles.units), dtype=np.int64)
    with torch.no_grad():
        for some, wanted in _in_batches(inputs, targets, batch_size):
            scores = network(some)
            total += float(nn.functional.cross_entropy(scores, wanted)) * len(some)
            counts += confusion(scores.argmax(1), wanted, tiles.units)
    return Measures(loss=total / max(1, len(inputs)), confusion=counts)


def confusion(predicted: Tensor, wanted: Tensor, units: int) -> Confusion:
    """Count samples by (true unit, predicted unit)."""
    pairs = (wanted * units + predicted).flatten().numpy()
    return np.bincount(pairs, minlength=units * units).reshape(units, units).astype(np.int64)


def mean_iou(counts: Confusion) -> float:
    """Mean over units of intersection / union; units that are neither there nor predicted do not count."""
    hit = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hit
    present = union > 0
    return float((hit[present] / union[present]).mean()) if present.any() else 0.0


def save_model(path: Path, network: StratigraphicNet, *, learning_rate: float, epoch: int, seed: int) -> Path:
    """Write the weights and what is needed to build the network again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"units": network.units, "learning_rate": learning_rate, "epoch": epoch, "seed": seed}
    torch.save({"about": about, "weights": network.state_dict()}, path)
    return path


def load_model(path: Path) -> StratigraphicNet:
    """Build the network of a model file; never runs code that a file may carry."""
    if not path.exists():
        raise DatasetUnreadable(f"{path} does not exist; train first")
    # torch.load answers bytes that are no archive with any kind of error.
    if not is_zipfile(path):
        raise DatasetUnreadable(f"{path} is not a model of this example; train again")
    try:
        saved = torch.load(path, weights_only=True)
        network = StratigraphicNet(int(saved["about"]["units"]))
        network.load_state_dict(saved["weights"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DatasetUnreadable(f"{path} is not a model of this example; train again") from error
    return network


def _in_batches(inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(torch.split(inputs, size), torch.split(targets, size), strict=True)
