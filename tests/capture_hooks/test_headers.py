"""SEG-Y and HDF5 files say what is in them; those that cannot be read are references all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import segyio

from headstream import capture
from headstream.capture import Run
from headstream.capture.hooks import hdf5, segy

Steps = Callable[[], dict[str, list[Any]]]


def survey(path: Path, *, inlines: range = range(100, 104), endian: str = "big") -> Path:
    """Four inlines by three crosslines of eight samples, at coordinates in decimetres."""
    spec = segyio.spec()
    spec.ilines, spec.xlines = list(inlines), [300, 302, 304]
    spec.samples, spec.format, spec.sorting, spec.endian = range(8), 5, 2, endian
    with segyio.create(str(path), spec) as file:
        file.bin[segyio.BinField.Interval] = 4000
        for number, (inline, crossline) in enumerate((i, x) for i in inlines for x in (300, 302, 304)):
            file.header[number] = {
                segyio.TraceField.INLINE_3D: inline,
                segyio.TraceField.CROSSLINE_3D: crossline,
                segyio.TraceField.SourceGroupScalar: -10,
                segyio.TraceField.CDP_X: 6054160 + 250 * number,
                segyio.TraceField.CDP_Y: 60735560,
            }
            file.trace[number] = np.zeros(8, np.float32)
    return path


@pytest.mark.parametrize("endian", ["big", "little"])
def test_a_survey_says_its_ranges_interval_and_scaled_coordinates(tmp_path: Path, endian: str) -> None:
    path = survey(tmp_path / "s.sgy", endian=endian)
    facts = segy.facts(path)
    assert "IEEE" in facts.pop("sample_format").upper()
    assert facts == {
        "bytes": path.stat().st_size,
        "traces": 12,
        "samples": 8,
        "sample_interval_us": 4000,
        "inline_range": [100, 103],
        "crossline_range": [300, 304],
        "x_range": [605416.0, 605691.0],
        "y_range": [6073556.0, 6073556.0],
        "coordinate_scalar": -10,
    }


def test_a_large_survey_is_read_at_even_distances_with_both_ends(tmp_path: Path) -> None:
    facts = segy.facts(survey(tmp_path / "s.sgy"), most_traces=5)
    assert (facts["headers_read"], facts["traces"], facts["inline_range"]) == (5, 12, [100, 103])


def test_the_facts_of_a_file_are_the_metadata_of_its_reference(
    run: Run, steps: Steps, tmp_path: Path
) -> None:
    path = survey(tmp_path / "s.sgy")
    run.task("read", used={"survey": segy.file(path, store="disk")}).begin().end()
    (told,) = steps()["read"]
    assert told.used == {"survey": str(path)}
    assert json.loads(told.metadata[0])["inline_range"] == [100, 103]
    assert capture.warnings() == {}


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 5000])
def test_what_is_no_segy_file_is_a_reference_without_facts(
    run: Run, steps: Steps, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "s.sgy"
    if content is not None:
        path.write_bytes(content)
    run.task("read", used={"survey": segy.file(path, store="disk")}).begin().end()
    (told,) = steps()["read"]
    assert (told.used, told.metadata) == ({"survey": str(path)}, [])
    assert capture.warnings() == {"segy-header-not-read": 1}


def tiles(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["tile"] = 40
        file.attrs["origin"] = np.array([605416.0, 6073556.0])
        file.attrs["maker"] = np.bytes_("preparation")
        seismic = file.create_dataset("train/seismic", (6, 4, 4), "f4", chunks=(1, 4, 4), compression="gzip")
        seismic.attrs["labels"] = ["quiet", "busy"]
        seismic.attrs["large"] = np.zeros(1000)
        file["scalar"] = 3
        file["elsewhere"] = h5py.ExternalLink("missing.h5", "/x")
    return path


def test_an_hdf5_file_says_its_datasets_and_attributes(tmp_path: Path) -> None:
    path = tiles(tmp_path / "t.h5")
    facts = hdf5.facts(path)
    assert facts == {
        "bytes": path.stat().st_size,
        "dataset_count": 2,
        "attributes": {"tile": 40, "origin": [605416.0, 6073556.0], "maker": "preparation"},
        "datasets": [
            {"name": "scalar", "shape": [], "dtype": "int64"},
            {
                "name": "train/seismic",
                "shape": [6, 4, 4],
                "dtype": "float32",
                "chunks": [1, 4, 4],
                "compression": "gzip",
                "attributes": {"labels": ["quiet", "busy"], "large": {"dtype": "float64", "shape": [1000]}},
            },
        ],
    }
    json.dumps(facts)


def test_datasets_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    facts = hdf5.facts(tiles(tmp_path / "t.h5"), most_datasets=1)
    assert (len(facts["datasets"]), facts["dataset_count"]) == (1, 2)


def test_an_open_file_is_read_and_stays_open(tmp_path: Path) -> None:
    with h5py.File(tiles(tmp_path / "t.h5")) as file:
        assert hdf5.facts(file["train"])["datasets"][0]["name"] == "seismic"
        assert file


@pytest.mark.parametrize("content", [None, b"not HDF5"])
def test_what_is_no_hdf5_file_is_a_reference_without_facts(
    run: Run, steps: Steps, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "t.h5"
    if content is not None:
        path.write_bytes(content)
    run.task("read", used={"tiles": hdf5.file(path, store="disk")}).begin().end()
    (told,) = steps()["read"]
    assert (told.used, told.metadata) == ({"tiles": str(path)}, [])
    assert capture.warnings() == {"hdf5-header-not-read": 1}
