"""Images of one set in one form."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.config import DataConfig
from unetkit.data import open_dataset
from unetkit.data.channels import pages_as_channels
from unetkit.data.dataset import account_of
from unetkit.errors import DataError
from unetkit.images import open_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 32), np.uint8)
RGB = RNG.integers(0, 256, (24, 32, 3), np.uint8)


def put(folder: Path, *images: np.ndarray) -> Path:
    for number, image in enumerate(images):
        for name, pixels in (("images", image), ("masks", (GREY > 99) * np.uint8(255))):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(pixels).save(path)
    return folder


def test_grey_images_among_coloured_ones_are_read_as_rgb(tmp_path: Path) -> None:
    dataset = open_dataset(put(tmp_path, GREY, RGB, GREY))
    assert [dataset[index].pixels.shape for index in range(3)] == [(3, 24, 32)] * 3
    np.testing.assert_array_equal(dataset[0].pixels, np.stack([GREY] * 3))
    np.testing.assert_array_equal(dataset[1].pixels, RGB.transpose(2, 0, 1))
    assert ("channels", "RGB: 2 of 3 images are grey, and are read as RGB like the others") in account_of(dataset).taken


def test_rgb_images_without_a_colour_among_grey_ones_are_read_as_grey(tmp_path: Path) -> None:
    dataset = open_dataset(put(tmp_path, GREY, np.dstack([GREY] * 3), GREY))
    np.testing.assert_array_equal(dataset[1].pixels, GREY[None])
    assert dict(account_of(dataset).taken)["channels"].startswith("grey: 1 of 3 images are RGB without a colour")


def test_a_set_of_one_form_is_left_as_it_is(tmp_path: Path) -> None:
    dataset = open_dataset(put(tmp_path, np.dstack([GREY] * 3), np.dstack([GREY] * 3)))
    assert dataset[0].pixels.shape == (3, 24, 32)
    assert "channels" not in dict(account_of(dataset).taken)


def test_channels_are_chosen(tmp_path: Path) -> None:
    put(tmp_path, GREY, GREY)
    for number in range(2):
        (tmp_path / "images" / f"{number}.png").unlink()
        tifffile.imwrite(
            tmp_path / "images" / f"{number}.tif",
            np.stack([GREY, ~GREY, GREY // 2]),
            metadata={"axes": "CYX"},
            photometric="minisblack",
        )
    dataset = open_dataset(tmp_path, config=DataConfig(channels=(2, 0)))
    np.testing.assert_array_equal(dataset[0].pixels, np.stack([GREY // 2, GREY]))
    with pytest.raises(DataError, match=r"has 3 channels .* but data\.channels names channel 3"):
        open_dataset(tmp_path, config=DataConfig(channels=(3,)))


def test_pages_without_names_are_channels_where_the_mask_has_one(tmp_path: Path) -> None:
    put(tmp_path, GREY, GREY)
    for number in range(2):
        (tmp_path / "images" / f"{number}.png").unlink()
        np.save(tmp_path / "images" / f"{number}.npy", np.stack([GREY, ~GREY]))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    np.testing.assert_array_equal(dataset[0].pixels, np.stack([GREY, ~GREY]))
    image = open_image(tmp_path / "images" / "0.npy")
    assert pages_as_channels(image).shape == (2, 24, 32)
    tifffile.imwrite(tmp_path / "z.tif", np.stack([GREY, ~GREY]), metadata={"axes": "ZYX"}, photometric="minisblack")
    named = open_image(tmp_path / "z.tif")
    assert pages_as_channels(named) is named
