from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unetkit.objects import ObjectMap
from unetkit.reporting.pictures import (
    BLUE,
    GREEN,
    LONGEST_SIDE,
    ORANGE,
    Example,
    class_colours,
    error_shares,
    legend,
    scale_note,
    stretch_note,
    tiles,
)

Array = NDArray[Any]

MEMBRANES = ("membrane", "interior")


def exhibit(
    labels: np.ndarray, predicted: np.ndarray, *, classes: int = 2, pixels: np.ndarray | None = None
) -> Example:
    probabilities = np.moveaxis(np.eye(classes, dtype=np.float32)[predicted], -1, 0)
    return Example("x", np.zeros((1, *labels.shape), np.uint8) if pixels is None else pixels, labels, probabilities)


def corner(tile_pixels: Array, row: int, column: int, shape: tuple[int, int]) -> tuple[int, ...]:
    scale = tile_pixels.shape[0] // shape[0]
    return tuple(int(value) for value in tile_pixels[row * scale, column * scale])


@pytest.mark.parametrize(
    ("classes", "false", "missed"),
    [(MEMBRANES, (0, 0), (0, 1)), (("background", "nucleus"), (0, 1), (0, 0))],
    ids=["first class looked for", "second class looked for"],
)
def test_two_classes_show_false_orange_and_missed_blue(
    classes: tuple[str, str], false: tuple[int, int], missed: tuple[int, int]
) -> None:
    labels = np.array([[1, 0], [1, 0]], np.uint8)
    predicted = np.array([[0, 1], [1, 0]])
    shown = {tile.title: tile.pixels for tile in tiles(exhibit(labels, predicted), classes)}
    assert corner(shown["errors"], *false, (2, 2)) == ORANGE
    assert corner(shown["errors"], *missed, (2, 2)) == BLUE
    for right in (2, 3):
        assert len(set(corner(shown["errors"], right // 2, right % 2, (2, 2)))) == 1
    assert corner(shown["truth"], 0, 0, (2, 2)) == (255, 255, 255)
    assert corner(shown["prediction"], 0, 0, (2, 2)) == (0, 0, 0)
    assert error_shares(exhibit(labels, predicted), classes) == (0.25, 0.25)


def objects(*boxes: tuple[int, int, int, int]) -> ObjectMap:
    ids = np.zeros((12, 12), np.int32)
    for number, (top, bottom, left, right) in enumerate(boxes, 1):
        ids[top:bottom, left:right] = number
    return ObjectMap(ids, np.ones(len(boxes), np.int64), np.ones(len(boxes), np.float32))


def test_objects_are_outlined_by_whether_they_have_a_partner() -> None:
    labels = np.zeros((12, 12), np.uint8)
    true, found = objects((0, 4, 0, 4), (6, 10, 0, 4)), objects((0, 4, 0, 5), (6, 10, 3, 8), (6, 10, 9, 12))
    one = replace(exhibit(labels, labels), objects=(true, found))
    shown = {tile.title: tile.pixels for tile in tiles(one, ("background", "cell"))}
    assert list(shown)[-2:] == ["true objects", "found objects"]
    assert corner(shown["true objects"], 3, 0, (12, 12)) == GREEN
    assert corner(shown["true objects"], 1, 1, (12, 12)) not in (GREEN, ORANGE), "only the outline is coloured"
    assert corner(shown["true objects"], 9, 0, (12, 12)) == ORANGE, "an overlap of a column of four is no pair"
    assert corner(shown["found objects"], 0, 4, (12, 12)) == GREEN
    assert corner(shown["found objects"], 6, 3, (12, 12)) == ORANGE
    assert corner(shown["found objects"], 9, 11, (12, 12)) == ORANGE
    assert corner(shown["found objects"], 5, 5, (12, 12)) not in (GREEN, ORANGE)
    words = [text for _, text in legend(("background", "cell"), objects=True)]
    assert words[-2:] == ["object with a partner", "object without: missed or false"]
    assert len(tiles(exhibit(labels, labels), ("background", "cell"))) == 5


def test_the_legend_names_both_errors_by_the_class_that_is_looked_for() -> None:
    words = [text for _, text in legend(MEMBRANES)]
    assert words[:2] == ["membrane", "interior"]
    assert words[2:] == ["false membrane: truth is interior", "missed membrane: predicted as interior"]
    assert legend(("background", "nucleus"))[2] == (ORANGE, "false nucleus: truth is background")


def test_many_classes_show_wrong_pixels_in_the_colour_of_the_class_predicted() -> None:
    labels, predicted = np.array([[0, 1], [2, 3]], np.uint8), np.array([[0, 2], [2, 1]])
    shown = {tile.title: tile.pixels for tile in tiles(exhibit(labels, predicted, classes=4), tuple("abcd"))}
    colours = class_colours(4)
    assert corner(shown["errors"], 0, 1, (2, 2)) == colours[2]
    assert corner(shown["errors"], 1, 1, (2, 2)) == colours[1]
    assert corner(shown["errors"], 0, 0, (2, 2)) not in colours[1:]
    assert corner(shown["truth"], 1, 1, (2, 2)) == colours[3]
    assert [text for _, text in legend(tuple("abcd"))] == list("abcd")


@pytest.mark.parametrize("count", [2, 3, 8, 9, 40])
def test_every_class_has_a_colour_of_its_own(count: int) -> None:
    assert len(set(class_colours(count))) == count


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_any_size_depth_and_channel_count_gives_five_pictures_of_one_size(
    height: int, width: int, channels: int, dtype: str
) -> None:
    rng = np.random.default_rng(height * 1501 + width)
    pixels = rng.integers(0, 200, (channels, height, width)).astype(dtype)
    labels = rng.integers(0, 2, (height, width)).astype(np.uint8)
    shown = tiles(exhibit(labels, labels, pixels=pixels), MEMBRANES)
    assert [tile.title for tile in shown] == ["image", "truth", "prediction", "errors", "probability of interior"]
    assert len({tile.pixels.shape for tile in shown}) == 1
    assert {tile.pixels.dtype for tile in shown} == {np.dtype(np.uint8)}
    longest = max(shown[0].pixels.shape[:2])
    assert longest <= LONGEST_SIDE
    assert longest >= min(240, LONGEST_SIDE)


def test_the_image_is_stretched_between_percentiles_of_all_its_channels() -> None:
    pixels = np.zeros((3, 300, 300), np.uint16)
    pixels[0], pixels[1] = 1000, 4000
    pixels[2, 0, 0] = 65535
    made = exhibit(np.zeros((300, 300), np.uint8), np.zeros((300, 300), int), pixels=pixels)
    image = tiles(made, MEMBRANES)[0].pixels
    assert tuple(image[150, 150]) == (65, 255, 0)
    assert stretch_note(made) == "black = 0, white = 4000 (percentiles 0.5 and 99.5)"


def test_a_constant_image_is_grey() -> None:
    labels = np.zeros((300, 300), np.uint8)
    constant = np.full((1, 300, 300), 7.0, np.float32)
    image = tiles(exhibit(labels, labels.astype(int), pixels=constant), MEMBRANES)[0].pixels
    assert len(np.unique(image)) == 1
    assert 120 < image[0, 0, 0] < 136


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((512, 300), "300 × 512 px"),
        ((3000, 4000), "4000 × 3000 px, shown reduced to 600 × 450"),
        ((16, 8), "8 × 16 px, shown enlarged 15 times"),
    ],
)
def test_resizing_is_told(shape: tuple[int, int], note: str) -> None:
    labels = np.zeros(shape, np.uint8)
    assert scale_note(exhibit(labels, labels.astype(int))) == note


def test_thin_errors_fade_and_do_not_vanish_in_reduced_pictures() -> None:
    labels = np.zeros((1200, 1200), np.uint8)
    predicted = labels.astype(int)
    predicted[:, 601] = 1
    errors = tiles(exhibit(labels, predicted, pixels=np.full((1, 1200, 1200), 9, np.uint8)), MEMBRANES)[3].pixels
    line = errors[300, 300].astype(int)
    assert errors.shape == (600, 600, 3)
    assert line[2] - line[0] > 60
