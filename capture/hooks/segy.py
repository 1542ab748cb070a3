"""SEG-Y (rev 1): what the headers of a file say, as facts about a reference to it.

    step.used(survey=segy.file("/gpfs1/f3.sgy"))

Only headers are read, and of at most `most_traces` traces. A file that cannot be read has no
facts, which is a counted warning (`segy-header-not-read`).
"""

from __future__ import annotations

import os
from typing import Any

from headstream import capture
from headstream.capture.hooks.shield import need, shielded, warn

segyio = need("segyio")

INLINE_BYTE = 189
CROSSLINE_BYTE = 193
_FORMATS = frozenset({1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 16})
_TEXT_AND_BINARY = 3600


def file(
    path: str | os.PathLike[str],
    *,
    store: str | None = None,
    version: str | None = None,
    checksum: str | None = None,
    **where: int,
) -> Any:
    """`capture.file` with the facts of the file as metadata; `where` goes to `facts`."""
    given = capture.file(path, store=store, version=version, checksum=checksum)
    found = facts(path, **where)
    return capture.metadata(given, **found) if found else given


def facts(
    path: str | os.PathLike[str],
    *,
    inline_byte: int = INLINE_BYTE,
    crossline_byte: int = CROSSLINE_BYTE,
    most_traces: int = 100_000,
) -> dict[str, Any]:
    """Counts, sample interval and format, and the ranges of inlines, crosslines and coordinates.

    Coordinates are those of the CDP with the scalar of their trace applied (negative divides). A
    file of more traces than `most_traces` is read at even distances, first and last included, and
    says by `headers_read` from how many traces its ranges come.
    """
    with shielded("segy"):
        name = os.fsdecode(path)
        try:
            # An unstructured file, or one whose lines stand elsewhere, is read all the same.
            with segyio.open(name, ignore_geometry=True, endian=_byte_order(name)) as segy:
                found = {"bytes": os.path.getsize(name), **_counts(segy)}
                return {**found, **_ranges(segy, inline_byte, crossline_byte, most_traces)}
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            warn("segy-header-not-read", f"{name}: {error}")
    return {}


def _byte_order(path: str) -> str:
    """Bytes 3225-3226 hold the sample format, which is a known one in one byte order only."""
    with open(path, "rb") as source:
        head = source.read(_TEXT_AND_BINARY)
    if int.from_bytes(head[3224:3226], "big") in _FORMATS:
        return "big"
    if int.from_bytes(head[3224:3226], "little") in _FORMATS:
        return "little"
    raise ValueError("it names no known sample format, so it is no SEG-Y file")


def _counts(segy: Any) -> dict[str, Any]:
    interval = int(segy.bin[segyio.BinField.Interval])
    return {
        "traces": int(segy.tracecount),
        "samples": len(segy.samples),
        "sample_interval_us": interval or int(segy.header[0][segyio.TraceField.TRACE_SAMPLE_INTERVAL]),
        "sample_format": str(segy.format),
    }


def _ranges(segy: Any, inline_byte: int, crossline_byte: int, most_traces: int) -> dict[str, Any]:
    traces = _chosen(int(segy.tracecount), max(2, most_traces))
    field = segyio.TraceField
    read = {
        name: [int(value) for value in segy.attributes(byte)[traces]]
        for name, byte in (
            ("inline", inline_byte),
            ("crossline", crossline_byte),
            ("scalar", int(field.SourceGroupScalar)),
            ("x", int(field.CDP_X)),
            ("y", int(field.CDP_Y)),
        )
    }
    x, y = (
        [_scaled(value, scalar) for value, scalar in zip(read[axis], read["scalar"], strict=True)]
        for axis in ("x", "y")
    )
    found: dict[str, Any] = {
        "inline_range": [min(read["inline"]), max(read["inline"])],
        "crossline_range": [min(read["crossline"]), max(read["crossline"])],
        "x_range": [min(x), max(x)],
        "y_range": [min(y), max(y)],
        "coordinate_scalar": read["scalar"][0],
    }
    if len(traces) < segy.tracecount:
        found["headers_read"] = len(traces)
    return found


def _chosen(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _scaled(coordinate: int, scalar: int) -> float:
    """Apply the scalar of a trace header (bytes 71-72): negative divides, positive multiplies, 0 means 1."""
    return coordinate / -scalar if scalar < 0 else float(coordinate * (scalar or 1))
