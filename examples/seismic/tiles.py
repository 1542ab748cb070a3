"""Cut labelled sections into tiles, leave noisy ones out, and keep train, validation and test apart.

The files between the scripts are HDF5 and are written here too: a *section file* has `amplitude` and
`labels` as (inline, crossline, sample), a *tile file* has `tiles` and `labels` as (tile, sample,
crossline) and `top`, the first sample of each tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from errors import DatasetUnreadable, TooSmall
from horizons import Labels
from survey import Cube

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Tiles of one part, with what is needed to learn from them."""

    tiles: Cube
    labels: Labels
    top: npt.NDArray[np.int32]
    n_samples: int
    units: int

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def class_balance(self) -> list[float]:
        """The share of each unit among all samples of all tiles."""
        counts = np.bincount(self.labels.ravel(), minlength=self.units)
        return [round(float(share), 6) for share in counts / max(1, counts.sum())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The tiles of a part and how many were left out as too noisy."""

    kept: Tiles
    dropped: int
    noise: tuple[float, ...]


def noise(tile: Cube) -> float:
    """The share of a tile's energy that neighbouring traces do not have in common.

    Half the energy of the differences of neighbouring traces, over the energy of the tile: 0 when all
    traces are alike, 1 for independent noise (1/3 for noise after the smoothing of the curation).
    A tile without any energy counts as 1: there is nothing to learn from it. Traces run along the
    last but one axis, samples along the last.
    """
    energy = float(np.sum(tile.astype(np.float64) ** 2)) * (tile.shape[-2] - 1) / tile.shape[-2]
    if energy <= 0:
        return 1.0
    differences = float(np.sum(np.diff(tile.astype(np.float64), axis=-2) ** 2))
    return float(min(1.0, differences / (2 * energy)))


def tile_size_for(requested: int, *, crosslines: int, samples: int) -> int:
    """The size asked for, or the largest that fits into a section; TooSmall below 8."""
    size = min(requested, crosslines, samples)
    if size < 8:
        raise TooSmall(
            f"tiles of {size} x {size} are too small to learn from (sections have {crosslines} crosslines "
            f"and {samples} samples); select more crosslines, or give a larger --tile-size"
        )
    return size


def split(inlines: int, shares: tuple[float, float] = (0.15, 0.15)) -> dict[str, slice]:
    """Contiguous blocks of inlines for train, valid and test, at least one inline each.

    Neighbouring inlines are nearly equal: a random split would put near copies of the training
    tiles into the test set.
    """
    if inlines < 3:
        raise TooSmall(f"{inlines} inlines cannot be divided into train, valid and test; select 3 or more")
    valid, test = (max(1, round(share * inlines)) for share in shares)
    first, second = inlines - valid - test, inlines - test
    return {"train": slice(0, first), "valid": slice(first, second), "test": slice(second, inlines)}


def starts(length: int, size: int) -> list[int]:
    """Where tiles begin so that they overlap by half and the last one ends at the edge."""
    found = list(range(0, length - size + 1, max(1, size // 2)))
    if found[-1] != length - size:
        found.append(length - size)
    return found


def cut(amplitude: Cube, labels: Labels, *, size: int, threshold: float, units: int) -> Cut:
    """Cut every inline section into tiles and keep those whose noise is at most the threshold."""
    samples = amplitude.shape[2]
    kept, kept_labels, top, measured = [], [], [], []
    for row in range(amplitude.shape[0]):
        for column in starts(amplitude.shape[1], size):
            for sample in starts(samples, size):
                window = (row, slice(column, column + size), slice(sample, sample + size))
                measured.append(noise(amplitude[window]))
                if measured[-1] <= threshold:
                    kept.append(amplitude[window].T)
                    kept_labels.append(labels[window].T)
                    top.append(sample)
    empty = (0, size, size)
    return Cut(
        kept=Tiles(
            tiles=np.stack(kept).astype(np.float32) if kept else np.zeros(empty, np.float32),
            labels=np.stack(kept_labels).astype(np.uint8) if kept else np.zeros(empty, np.uint8),
            top=np.asarray(top, dtype=np.int32),
            n_samples=samples,
            units=units,
        ),
        dropped=len(measured) - len(kept),
        noise=tuple(measured),
    )


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, Any]) -> Path:
    """Write an HDF5 file whose bytes depend on nothing but its content (no times inside)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", track_order=False) as file:
        for name in sorted(arrays):
            file.create_dataset(name, data=arrays[name], track_times=False)
        for name in sorted(attributes):
            file.attrs[name] = attributes[name]
    return path


def read_arrays(path: Path, *needed: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read the arrays needed and all attributes, or say which script should have written the file."""
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in needed if name not in file]
            if missing:
                raise DatasetUnreadable(
                    f"{path} has no {missing[0]!r}; give a file that the previous script of the example wrote"
                )
            return {name: file[name][...] for name in needed}, dict(file.attrs)
    except FileNotFoundError as error:
        raise DatasetUnreadable(f"{path} does not exist; run the previous script first") from error
    except PermissionError as error:
        raise DatasetUnreadable(f"no permission to read {path}") from error
    except OSError as error:
        raise DatasetUnreadable(f"{path} is not an HDF5 file ({error})") from error


def write_tiles(path: Path, tiles: Tiles, attributes: Mapping[str, Any]) -> Path:
    """Write one part as a tile file."""
    arrays: dict[str, npt.NDArray[Any]] = {"tiles": tiles.tiles, "labels": tiles.labels, "top": tiles.top}
    return write_arrays(path, arrays, {**attributes, "n_samples": tiles.n_samples, "units": tiles.units})


def read_tiles(path: Path) -> Tiles:
    """Read a tile file; DatasetUnreadable if it is none, TooSmall if it has no tiles."""
    arrays, attributes = read_arrays(path, "tiles", "labels", "top")
    if not len(arrays["tiles"]):
        raise TooSmall(f"{path} has no tiles; prepare it with a higher --noise-threshold")
    try:
        return Tiles(
            tiles=arrays["tiles"],
            labels=arrays["labels"],
            top=arrays["top"],
            n_samples=int(attributes["n_samples"]),
            units=int(attributes["units"]),
        )
    except KeyError as error:
        raise DatasetUnreadable(f"{path} has no attribute {error}; prepare it again") from error
