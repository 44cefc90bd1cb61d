"""Masks of several channels: a class, a class's objects, or ids and classes in each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.config import load_config
from unetkit.data import open_dataset
from unetkit.data.dataset import account_of
from unetkit.errors import DataError

SIZE, COUNT = 64, 6


def squares(seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return ids [H, W] of five to eight squares, and the class of each, 1 or 2."""
    ids = np.zeros((SIZE, SIZE), np.int32)
    for number in range(5 + seed % 4):
        row, column = divmod(number, 3)
        ids[20 * row + 4 : 20 * row + 14, 20 * column + 4 + seed : 20 * column + 12 + seed] = number + 1
    return ids, np.where(ids > 0, 1 + ids % 2, 0)


def stored(folder: Path, masks: list[NDArray[Any]]) -> None:
    """Store images whose pixels say which squares they have, and masks."""
    ids = np.stack([squares(seed)[0] for seed in range(COUNT)])
    noise = np.random.default_rng(0).integers(0, 50, ids.shape)
    np.save(folder / "images.npy", (ids * 20 + noise).astype(np.uint8))
    np.save(folder / "masks.npy", np.stack(masks))


def test_channels_with_ids_and_a_background_are_objects_with_classes(tmp_path: Path) -> None:
    masks = []
    for seed in range(COUNT):
        ids, classes = squares(seed)
        of_class = [np.where(classes == index, ids, 0) for index in (1, 2)]
        masks.append(np.stack([*of_class, ids == 0], -1).astype(np.float64))
    stored(tmp_path, masks)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "channel0", "channel1")
    for seed in range(COUNT):
        ids, classes = squares(seed)
        np.testing.assert_array_equal(dataset[seed].labels, classes)
        instances = dataset[seed].instances
        assert instances is not None
        assert len(np.unique(np.stack([ids, instances]).reshape(2, -1), axis=1).T) == ids.max() + 1
    section = [f"data.{key}={value}" for key, value in account_of(dataset).section]
    again = open_dataset(tmp_path, config=load_config({}, section).data)
    np.testing.assert_array_equal(again[3].labels, dataset[3].labels)
    np.testing.assert_array_equal(again[3].instances, dataset[3].instances)


def test_a_one_hot_mask_is_its_classes(tmp_path: Path) -> None:
    stored(tmp_path, [np.stack([squares(seed)[1] == index for index in range(3)], -1) * 1.0 for seed in range(COUNT)])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "channel1", "channel2")
    assert dataset[0].instances is None
    for seed in range(COUNT):
        np.testing.assert_array_equal(dataset[seed].labels, squares(seed)[1])


def test_ids_and_their_classes_are_objects_with_classes(tmp_path: Path) -> None:
    stored(tmp_path, [np.stack(squares(seed), -1).astype(np.uint16) for seed in range(COUNT)])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "class1", "class2")
    for seed in range(COUNT):
        ids, classes = squares(seed)
        np.testing.assert_array_equal(dataset[seed].labels, classes)
        np.testing.assert_array_equal(dataset[seed].instances, ids)


def test_of_channels_that_overlap_one_can_be_taken_alone(tmp_path: Path) -> None:
    masks = []
    for seed in range(COUNT):
        ids, _ = squares(seed)
        inner = np.where(np.roll(ids, 2, 0) == ids, ids, 0)
        masks.append(np.stack([ids, inner], -1))
    stored(tmp_path, masks)
    dataset = open_dataset(tmp_path)
    (unsure,) = account_of(dataset).unsure
    assert "channels 0 and 1 overlap: for one alone set data.mask_values={'0': 1}" in unsure
    alone = open_dataset(
        tmp_path, config=load_config({}, ["data.mask_kind=channels", "data.mask_values={'0': 1}"]).data
    )
    assert alone.classes == ("background", "channel0")
    ids = squares(4)[0]
    np.testing.assert_array_equal(alone[4].labels, ids > 0)
    np.testing.assert_array_equal(alone[4].instances, ids)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.classes=[background, cell]"], "2 channels with a class each, but 2 classes are declared"),
        (["data.mask_kind=channels", "data.mask_values={'7': 1}"], "2 channels .* but channel 7 is named"),
    ],
)
def test_channels_that_do_not_fit_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    stored(tmp_path, [np.stack([squares(seed)[1] == index for index in (1, 2)], -1) * 1 for seed in range(COUNT)])
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, config=load_config({}, words).data)[0]


def test_arrays_of_images_that_are_no_sections_are_no_stack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = np.repeat(np.repeat(rng.random((9, 32, 32)) > 0.7, 2, axis=1), 2, axis=2)
    np.save(tmp_path / "masks.npy", masks.astype(np.uint8))
    np.save(tmp_path / "images.npy", (100 * masks + rng.normal(60, 20, masks.shape)).clip(0, 255).astype(np.uint8))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 9
    assert "order" not in dict(account_of(dataset).taken)
