"""What the example promises about reading SEG-Y."""

import os
from pathlib import Path

import numpy as np
import pytest
import segyio
import survey
import synthetic
from errors import SurveyNotACube, SurveyUnreadable


def test_the_facts_of_a_real_survey_are_read_from_its_headers(f3: Path) -> None:
    facts = survey.read_facts(f3)
    assert facts.inline_range == (111, 133)
    assert facts.crossline_range == (875, 892)
    assert (facts.n_inlines, facts.n_crosslines, facts.n_samples) == (23, 18, 75)
    assert facts.sample_interval_us == 4000
    assert facts.filesize_bytes == f3.stat().st_size
    assert facts.sha256 == "6008d05547c6b8f6050cea7ca4683f1be3fac260235cad47eb5e61ee05d2ce23"


def test_the_coordinates_of_a_survey_are_those_of_its_header_divided_by_the_scalar(f3: Path) -> None:
    facts = survey.read_facts(f3)
    assert (facts.geox1, facts.geoy1) == (620197.2, 6074232.9)  # 6201972 and 60742329, scalar -10


@pytest.mark.parametrize(
    ("scalar", "expected"), [(-100, 12.34), (-1, 1234.0), (0, 1234.0), (1, 1234.0), (10, 12340.0)]
)
def test_a_negative_scalar_divides_a_positive_one_multiplies_and_zero_means_one(
    scalar: int, expected: float
) -> None:
    assert survey.scaled(1234, scalar) == expected


def test_two_byte_samples_are_read_as_floats_in_the_order_of_the_grid(f3: Path) -> None:
    volume = survey.read_volume(f3)
    assert volume.amplitude.shape == (23, 18, 75)
    assert volume.amplitude.dtype == np.float32
    with segyio.open(str(f3)) as segy:
        assert np.array_equal(volume.amplitude[3, 5], segy.iline[114][5])


def test_the_synthetic_survey_is_a_cube_with_the_numbers_of_its_recipe(synthetic_survey: Path) -> None:
    facts = survey.read_facts(synthetic_survey)
    assert (facts.inline_range, facts.crossline_range) == ((100, 159), (300, 359))
    assert (facts.n_samples, facts.sample_interval_us) == (128, 4000)
    assert (facts.geox1, facts.geoy1) == (605416.7, 6073556.4)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    small = synthetic.Recipe(inlines=8, crosslines=9, samples=48)
    other = synthetic.Recipe(inlines=8, crosslines=9, samples=48, seed=1)
    first = synthetic.write_survey(tmp_path / "a.sgy", small).read_bytes()
    assert synthetic.write_survey(tmp_path / "b.sgy", small).read_bytes() == first
    assert synthetic.write_survey(tmp_path / "c.sgy", other).read_bytes() != first


@pytest.mark.parametrize("content", [b"", b"not seismic", b"x" * 9000, b"\0" * 3600, b"\0" * 100_000])
def test_a_file_that_is_not_seg_y_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.sgy"
    path.write_bytes(content)
    with pytest.raises(SurveyUnreadable, match=r"notes\.sgy is not a SEG-Y file") as refusal:
        survey.read_facts(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SurveyUnreadable, match="does not exist"):
        survey.read_facts(tmp_path / "nowhere.sgy")


def test_a_folder_is_said_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SurveyUnreadable, match="is a folder"):
        survey.read_facts(tmp_path)


def test_a_file_without_permission_is_said_to_be_so(
    tmp_path: Path, f3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.sgy"
    path.write_bytes(f3.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything: let the system refuse, as it does for others

        def refuse(*arguments: object, **keywords: object) -> object:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SurveyUnreadable, match="no permission to read"):
        survey.read_facts(path)


def write_traces(path: Path, places: list[tuple[int, int]]) -> Path:
    """A SEG-Y file with a trace at each (inline, crossline), in that order."""
    spec = segyio.spec()
    spec.format, spec.tracecount, spec.samples = 5, len(places), np.arange(30)
    with segyio.create(str(path), spec) as segy:
        for number, (inline, crossline) in enumerate(places):
            segy.header[number] = {
                segyio.TraceField.INLINE_3D: inline,
                segyio.TraceField.CROSSLINE_3D: crossline,
            }
            segy.trace[number] = np.arange(30, dtype=np.float32)
    return path


@pytest.mark.parametrize(
    "places",
    [
        [(7, x) for x in range(20)],
        [(i, 7) for i in range(20)],
        [(0, 0) for _ in range(20)],
    ],
    ids=["one inline", "one crossline", "no numbers"],
)
def test_a_2d_line_is_said_to_be_one(tmp_path: Path, places: list[tuple[int, int]]) -> None:
    with pytest.raises(SurveyNotACube, match="is a 2-D line, not a 3-D survey: 20 traces"):
        survey.read_volume(write_traces(tmp_path / "line.sgy", places))


def test_a_pre_stack_gather_is_refused(tmp_path: Path) -> None:
    places = [(i, x) for i in (1, 2) for x in (1, 2) for _ in range(3)]
    with pytest.raises(SurveyNotACube, match="more than one trace at a place"):
        survey.read_volume(write_traces(tmp_path / "gather.sgy", places))


def test_a_grid_with_holes_is_refused(tmp_path: Path) -> None:
    places = [(i, x) for i in range(1, 6) for x in range(1, 6)]
    del places[12], places[3]
    with pytest.raises(SurveyNotACube, match="no regular grid"):
        survey.read_volume(write_traces(tmp_path / "holes.sgy", places))


def test_a_survey_with_its_numbers_elsewhere_is_read_with_the_bytes_given(tmp_path: Path) -> None:
    spec = segyio.spec()
    spec.format, spec.tracecount, spec.samples = 5, 12, np.arange(30)
    path = tmp_path / "elsewhere.sgy"
    with segyio.create(str(path), spec) as segy:
        for number in range(12):
            segy.header[number] = {
                segyio.TraceField.FieldRecord: 50 + number // 4,
                segyio.TraceField.CDP: 80 + number % 4,
            }
            segy.trace[number] = np.full(30, number, dtype=np.float32)
    with pytest.raises(SurveyNotACube, match="--inline-byte"):
        survey.read_facts(path)
    facts = survey.read_facts(path, inline_byte=9, crossline_byte=21)
    assert (facts.inline_range, facts.crossline_range) == ((50, 52), (80, 83))


def test_a_little_endian_file_is_read_as_well(tmp_path: Path, f3: Path) -> None:
    spec = segyio.spec()
    spec.format, spec.sorting, spec.endian = 5, 2, "little"
    spec.ilines, spec.xlines, spec.samples = np.arange(1, 4), np.arange(5, 9), np.arange(30)
    path = tmp_path / "little.sgy"
    with segyio.create(str(path), spec) as segy:
        for number in range(12):
            segy.header[number] = {
                segyio.TraceField.INLINE_3D: 1 + number // 4,
                segyio.TraceField.CROSSLINE_3D: 5 + number % 4,
            }
            segy.trace[number] = np.full(30, number, dtype=np.float32)
    assert survey.read_facts(path).crossline_range == (5, 8)
    assert survey.read_volume(path).amplitude[2, 3, 0] == 11
