"""What the example promises about cleaning a survey and outlining its units."""

from pathlib import Path

import cleaning
import documents
import horizons
import numpy as np
import pytest
import survey
import synthetic
from errors import BadOption, DatasetUnreadable, TooSmall


@pytest.fixture(scope="module")
def cleaned(synthetic_survey: Path) -> cleaning.Cleaned:
    volume = survey.read_volume(synthetic_survey)
    return cleaning.clean(
        volume.amplitude, sample_interval_us=volume.sample_interval_us, quality_threshold=0.3
    )


def test_dead_traces_have_no_quality_and_are_repaired_from_their_neighbours() -> None:
    trace = np.sin(np.arange(64) / 3)
    cube = np.broadcast_to(trace, (5, 5, 64)).copy()
    cube[2, 2] = 0
    quality = cleaning.trace_quality(cube)
    assert quality[2, 2] == 0
    assert np.delete(quality.ravel(), 12).min() > 0.99
    assert np.allclose(cleaning.mend(cube, quality < 0.3), trace)


def test_a_trace_without_good_neighbours_stays_as_it_is() -> None:
    cube = np.random.default_rng(1).normal(size=(3, 3, 8))
    assert np.array_equal(cleaning.mend(cube, np.ones((3, 3), dtype=bool)), cube)


def test_the_band_pass_removes_what_lies_outside_the_seismic_band() -> None:
    time = np.arange(500) * 0.004
    kept, slow, fast = (np.sin(2 * np.pi * hz * time)[None, None] for hz in (30.0, 0.5, 118.0))
    filtered = cleaning.band_pass(kept + slow + fast, 4000)
    assert np.abs(filtered - kept)[..., 50:-50].max() < 0.02


def test_a_cleaned_survey_has_amplitudes_of_one_scale_whatever_the_file_had(
    f3: Path, cleaned: cleaning.Cleaned
) -> None:
    volume = survey.read_volume(f3)
    real = cleaning.clean(volume.amplitude, sample_interval_us=4000, quality_threshold=0.3)
    for cube in (cleaned.amplitude, real.amplitude):
        assert cube.dtype == np.float32
        assert 0.8 < float(np.sqrt((cube**2).mean())) <= 1.0
    assert cleaned.traces_repaired >= synthetic.Recipe().dead_traces


def test_the_picked_horizons_follow_the_strong_reflectors_across_the_faults(
    cleaned: cleaning.Cleaned,
) -> None:
    recipe = synthetic.Recipe()
    truth = np.array([0.28, 0.52, 0.76])[:, None, None] * recipe.samples + synthetic.depth_shift(recipe)
    picked = horizons.pick(cleaned.amplitude, units=4)
    assert np.abs(picked - truth).mean() < 1.0
    assert (np.abs(picked - truth) > 2).mean() < 0.05


@pytest.mark.parametrize("units", [2, 3, 4, 6])
def test_horizons_never_cross_and_never_leave_the_section(f3: Path, units: int) -> None:
    volume = survey.read_volume(f3)
    cube = cleaning.clean(volume.amplitude, sample_interval_us=4000, quality_threshold=0.3).amplitude
    picked = horizons.pick(cube, units=units)
    assert picked.shape == (units - 1, 23, 18)
    assert (np.diff(picked, axis=0) >= 0).all()
    assert picked.min() >= 1 and picked.max() <= 74


def test_a_featureless_survey_is_divided_all_the_same() -> None:
    picked = horizons.pick(np.zeros((4, 4, 64), dtype=np.float32), units=4)
    assert len(set(np.median(picked, axis=(1, 2)).tolist())) == 3


def test_too_few_samples_for_the_units_are_refused() -> None:
    with pytest.raises(TooSmall, match="--units"):
        horizons.pick(np.zeros((4, 4, 20), dtype=np.float32), units=4)


def test_the_polygons_give_back_the_labels_they_were_made_from(cleaned: cleaning.Cleaned) -> None:
    picked = horizons.pick(cleaned.amplitude, units=4)
    inlines, crosslines = np.arange(100, 160, dtype=np.int32), np.arange(300, 360, dtype=np.int32)
    document = {"polygons": horizons.polygons(picked, inlines, crosslines, 128)}
    labels = horizons.label(picked, 128)
    assert np.array_equal(horizons.rasterise(document, inlines, crosslines, 128), labels)
    part = horizons.rasterise(document, inlines[10:20], crosslines[5:9], 128)
    assert np.array_equal(part, labels[10:20, 5:9])


@pytest.mark.parametrize("document", [{}, {"polygons": []}, {"polygons": [{"inline": 1}]}])
def test_a_document_without_the_polygons_needed_is_refused(document: dict[str, object]) -> None:
    one = np.array([1], dtype=np.int32)
    with pytest.raises(DatasetUnreadable, match="polygon"):
        horizons.rasterise(document, one, one, 10)


def test_the_same_document_has_the_same_reference_and_comes_back_as_it_was(tmp_path: Path) -> None:
    reference = documents.put(tmp_path, "seismic/polygons", {"b": [1, 2], "a": "é"})
    assert documents.put(tmp_path, "seismic/polygons", {"a": "é", "b": [1, 2]}) == reference
    assert documents.get(tmp_path, reference) == {"a": "é", "b": [1, 2]}
    with pytest.raises(DatasetUnreadable, match="--documents"):
        documents.get(tmp_path, "seismic/polygons/none")


def test_the_annotations_of_a_known_survey_are_found_and_those_given_take_their_place() -> None:
    facts = Path(documents.__file__).with_name("domain.nt")
    resource = documents.survey_resource(Path("/data/f3.sgy"))
    known = documents.known_facts(resource, facts, basin=None, field=None)
    assert f'<{resource}> <{documents.OG}associatedOilField> "F3" .' in known
    given = documents.known_facts(resource, facts, basin=None, field='A "new" field')
    assert [line for line in given if "OilField" in line] == [
        f'<{resource}> <{documents.OG}associatedOilField> "A \\"new\\" field" .'
    ]


def test_an_unknown_survey_has_a_neutral_resource_and_no_basin() -> None:
    facts = Path(documents.__file__).with_name("domain.nt")
    resource = documents.survey_resource(Path("/data/my survey.sgy"))
    assert resource == "http://example.org/surveys/my%20survey.sgy"
    assert len(documents.known_facts(resource, facts, basin=None, field=None)) == 1
    with pytest.raises(BadOption, match="one line"):
        documents.known_facts(resource, facts, basin="two\nlines", field=None)
