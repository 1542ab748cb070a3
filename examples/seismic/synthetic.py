"""Write a small synthetic 3-D post-stack survey as SEG-Y, the same bytes for the same seed.

Layers of random reflectivity, bent by a gentle fold and cut by two faults, are convolved with a
Ricker wavelet; noise is added everywhere, more of it in a "gas chimney", and a few traces are dead.
It stands in for the Netherlands survey of the paper's use case (section V-B), with the numbering
and coordinates that such a file has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import segyio

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the bytes of a synthetic survey."""

    inlines: int = 60
    crosslines: int = 60
    samples: int = 128
    first_inline: int = 100
    first_crossline: int = 300
    sample_interval_us: int = 4000
    frequency_hz: float = 30.0
    noise: float = 0.08
    dead_traces: int = 6
    seed: int = 2019


def ricker(frequency_hz: float, interval_s: float) -> Floats:
    """The Ricker wavelet, long enough that its ends are below a thousandth of its peak."""
    half = int(np.ceil(1.2 / frequency_hz / interval_s))
    time = np.arange(-half, half + 1) * interval_s
    argument = (np.pi * frequency_hz * time) ** 2
    return np.asarray((1 - 2 * argument) * np.exp(-argument), dtype=np.float64)


def depth_shift(recipe: Recipe) -> Floats:
    """Samples by which the layers lie deeper at each (inline, crossline): a fold and two faults."""
    i, j = np.meshgrid(np.linspace(0, 1, recipe.inlines), np.linspace(0, 1, recipe.crosslines), indexing="ij")
    fold = 6.0 * np.sin(np.pi * i) * np.sin(np.pi * j) - 4.0 * j
    first = np.where(j > 0.35 + 0.15 * i, 4.0, 0.0)
    second = np.where(j > 0.80 - 0.10 * i, -3.0, 0.0)
    return np.asarray(fold + first + second, dtype=np.float64)


def reflectivity(recipe: Recipe, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Depths (in samples) and strengths of the interfaces: three strong ones, weak ones between them."""
    strong = np.array([0.28, 0.52, 0.76]) * recipe.samples
    strengths = np.array([1.0, -0.95, 0.9])
    count = max(4, recipe.samples // 6)
    weak = np.sort(random.uniform(0.05, 0.98, count)) * recipe.samples
    # The layers differ in character, as facies do: quiet, busy, quiet, busy.
    unit = np.searchsorted(strong, weak)
    weak_strengths = random.uniform(-1, 1, count) * np.array([0.15, 0.35, 0.10, 0.30])[unit]
    # Next to a strong interface a weak one would shift its peak: the horizon would not be where we say.
    clear = np.abs(weak[:, None] - strong).min(axis=1) > 7
    return np.concatenate([strong, weak[clear]]), np.concatenate([strengths, weak_strengths[clear]])


def amplitudes(recipe: Recipe) -> npt.NDArray[np.float32]:
    """The cube (inline, crossline, sample) of a recipe; nothing but the recipe decides it."""
    random = np.random.default_rng(recipe.seed)
    depths, strengths = reflectivity(recipe, random)
    shift = depth_shift(recipe)
    wavelet_half = 1.2 / recipe.frequency_hz
    time = np.arange(recipe.samples)
    cube = np.zeros((recipe.inlines, recipe.crosslines, recipe.samples))
    interval_s = recipe.sample_interval_us * 1e-6
    for depth, strength in zip(depths, strengths, strict=True):
        # The wavelet is evaluated at fractions of a sample, so that a dip makes no steps.
        lag = (time - (depth + shift)[:, :, None]) * interval_s
        argument = (np.pi * recipe.frequency_hz * lag) ** 2
        cube += np.where(np.abs(lag) < wavelet_half, strength * (1 - 2 * argument) * np.exp(-argument), 0)
    level = recipe.noise * np.ones_like(shift)
    middle, width = int(0.7 * recipe.inlines), max(1, recipe.inlines // 10)
    side = slice(int(0.55 * recipe.crosslines), int(0.95 * recipe.crosslines))
    level[middle - width : middle + width, side] *= 14
    cube += random.normal(0, 1, cube.shape) * level[:, :, None]
    for trace in random.choice(recipe.inlines * recipe.crosslines, recipe.dead_traces, replace=False):
        cube[trace // recipe.crosslines, trace % recipe.crosslines] = 0
    return np.asarray(cube * 10_000, dtype=np.float32)


def write_survey(path: Path, recipe: Recipe | None = None) -> Path:
    """Write the SEG-Y file of a recipe and return its path; an existing file is replaced."""
    recipe = recipe or Recipe()
    cube = amplitudes(recipe)
    spec = segyio.spec()
    spec.sorting = segyio.TraceSortingFormat.INLINE_SORTING
    spec.format = 5  # IEEE 32-bit floats
    spec.ilines = np.arange(recipe.inlines) + recipe.first_inline
    spec.xlines = np.arange(recipe.crosslines) + recipe.first_crossline
    spec.samples = np.arange(recipe.samples) * (recipe.sample_interval_us / 1000)
    path.parent.mkdir(parents=True, exist_ok=True)
    with segyio.create(str(path), spec) as segy:
        segy.text[0] = _text_header(recipe)
        segy.bin.update(
            {
                segyio.BinField.Interval: recipe.sample_interval_us,
                segyio.BinField.Samples: recipe.samples,
                segyio.BinField.SortingCode: 4,
                segyio.BinField.MeasurementSystem: 1,
                segyio.BinField.SEGYRevision: 256,
                segyio.BinField.TraceFlag: 1,
            }
        )
        for number in range(recipe.inlines * recipe.crosslines):
            i, j = divmod(number, recipe.crosslines)
            segy.header[number] = _trace_header(recipe, number, i, j)
            segy.trace[number] = cube[i, j]
    return path


def _trace_header(recipe: Recipe, number: int, i: int, j: int) -> dict[int, int]:
    """Numbers and coordinates of one trace; coordinates in decimetres, so the scalar is -10."""
    x, y = 6_054_167 + 250 * j, 60_735_564 + 250 * i
    field = segyio.TraceField
    return {
        field.TRACE_SEQUENCE_LINE: j + 1,
        field.TRACE_SEQUENCE_FILE: number + 1,
        field.CDP: j + 1,
        field.TraceIdentificationCode: 1,
        field.SourceGroupScalar: -10,
        field.CoordinateUnits: 1,
        field.TRACE_SAMPLE_COUNT: recipe.samples,
        field.TRACE_SAMPLE_INTERVAL: recipe.sample_interval_us,
        field.CDP_X: x,
        field.CDP_Y: y,
        field.INLINE_3D: recipe.first_inline + i,
        field.CROSSLINE_3D: recipe.first_crossline + j,
    }


def _text_header(recipe: Recipe) -> str:
    """The 40 lines of text of the file, so that whoever opens it knows that it is synthetic."""
    return str(
        segyio.tools.create_text_header(
            {
                1: "SYNTHETIC 3-D POST-STACK SURVEY, NOT RECORDED DATA",
                2: f"SEED {recipe.seed}  {recipe.inlines} INLINES X {recipe.crosslines} CROSSLINES",
                3: f"{recipe.samples} SAMPLES OF {recipe.sample_interval_us} MICROSECONDS",
                4: "INLINE: BYTES 189-192  CROSSLINE: BYTES 193-196  CDP X Y: BYTES 181-188",
                5: "COORDINATES IN DECIMETRES, SCALAR -10 IN BYTES 71-72",
                39: "SEG Y REV1",
                40: "END TEXTUAL HEADER",
            }
        )
    )
