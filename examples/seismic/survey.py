"""Read any 3-D post-stack SEG-Y survey: its facts and its cube of amplitudes (SEG-Y rev 1, SEG 2002)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import segyio
from errors import SurveyNotACube, SurveyUnreadable

INLINE_BYTE = 189
CROSSLINE_BYTE = 193

Cube = npt.NDArray[np.float32]
Lines = npt.NDArray[np.int32]

# Data sample format codes that segyio reads, in bytes 3225-3226. Others mean another kind of file.
FORMATS = frozenset({1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 16})
FORMAT_AT = 3224


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyFacts:
    """What a SEG-Y file says about itself in its headers, and its content hash."""

    filesize_bytes: int
    sha256: str
    inline_range: tuple[int, int]
    crossline_range: tuple[int, int]
    n_inlines: int
    n_crosslines: int
    n_samples: int
    sample_interval_us: int
    geox1: float
    geoy1: float
    sample_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Amplitudes as (inline, crossline, sample), with the numbers of the inlines and crosslines."""

    amplitude: Cube
    inlines: Lines
    crosslines: Lines
    sample_interval_us: int


def scaled(coordinate: int, scalar: int) -> float:
    """Apply the SourceGroupScalar of a trace header: negative divides, positive multiplies, 0 means 1."""
    if scalar < 0:
        return coordinate / -scalar
    return float(coordinate * (scalar or 1))


def sha256(path: Path) -> str:
    """Hash a file of any size without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_facts(
    path: Path, *, inline_byte: int = INLINE_BYTE, crossline_byte: int = CROSSLINE_BYTE
) -> SurveyFacts:
    """Read the headers only (and the bytes once, for the hash); the cube itself stays on disk."""
    with _opened(path, inline_byte, crossline_byte) as segy:
        first = segy.header[0]
        scalar = int(first[segyio.TraceField.SourceGroupScalar])
        return SurveyFacts(
            filesize_bytes=path.stat().st_size,
            sha256=sha256(path),
            inline_range=(int(min(segy.ilines)), int(max(segy.ilines))),
            crossline_range=(int(min(segy.xlines)), int(max(segy.xlines))),
            n_inlines=len(segy.ilines),
            n_crosslines=len(segy.xlines),
            n_samples=len(segy.samples),
            sample_interval_us=_sample_interval(segy),
            geox1=scaled(int(first[segyio.TraceField.CDP_X]), scalar),
            geoy1=scaled(int(first[segyio.TraceField.CDP_Y]), scalar),
            sample_format=str(segy.format),
        )


def read_volume(
    path: Path, *, inline_byte: int = INLINE_BYTE, crossline_byte: int = CROSSLINE_BYTE
) -> Volume:
    """Read the whole cube as 32-bit floats, whatever the sample format of the file."""
    with _opened(path, inline_byte, crossline_byte) as segy:
        return Volume(
            amplitude=np.ascontiguousarray(segyio.tools.cube(segy), dtype=np.float32),
            inlines=np.asarray(segy.ilines, dtype=np.int32),
            crosslines=np.asarray(segy.xlines, dtype=np.int32),
            sample_interval_us=_sample_interval(segy),
        )


def _sample_interval(segy: Any) -> int:
    """Microseconds between samples: the binary header, or the first trace where that says nothing."""
    interval = int(segy.bin[segyio.BinField.Interval])
    return interval or int(segy.header[0][segyio.TraceField.TRACE_SAMPLE_INTERVAL])


@contextmanager
def _opened(path: Path, inline_byte: int, crossline_byte: int) -> Iterator[Any]:
    """Open a survey as a regular cube, or say in one plain sentence why that cannot be."""
    endian = _byte_order(path)
    try:
        with segyio.open(str(path), strict=False, endian=endian) as segy:
            _refuse_other_than_cube(path, segy, inline_byte, crossline_byte)
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise SurveyUnreadable(f"{path} is not a SEG-Y file ({error})") from error
    try:
        segy = segyio.open(str(path), iline=inline_byte, xline=crossline_byte, endian=endian)
    except (RuntimeError, ValueError, OSError) as error:
        raise SurveyNotACube(
            f"{path}: the traces fill no regular grid of inlines and crosslines ({error}); "
            "this example needs a complete 3-D post-stack cube"
        ) from error
    try:
        yield segy
    finally:
        segy.close()


def _byte_order(path: Path) -> str:
    """Tell big-endian SEG-Y from little-endian and from files that are neither.

    segyio takes any bytes of a fitting length for SEG-Y: a format code out of the standard gives them away.
    """
    if path.is_dir():
        raise SurveyUnreadable(f"{path} is a folder; give the path of a SEG-Y file")
    try:
        with path.open("rb") as file:
            file.seek(FORMAT_AT)
            code = file.read(2)
    except FileNotFoundError as error:
        raise SurveyUnreadable(f"{path} does not exist; give the path of a SEG-Y file") from error
    except PermissionError as error:
        raise SurveyUnreadable(f"no permission to read {path}; ask its owner, or copy it") from error
    except OSError as error:
        raise SurveyUnreadable(f"cannot read {path}: {error.strerror or error}") from error
    if len(code) < 2:
        raise SurveyUnreadable(f"{path} is not a SEG-Y file (it ends before its binary header)")
    for endian in ("big", "little"):
        if int.from_bytes(code, endian) in FORMATS:
            return endian
    raise SurveyUnreadable(
        f"{path} is not a SEG-Y file (its binary header has the sample format {int.from_bytes(code, 'big')})"
    )


def _refuse_other_than_cube(path: Path, segy: Any, inline_byte: int, crossline_byte: int) -> None:
    """A 2-D line has one inline number or one crossline number; a gather repeats each pair."""
    inlines = segy.attributes(inline_byte)[:]
    crosslines = segy.attributes(crossline_byte)[:]
    if len(set(inlines.tolist())) < 2 or len(set(crosslines.tolist())) < 2:
        raise SurveyNotACube(
            f"{path} is a 2-D line, not a 3-D survey: {segy.tracecount} traces with inlines {_span(inlines)} "
            f"and crosslines {_span(crosslines)} (trace header bytes {inline_byte} and {crossline_byte}); "
            "give a 3-D post-stack file, or the right bytes with --inline-byte and --crossline-byte"
        )
    if len(set(zip(inlines.tolist(), crosslines.tolist(), strict=True))) < segy.tracecount:
        raise SurveyNotACube(
            f"{path} has more than one trace at a place, as pre-stack gathers do; give a 3-D post-stack file"
        )


def _span(numbers: npt.NDArray[Any]) -> str:
    """Say a set of line numbers in few words."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"
