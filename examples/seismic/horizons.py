"""Pick horizons in a cleaned cube and turn them into polygons of stratigraphic units, and back into labels.

The polygons document is what the paper keeps in a document database: for each inline the outline of
each unit, in (crossline, sample) points.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from errors import DatasetUnreadable, TooSmall
from survey import Cube, Lines

Horizons = npt.NDArray[np.int32]  # (horizon, inline, crossline) -> sample
Labels = npt.NDArray[np.uint8]  # (inline, crossline, sample) -> unit

HALF_WINDOW = 6


def pick(amplitude: Cube, *, units: int, reach: int = 4) -> Horizons:
    """Track the strongest reflectors of the middle trace through the whole cube.

    A reflector is followed from trace to trace: among the samples within `reach` of where the
    traces before have it, the one whose surroundings look most like the reflector where it was
    found. The result is smoothed by a running median and never crosses the horizon above it.
    """
    samples = amplitude.shape[2]
    if samples < units * 8:
        raise TooSmall(f"{samples} samples are too few for {units} units; ask for fewer with --units")
    seeds = strong_reflectors(amplitude, units - 1)
    picked = np.stack([_smooth(_track(amplitude, seed, reach)) for seed in seeds])
    for lower in range(1, len(picked)):
        picked[lower] = np.maximum(picked[lower], picked[lower - 1] + 2)
    return np.clip(picked, 1, samples - 1).astype(np.int32)


def strong_reflectors(amplitude: Cube, count: int) -> list[int]:
    """Samples of the strongest, well separated extrema around the middle of the survey, from the top down."""
    i, j, samples = amplitude.shape[0] // 2, amplitude.shape[1] // 2, amplitude.shape[2]
    middle = np.abs(amplitude[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean(axis=(0, 1)))
    margin, apart = max(2, samples // 12), max(3, samples // (count + 4))
    inside = range(margin, samples - margin)
    peaks = [s for s in inside if middle[s] >= middle[s - 1] and middle[s] > middle[s + 1]]
    kept: list[int] = []
    for peak in sorted(peaks, key=lambda sample: (-float(middle[sample]), sample)):
        if len(kept) < count and all(abs(peak - other) >= apart for other in kept):
            kept.append(peak)
    # A featureless trace has too few peaks: divide the widest gap that is left instead.
    while len(kept) < count:
        bounds = [0, *sorted(kept), samples]
        top, base = max(pairwise(bounds), key=lambda gap: gap[1] - gap[0])
        kept.append((top + base) // 2)
    return sorted(kept)


def label(horizons: Horizons, samples: int) -> Labels:
    """The unit of every sample: how many horizons lie at or above it."""
    return np.asarray((np.arange(samples) >= horizons[..., None]).sum(axis=0), dtype=np.uint8)


def polygons(horizons: Horizons, inlines: Lines, crosslines: Lines, samples: int) -> list[dict[str, Any]]:
    """Outline every unit on every inline: its top from left to right, then its base from right to left."""
    top_of_all = np.zeros_like(horizons[:1])
    bounds = np.concatenate([top_of_all, horizons, np.full_like(top_of_all, samples)])
    columns = [int(number) for number in crosslines]
    outlines = []
    for i, inline in enumerate(inlines):
        for unit in range(len(bounds) - 1):
            top = [[x, int(s)] for x, s in zip(columns, bounds[unit, i], strict=True)]
            base = [[x, int(s)] for x, s in zip(columns, bounds[unit + 1, i], strict=True)]
            outlines.append({"inline": int(inline), "unit": unit, "outline": top + base[::-1]})
    return outlines


def rasterise(document: dict[str, Any], inlines: Lines, crosslines: Lines, samples: int) -> Labels:
    """Turn the polygons of some inlines and crosslines back into the unit of every sample."""
    rows = {int(number): row for row, number in enumerate(inlines)}
    columns = {int(number): column for column, number in enumerate(crosslines)}
    labels = np.zeros((len(rows), len(columns), samples), dtype=np.uint8)
    try:
        outlined = [entry for entry in document["polygons"] if entry["inline"] in rows]
        missing = set(rows) - {entry["inline"] for entry in outlined}
        if missing:
            raise DatasetUnreadable(f"the polygons document has no polygon for inline {min(missing)}")
        for entry in outlined:
            points = entry["outline"]
            half = len(points) // 2
            for (crossline, top), (_, base) in zip(points[:half], points[: half - 1 : -1], strict=True):
                if crossline in columns:
                    labels[rows[entry["inline"]], columns[crossline], top:base] = entry["unit"]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetUnreadable(f"the polygons document has no usable polygons: {error!r}") from error
    return labels


def _track(amplitude: Cube, seed: int, reach: int) -> npt.NDArray[np.int64]:
    """Follow one reflector from the middle along the middle inline, then from inline to inline."""
    inlines, crosslines, _ = amplitude.shape
    likeness = _likeness(amplitude, seed)
    found = np.zeros((inlines, crosslines), dtype=np.int64)
    i, j = inlines // 2, crosslines // 2
    found[i, j] = _best(likeness[i, j], seed, reach)
    for column in [*range(j + 1, crosslines), *range(j - 1, -1, -1)]:
        before = found[i, column - 1] if column > j else found[i, column + 1]
        found[i, column] = _best(likeness[i, column], int(before), reach)
    for row in [*range(i + 1, inlines), *range(i - 1, -1, -1)]:
        before_row = found[row - 1] if row > i else found[row + 1]
        for column in range(crosslines):
            near = before_row[max(0, column - 1) : column + 2]
            found[row, column] = _best(likeness[row, column], int(np.median(near)), reach)
    return found


def _likeness(amplitude: Cube, seed: int) -> npt.NDArray[np.float64]:
    """At every sample, how much its surroundings look like those of the seed (normalised correlation)."""
    i, j = amplitude.shape[0] // 2, amplitude.shape[1] // 2
    padded = np.pad(amplitude.astype(np.float64), [(0, 0), (0, 0), (HALF_WINDOW, HALF_WINDOW)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * HALF_WINDOW + 1, axis=2)
    wanted = windows[i, j, seed]
    norm = np.sqrt((windows**2).sum(axis=-1)) * np.sqrt((wanted**2).sum())
    return np.asarray((windows @ wanted) / np.maximum(norm, 1e-9), dtype=np.float64)


def _best(likeness: npt.NDArray[np.float64], near: int, reach: int) -> int:
    """The most alike sample within reach, a farther one having to be a little more alike."""
    low, high = max(0, near - reach), min(len(likeness), near + reach + 1)
    distance = np.abs(np.arange(low, high) - near)
    return low + int(np.argmax(likeness[low:high] - 0.02 * distance))


def _smooth(surface: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A running median over 3 x 3 traces: removes single mispicks and keeps the step of a fault."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(surface, 1, mode="edge"), (3, 3))
    return np.asarray(np.median(windows, axis=(2, 3)), dtype=np.int64)
