from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from unetkit.reporting.pictures import Example, panel, png


@pytest.mark.parametrize("colours", [1, 2, 200, 256, 5000])
@pytest.mark.parametrize("grey", [True, False])
def test_png_keeps_every_pixel(colours: int, grey: bool) -> None:
    rng = np.random.default_rng(colours)
    palette = rng.integers(0, 256, (colours, 3)).astype(np.uint8)
    pixels = palette[rng.integers(0, colours, (90, 60))]
    pixels = np.repeat(pixels[..., :1], 3, -1) if grey else pixels
    read = np.asarray(Image.open(BytesIO(png(pixels))).convert("RGB"))
    assert np.array_equal(read, pixels)


def test_few_colours_make_a_file_with_a_palette() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[3:9] = (213, 94, 0)
    assert Image.open(BytesIO(png(pixels))).mode == "P"


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (2, 3), (5, 1), (40, 3)])
def test_a_panel_holds_five_pictures_their_titles_and_a_legend(
    classes: int, channels: int, make_exhibits: Callable[..., list[Example]]
) -> None:
    exhibit = make_exhibits(1, size=96, classes=classes, channels=channels)[0]
    names = tuple(f"class {index}" for index in range(classes))
    made = panel(exhibit, names)
    assert made.dtype == np.uint8
    assert made.ndim == 3
    assert made.shape[2] == 3
    assert made.shape[1] >= 5 * 288
    assert made.shape[0] > 288 + 2 * 30
    assert (made[0] == 255).all()
    assert (made[-1] == 255).all()
    assert (made[-40:-10] < 128).any()


def test_long_legends_take_more_lines_and_stay_inside(make_exhibits: Callable[..., list[Example]]) -> None:
    exhibit = make_exhibits(1, size=96, classes=8)[0]
    short = panel(exhibit, tuple("abcdefgh"))
    long = panel(exhibit, tuple(f"{letter * 40}" for letter in "abcdefgh"))
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]
    assert (long[:, -4:] == 255).all()


def test_letters_that_cannot_be_drawn_give_way_to_numbers(make_exhibits: Callable[..., list[Example]]) -> None:
    exhibit = make_exhibits(1)[0]
    assert np.array_equal(panel(exhibit, ("膜", "细胞"), heading="第一"), panel(exhibit, ("class 0", "class 1")))
