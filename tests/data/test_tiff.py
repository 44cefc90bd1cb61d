"""Stacks of images and masks, under the challenge's names and under others."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetkit.config import DataConfig
from unetkit.data import in_memory, open_dataset, open_images, samples_of
from unetkit.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 20, 24), np.uint8)
LABELS = np.where(RNG.random((12, 20, 24)) < 0.3, np.uint8(0), np.uint8(255))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "train-volume.tif", IMAGES)
    tifffile.imwrite(tmp_path / "train-labels.tif", LABELS)
    tifffile.imwrite(tmp_path / "test-volume.tif", IMAGES[::-1])
    return tmp_path


def test_the_challenge_names_are_known(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.classes == ("membrane", "interior")
    assert [sample.name for sample in samples_of(dataset)] == [f"train-volume[{page:02}]" for page in range(12)]
    sample = dataset[7]
    np.testing.assert_array_equal(sample.pixels[0], IMAGES[7])
    np.testing.assert_array_equal(sample.labels, LABELS[7] // 255)
    assert sample.source == str(folder / "train-volume.tif")


def test_the_image_stack_itself_may_be_named(folder: Path) -> None:
    assert len(open_dataset(folder / "train-volume.tif")) == 12


def test_the_test_stack_is_what_a_folder_is_predicted_from(folder: Path) -> None:
    np.testing.assert_array_equal(open_images(folder)[0].pixels[0], IMAGES[-1])


def test_any_two_stacks_may_be_named(folder: Path) -> None:
    (folder / "train-volume.tif").rename(folder / "em.tif")
    (folder / "train-labels.tif").rename(folder / "drawn.tif")
    config = DataConfig(images="em.tif", labels="drawn.tif", classes=("wall", "cell"))
    dataset = open_dataset(folder, config=config)
    assert dataset.classes == ("wall", "cell")
    assert dataset[3].name == "em[03]"
    named = DataConfig(images=str(folder / "em.tif"), labels=str(folder / "drawn.tif"))
    assert len(open_dataset(None, config=named)) == 12


def test_images_without_labels_in_the_configuration_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.labels is missing"):
        open_dataset(folder, config=DataConfig(images="train-volume.tif"))
    with pytest.raises(ConfigError, match=r"data\.images is missing"):
        open_dataset(folder, config=DataConfig(labels="train-labels.tif"))
    with pytest.raises(DataError, match=r"absent\.tif: there is no such file"):
        open_dataset(folder, config=DataConfig(images="absent.tif", labels="train-labels.tif"))


@pytest.mark.parametrize("name", ["train-volume", "train-labels"])
def test_half_a_pair_is_refused(folder: Path, name: str) -> None:
    (folder / f"{name}.tif").unlink()
    with pytest.raises(DataError, match=rf"{name}\.tif is missing"):
        open_dataset(folder)


def test_the_test_stack_alone_cannot_be_trained_on(folder: Path) -> None:
    (folder / "train-volume.tif").unlink()
    (folder / "train-labels.tif").unlink()
    with pytest.raises(DataError, match=r"test-volume\.tif is there, but train-volume\.tif is missing"):
        open_dataset(folder)


def test_other_sizes_are_refused_before_anything_is_read(folder: Path) -> None:
    tifffile.imwrite(folder / "train-labels.tif", LABELS[:, :, :20])
    with pytest.raises(DataError, match=r"train-labels\.tif: 20 x 20 pixels .* has 20 x 24"):
        open_dataset(folder)


def test_the_real_stack(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "isbi2012")
    assert len(dataset) == 30
    assert dataset[29].pixels.shape == (1, 512, 512)
    assert 0.7 < np.mean([sample.labels.mean() for sample in samples_of(dataset) if sample.labels is not None]) < 0.85


def test_a_set_in_memory_is_cut_off_from_its_files(folder: Path) -> None:
    held = in_memory(open_dataset(folder))
    (folder / "train-volume.tif").write_bytes(b"")
    np.testing.assert_array_equal(held[7].pixels[0], IMAGES[7])
    assert in_memory(held) is held
    assert held.classes == ("membrane", "interior")
    assert len(held) == 12
