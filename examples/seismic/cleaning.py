"""Clean a cube: filter, find bad traces, mend them, bring amplitudes to one scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from survey import Cube

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """A cleaned cube and what was done to get it."""

    amplitude: Cube
    traces_repaired: int
    mean_quality: float


def clean(amplitude: Cube, *, sample_interval_us: int, quality_threshold: float) -> Cleaned:
    """Band-pass every trace, replace the bad ones, smooth a little across traces, scale.

    A trace whose quality is below the threshold becomes the mean of its good neighbours. The scale
    makes the root mean square of the cube 1, so that files of any sample format look alike.
    """
    filtered = band_pass(amplitude.astype(np.float64), sample_interval_us)
    quality = trace_quality(filtered)
    bad = quality < quality_threshold
    mended = mend(filtered, bad)
    smooth = smooth_laterally(mended)
    scale = float(np.sqrt(np.mean(smooth**2))) or 1.0
    return Cleaned(
        amplitude=np.clip(smooth / scale, -6, 6).astype(np.float32),
        traces_repaired=int(bad.sum()),
        mean_quality=float(quality.mean()),
    )


def band_pass(cube: Floats, sample_interval_us: int, low_hz: float = 4.0, high_hz: float = 80.0) -> Floats:
    """Keep the seismic band, with cosine slopes an octave wide below and half an octave above."""
    samples = cube.shape[-1]
    frequency = np.fft.rfftfreq(samples, sample_interval_us * 1e-6 if sample_interval_us else 0.004)
    # A coarser sampling has a lower Nyquist frequency: the band never reaches above it.
    high = min(high_hz, 0.9 * float(frequency[-1]))
    rise = np.clip((frequency - low_hz / 2) / (low_hz / 2), 0, 1)
    fall = np.clip((1.4 * high - frequency) / (0.4 * high), 0, 1)
    gain = np.sin(0.5 * np.pi * rise) ** 2 * np.sin(0.5 * np.pi * fall) ** 2
    return np.asarray(np.fft.irfft(np.fft.rfft(cube, axis=-1) * gain, n=samples, axis=-1), dtype=np.float64)


def neighbour_sum(values: Floats) -> Floats:
    """Sum over the up to eight neighbours in the (inline, crossline) plane, the edges having fewer."""
    padded = np.pad(values, [(1, 1), (1, 1)] + [(0, 0)] * (values.ndim - 2))
    rows, columns = values.shape[:2]
    total = np.zeros_like(values)
    for di in range(3):
        for dj in range(3):
            if (di, dj) != (1, 1):
                total += padded[di : di + rows, dj : dj + columns]
    return total


def trace_quality(cube: Floats) -> Floats:
    """How much a trace agrees with its neighbours: its correlation with their mean, 0 to 1.

    A dead trace has quality 0; a trace of noise alone is near 0.
    """
    around = neighbour_sum(cube)
    product = np.sum(cube * around, axis=-1)
    norm = np.sqrt(np.sum(cube**2, axis=-1) * np.sum(around**2, axis=-1))
    return np.asarray(np.clip(np.divide(product, norm, out=np.zeros_like(product), where=norm > 0), 0, 1))


def mend(cube: Floats, bad: npt.NDArray[np.bool_]) -> Floats:
    """Replace bad traces by the mean of their good neighbours; one without any stays as it is."""
    good = np.where(bad, 0.0, 1.0)
    count = neighbour_sum(good)[..., None]
    mean = neighbour_sum(cube * good[..., None]) / np.maximum(count, 1)
    return np.where(bad[..., None] & (count > 0), mean, cube)


def smooth_laterally(cube: Floats) -> Floats:
    """Average neighbouring traces with weights 1/4, 1/2, 1/4 along inlines and along crosslines."""
    for axis in (0, 1):
        before, after = np.roll(cube, 1, axis), np.roll(cube, -1, axis)
        edge = [slice(None)] * cube.ndim
        edge[axis] = slice(0, 1)
        before[tuple(edge)] = cube[tuple(edge)]
        edge[axis] = slice(-1, None)
        after[tuple(edge)] = cube[tuple(edge)]
        cube = 0.25 * before + 0.5 * cube + 0.25 * after
    return cube
