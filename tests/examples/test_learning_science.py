"""What the example promises about tiles, training and measures."""

from pathlib import Path

import network
import numpy as np
import pytest
import tiles
import torch
from errors import DatasetUnreadable, TooSmall
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("deterministic_torch")


def layered(inlines: int = 4, crosslines: int = 24, samples: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Flat layers of four characters, and which layer each sample is in."""
    unit = np.minimum(np.arange(samples) * 4 // samples, 3)
    trace = np.sin(np.arange(samples) * (0.5 + 0.4 * unit)) * (1 + unit)
    cube = np.broadcast_to(trace, (inlines, crosslines, samples)).astype(np.float32).copy()
    return cube, np.broadcast_to(unit, cube.shape).astype(np.uint8)


def layered_tiles() -> tiles.Tiles:
    amplitude, labels = layered()
    return tiles.cut(amplitude, labels, size=16, threshold=0.5, units=4).kept


def test_alike_traces_have_no_noise_and_independent_ones_have_nothing_else() -> None:
    random = np.random.default_rng(3)
    trace = random.normal(size=400).astype(np.float32)
    assert tiles.noise(np.broadcast_to(trace, (40, 400))) == 0
    assert tiles.noise(random.normal(size=(40, 400)).astype(np.float32)) == pytest.approx(1, abs=0.05)
    assert tiles.noise(np.zeros((40, 400), np.float32)) == 1


def test_tiles_up_to_the_threshold_are_kept_and_noisier_ones_are_left_out() -> None:
    amplitude, labels = layered()
    random = np.random.default_rng(3)
    amplitude[2] = random.normal(size=amplitude[2].shape) * 3
    cut = tiles.cut(amplitude, labels, size=16, threshold=0.3, units=4)
    of_one_inline = len(tiles.starts(24, 16)) * len(tiles.starts(48, 16))
    assert len(cut.kept) == 3 * of_one_inline
    assert cut.dropped == of_one_inline
    assert sum(value <= 0.3 for value in cut.noise) == len(cut.kept)
    exact = tiles.cut(amplitude, labels, size=16, threshold=max(cut.noise), units=4)
    assert exact.dropped == 0


def test_a_tile_has_samples_down_and_traces_across_with_the_labels_in_place() -> None:
    amplitude, labels = layered()
    amplitude += np.arange(24, dtype=np.float32)[:, None] * 0.001
    kept = tiles.cut(amplitude, labels, size=16, threshold=1, units=4).kept
    second = next(index for index, top in enumerate(kept.top) if top == 8)
    assert np.array_equal(kept.tiles[second], amplitude[0, 0:16, 8:24].T)
    assert np.array_equal(kept.labels[second], labels[0, 0:16, 8:24].T)


@given(length=st.integers(8, 200), size=st.integers(8, 64))
def test_tiles_cover_a_section_from_edge_to_edge(length: int, size: int) -> None:
    if size > length:
        size = length
    found = tiles.starts(length, size)
    covered = np.zeros(length, dtype=bool)
    for start in found:
        assert 0 <= start <= length - size
        covered[start : start + size] = True
    assert covered.all()


@given(st.integers(3, 5000))
def test_the_parts_share_no_inline_and_leave_none_out(inlines: int) -> None:
    parts = tiles.split(inlines)
    rows = [row for part in tiles.PARTS for row in range(inlines)[parts[part]]]
    assert rows == list(range(inlines))
    assert all(len(range(inlines)[parts[part]]) >= 1 for part in tiles.PARTS)


def test_tiles_shrink_to_fit_the_section_but_not_to_nothing() -> None:
    assert tiles.tile_size_for(40, crosslines=60, samples=128) == 40
    assert tiles.tile_size_for(40, crosslines=18, samples=75) == 18
    with pytest.raises(TooSmall, match="select more crosslines"):
        tiles.tile_size_for(40, crosslines=7, samples=75)
    with pytest.raises(TooSmall, match="3 or more"):
        tiles.split(2)


def test_tile_files_come_back_as_they_were_and_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    wanted = layered_tiles()
    path = tiles.write_tiles(tmp_path / "a.h5", wanted, {"tile_size": 16})
    found = tiles.read_tiles(path)
    assert np.array_equal(found.tiles, wanted.tiles) and np.array_equal(found.labels, wanted.labels)
    assert found.class_balance == wanted.class_balance
    assert sum(found.class_balance) == pytest.approx(1, abs=1e-5)
    again = tiles.write_tiles(tmp_path / "b.h5", wanted, {"tile_size": 16})
    assert again.read_bytes() == path.read_bytes()


def test_a_file_that_holds_no_tiles_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnreadable, match="run the previous script"):
        tiles.read_tiles(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(DatasetUnreadable, match="not an HDF5 file"):
        tiles.read_tiles(tmp_path / "text.h5")
    tiles.write_arrays(tmp_path / "other.h5", {"x": np.zeros(3)}, {})
    with pytest.raises(DatasetUnreadable, match="has no 'tiles'"):
        tiles.read_tiles(tmp_path / "other.h5")
    amplitude, labels = layered()
    nothing = tiles.cut(amplitude, labels, size=16, threshold=-1, units=4).kept
    with pytest.raises(TooSmall, match="--noise-threshold"):
        tiles.read_tiles(tiles.write_tiles(tmp_path / "empty.h5", nothing, {}))


def train(seed: int, epochs: int = 12) -> tuple[list[float], network.Training]:
    training = network.Training(layered_tiles(), learning_rate=0.02, batch_size=16, seed=seed)
    losses = []
    for epoch in range(epochs):
        training.restart()
        losses += [training.learn(batch) for batch in training.batches(epoch)]
    return losses, training


def test_training_with_the_same_seed_repeats_every_loss_and_with_another_none() -> None:
    first, _ = train(seed=5, epochs=2)
    assert train(seed=5, epochs=2)[0] == first
    assert train(seed=6, epochs=2)[0] != first


def test_training_learns_better_than_chance() -> None:
    losses, training = train(seed=5)
    measures = network.evaluate(training.network, layered_tiles())
    assert losses[-1] < losses[0]
    assert measures.accuracy > 0.5  # chance is about 0.25
    assert 0.3 < measures.mean_iou <= 1


def test_every_tile_is_learnt_from_once_an_epoch_in_an_order_of_its_own() -> None:
    training = network.Training(layered_tiles(), learning_rate=0.02, batch_size=7, seed=5)
    first, second = (torch.cat(training.batches(epoch)).tolist() for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(len(training.inputs)))
    assert first != second


def test_the_network_keeps_the_size_of_a_tile_even_or_odd() -> None:
    for size in (16, 17, 40):
        assert network.StratigraphicNet(4)(torch.zeros(2, 2, size, size)).shape == (2, 4, size, size)


@given(st.lists(st.integers(0, 1000), min_size=16, max_size=16))
def test_mean_iou_lies_between_none_and_all(counts: list[int]) -> None:
    assert 0 <= network.mean_iou(np.array(counts).reshape(4, 4)) <= 1


def test_mean_iou_is_the_mean_over_the_units_that_occur() -> None:
    assert network.mean_iou(np.diag([5, 7, 0])) == 1
    assert network.mean_iou(np.array([[2, 2], [0, 4]])) == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert network.mean_iou(np.zeros((3, 3), dtype=np.int64)) == 0


def test_a_model_comes_back_from_its_file_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    _, training = train(seed=5, epochs=1)
    path = network.save_model(tmp_path / "a" / "m.pt", training.network, learning_rate=0.02, epoch=0, seed=5)
    again = network.save_model(tmp_path / "b" / "m.pt", training.network, learning_rate=0.02, epoch=0, seed=5)
    assert again.read_bytes() == path.read_bytes()
    networks = training.network, network.load_model(path)
    before, after = (network.evaluate(each, layered_tiles()) for each in networks)
    assert before.loss == after.loss
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(DatasetUnreadable, match=r"junk\.pt is not a model"):
        network.load_model(tmp_path / "junk.pt")
