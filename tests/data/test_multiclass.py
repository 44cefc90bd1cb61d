from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetkit.config import DataConfig, SplitConfig
from unetkit.data import in_memory, open_dataset, samples_of, split_dataset
from unetkit.errors import ConfigError

RNG = np.random.default_rng(0)


def put(folder: Path, *, classes: int = 2) -> None:
    folder.mkdir(parents=True)
    Image.fromarray(RNG.integers(0, 256, (10, 12, 3), np.uint8)).save(folder / "image.png")
    indices = RNG.integers(0, classes, (10, 12), np.uint8)
    Image.fromarray(indices * np.uint8(255) if classes == 2 else indices).save(folder / "mask.png")


def names(path: Path) -> list[str]:
    return [sample.name for sample in samples_of(open_dataset(path))]


def test_folders_are_sorted_by_id(tmp_path: Path) -> None:
    for identity in ("c", "a", "b"):
        put(tmp_path / identity)
    assert names(tmp_path) == ["a", "b", "c"]
    assert set(np.unique(open_dataset(tmp_path)[0].labels)) == {0, 1}


def test_more_classes_are_indices(tmp_path: Path) -> None:
    put(tmp_path / "a", classes=4)
    dataset = open_dataset(tmp_path, config=DataConfig(classes=("n", "a", "b", "c")))
    np.testing.assert_array_equal(dataset[0].labels, np.asarray(Image.open(tmp_path / "a" / "mask.png")))


def test_train_and_val_are_a_given_split(tmp_path: Path) -> None:
    for identity in ("train/a", "train/b", "val/a"):
        put(tmp_path / identity)
    assert names(tmp_path) == ["train-a", "train-b", "val-a"]
    for dataset in (open_dataset(tmp_path), in_memory(open_dataset(tmp_path))):
        split = split_dataset(dataset, SplitConfig(method="given"))
        assert (split.train, split.validation) == ((0, 1), (2,))


@pytest.mark.parametrize("count", [5, 7, 12, 33])
def test_the_founding_split_is_the_last_of_five_blocks(tmp_path: Path, count: int) -> None:
    for number in range(count):
        put(tmp_path / f"{number:02}")
    split = split_dataset(open_dataset(tmp_path), SplitConfig(method="blocks", fold=4))
    assert split.train == tuple(range(int(0.8 * count)))


def test_data_that_is_not_divided_has_no_given_split(tmp_path: Path) -> None:
    put(tmp_path / "a")
    with pytest.raises(ConfigError, match="not divided into train and val"):
        split_dataset(open_dataset(tmp_path), SplitConfig(method="given"))
