"""Nuclei with one mask an object, from the folder and from the archive."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetkit.checks.check import before_training
from unetkit.config import Config, DataConfig
from unetkit.data import open_dataset, open_images, samples_of
from unetkit.data.dataset import account_of, division_of
from unetkit.errors import DataError

RNG = np.random.default_rng(0)


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def disc(row: int, column: int) -> np.ndarray:
    y, x = np.ogrid[:20, :24]
    return np.where((y - row) ** 2 + (x - column) ** 2 <= 16, np.uint8(255), np.uint8(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "stage1"
    for identity in ("bb", "aa"):
        put(root / identity / "images" / f"{identity}.png", RNG.integers(0, 256, (20, 24, 4), np.uint8))
        put(root / identity / "masks" / "1.png", disc(6, 6))
        put(root / identity / "masks" / "2.png", disc(8, 9))
        put(root / identity / "masks" / "3.png", disc(15, 19))
    return root


def packed(folder: Path, *, inside: bool = False) -> Path:
    base = folder.parent if inside else folder
    archive = shutil.make_archive(str(folder.parent.parent / f"{folder.parent.name}{inside}"), "zip", base)
    return Path(archive)


def test_every_mask_is_an_object_and_the_first_wins(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.classes == ("background", "object")
    assert [sample.name for sample in samples_of(dataset)] == ["aa", "bb"]
    sample = dataset[0]
    expected = np.zeros((20, 24), np.int32)
    for number, mask in ((3, disc(15, 19)), (2, disc(8, 9)), (1, disc(6, 6))):
        expected[mask > 0] = number
    np.testing.assert_array_equal(sample.instances, expected)
    np.testing.assert_array_equal(sample.labels, expected > 0)
    assert sample.pixels.shape == (3, 20, 24)
    before_training(dataset, Config())


@pytest.mark.parametrize("inside", [False, True])
def test_the_archive_is_read_directly(folder: Path, inside: bool) -> None:
    loose, archived = open_dataset(folder), open_dataset(packed(folder, inside=inside))
    assert len(loose) == len(archived) == 2
    for one, other in zip(samples_of(loose), samples_of(archived), strict=True):
        assert other.name.endswith(one.name)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.instances, other.instances)


def test_images_alone_are_opened_for_prediction(folder: Path) -> None:
    for identity in ("aa", "bb"):
        shutil.rmtree(folder / identity / "masks")
    for place in (folder, packed(folder)):
        images = open_images(place)
        assert [sample.name for sample in samples_of(images)] == ["aa", "bb"]
        assert images.classes == ()
        assert images[0].labels is None


def test_an_image_without_masks(folder: Path) -> None:
    shutil.rmtree(folder / "bb" / "masks")
    with pytest.raises(DataError, match=r"bb/images/bb\.png: has no masks in bb/masks"):
        open_dataset(folder)


def test_masks_without_an_image_and_with_two(folder: Path) -> None:
    put(folder / "bb" / "images" / "other.png", RNG.integers(0, 256, (20, 24), np.uint8))
    with pytest.raises(DataError, match="bb/images holds 2 images"):
        open_dataset(folder)
    shutil.rmtree(folder / "bb" / "images")
    with pytest.raises(DataError, match=r"bb/masks/1\.png: has no image in bb/images"):
        open_dataset(folder)


def test_masks_that_do_not_fit_or_are_empty(folder: Path) -> None:
    put(folder / "aa" / "masks" / "2.png", disc(6, 6)[:19])
    with pytest.raises(DataError, match=r"masks/2\.png: 19 x 24 pixels .* has 20 x 24"):
        open_dataset(folder)[0]
    put(folder / "aa" / "masks" / "2.png", disc(6, 6) * 0)
    with pytest.raises(DataError, match=r"masks/2\.png: an empty mask"):
        open_dataset(folder)[0]
    (folder / "aa" / "masks" / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"masks/2\.png: the file is empty"):
        open_dataset(folder)[0]


def test_more_than_two_classes_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="two classes, background and object, but 3 are declared"):
        open_dataset(folder, config=DataConfig(classes=("a", "b", "c")))


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").touch()
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "in")
    with pytest.raises(DataError, match=r"x\.zip: not a data set that is known \(no image files"):
        open_dataset(archive)
    with pytest.raises(DataError, match="no image files"):
        open_images(archive)


def test_the_real_archive(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "dsb2018" / "stage1_train.zip")
    assert len(dataset) == 599
    first = dataset[0]
    assert first.name == "00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552"
    assert first.pixels.shape == (3, 256, 256)
    assert first.instances is not None
    assert len(np.unique(first.instances)) == 28
    np.testing.assert_array_equal(first.labels, first.instances > 0)


def test_a_folder_with_one_archive_is_that_archive(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "downloaded"
    home.mkdir()
    archive = packed(folder).rename(home / "train.zip")
    (home / "README.txt").write_text("as it came", encoding="utf-8")
    assert len(open_dataset(home)) == 2
    shutil.copy(archive, home / "test.zip")
    both = open_dataset(home)
    assert len(both) == 4
    assert len(division_of(both).test) == 2


def test_a_folder_without_any_masks_is_left_out(folder: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(folder, both / "stage1_train")
    shutil.copytree(folder, both / "stage1_test", ignore=shutil.ignore_patterns("masks"))
    dataset = open_dataset(both)
    assert len(dataset) == 2
    assert "2 images are left out: stage1_test" in dict(account_of(dataset).taken)["no masks"]
