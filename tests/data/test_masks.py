from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from unetkit.data.masks import MaskMap
from unetkit.errors import ConfigError, DataError
from unetkit.images import open_image

TWO, FOUR = ("background", "cell"), ("background", "a", "b", "c")


def of(values: list[int], dtype: type = np.uint8) -> np.ndarray:
    return np.array(values, dtype).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("classes", "stored", "expected"),
    [
        (TWO, of([0, 255]), [0, 1]),
        (TWO, of([255, 255]), [1, 1]),
        (TWO, of([0, 0]), [0, 0]),
        (TWO, of([0, 1]), [0, 1]),
        (TWO, of([0, 65535], np.uint16), [0, 1]),
        (TWO, of([0, 1], np.float32), [0, 1]),
        (TWO, of([0, 255], np.float64), [0, 1]),
        (TWO, of([0, 1], np.bool_), [0, 1]),
        (TWO, of([0, 1], ">u2"), [0, 1]),
        (FOUR, of([3, 0, 2]), [3, 0, 2]),
        (FOUR, of([3, 0, 2], np.int32), [3, 0, 2]),
        (TWO, np.repeat(of([0, 255]), 3, axis=0), [0, 1]),
    ],
)
def test_usual_masks_need_no_table(classes: tuple[str, ...], stored: np.ndarray, expected: list[int]) -> None:
    labels = MaskMap(classes).labels(stored, "m.png")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [expected]


@given(
    values=st.lists(st.integers(0, 300), min_size=1, max_size=5, unique=True),
    data=st.data(),
    dtype=st.sampled_from([np.uint16, np.int32, np.float32]),
)
def test_a_table_maps_every_value_it_names(values: list[int], data: st.DataObject, dtype: type) -> None:
    table = {str(value): data.draw(st.integers(0, 3)) for value in values}
    stored = data.draw(arrays.arrays(dtype, (1, 3, 4), elements=st.sampled_from([dtype(value) for value in values])))
    labels = MaskMap.of(table, FOUR).labels(stored, "m.tif")
    assert labels.tolist() == [[table[str(int(value))] for value in row] for row in stored[0]]


@given(colours=st.lists(st.integers(0, 0xFFFFFF), min_size=1, max_size=4, unique=True), data=st.data())
def test_a_table_of_colours_maps_every_colour_it_names(colours: list[int], data: st.DataObject) -> None:
    picks = data.draw(arrays.arrays(np.int64, (3, 4), elements=st.integers(0, len(colours) - 1)))
    codes = np.array(colours)[picks]
    stored = np.stack([codes >> 16, codes >> 8 & 255, codes & 255]).astype(np.uint8)
    table = {f"#{colour:06x}": index for index, colour in enumerate(colours)}
    np.testing.assert_array_equal(MaskMap.of(table, FOUR).labels(stored, "m.png"), picks)


@given(
    arrays.arrays(np.uint8, (1, 2, 2))
    | arrays.arrays(np.uint8, (1, 3, 3), elements=st.sampled_from([0, 1, 255]))
    | arrays.arrays(np.uint8, (1, 3, 3), elements=st.sampled_from([0, 255]))
)
def test_a_mask_is_mapped_or_refused_and_never_guessed(stored: np.ndarray) -> None:
    allowed = {0, 255} if 255 in stored else {0, 1}
    if set(stored.ravel().tolist()) <= allowed:
        np.testing.assert_array_equal(MaskMap(TWO).labels(stored, "m.png"), stored[0] != 0)
    else:
        with pytest.raises(DataError, match=r"^m\.png: [^\n]*$"):
            MaskMap(TWO).labels(stored, "m.png")


@pytest.mark.parametrize(
    ("classes", "stored", "source", "words"),
    [
        (FOUR, of([0, 255]), "m.png", ["holds 0 and 255, but 4 classes are declared", "indices are 0 to 3"]),
        (TWO, of([0, 128, 255]), "m.png", ["grey values between its classes (128)", "anti-aliased"]),
        (TWO, of(list(range(200))), "m.png", ["grey values between its classes", "and 194 more"]),
        (TWO, of([0, 1, 2]), "m.png", ["holds the class indices 2, but 2 classes are declared (background, cell)"]),
        (FOUR, of([0, 1, 255]), "m.png", ["holds the class indices 255, but 4 classes"]),
        (TWO, of([0, 3, 250, 255]), "m.JPG", ["JPEG has blurred the mask", "PNG or TIFF"]),
        (TWO, of([-1, 0], np.int16), "m.tif", ["class indices -1"]),
        (TWO, of([0, 1], np.float32) / 3, "m.tif", ["not whole numbers", "probability map"]),
        (TWO, of([0, 1], np.float32) * np.nan, "m.tif", ["not whole numbers"]),
        (TWO, of([0, 1], np.complex64), "m.tif", ["complex64"]),
        (TWO, np.array([255, 0, 0], np.uint8).reshape(3, 1, 1), "m.png", ["coloured mask (#ff0000)", "mask_values"]),
    ],
)
def test_a_mask_that_means_nothing_gets_one_clear_line(
    classes: tuple[str, ...], stored: np.ndarray, source: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        MaskMap(classes).labels(stored, source)
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_value_without_an_entry_in_the_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"m\.png: holds 2, which data\.mask_values does not name"):
        MaskMap.of({"0": 0, "1": 1}, TWO).labels(of([0, 1, 2]), "m.png")
    with pytest.raises(DataError, match="holds #808080, which"):
        MaskMap.of({"#000000": 0, "#ffffff": 1}, TWO).labels(of([0, 128]), "m.png")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"0": 0, "#ffffff": 1}, "mixed"),
        ({}, "empty"),
        ({"red": 1}, "'red' is neither a number"),
        ({"#fff": 1}, "'#fff' is neither"),
        ({"0": 0, "255": 2}, "255 means class 2, but there are 2 classes"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(table: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MaskMap.of(table, TWO)


def test_more_than_256_classes_are_sixteen_bits() -> None:
    labels = MaskMap(tuple(f"c{i}" for i in range(300))).labels(of([0, 299], np.uint16), "m.tif")
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 299]]


def test_a_palette_png_holds_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128])
    image.save(tmp_path / "m.png")
    stored = open_image(tmp_path / "m.png", "mask").read(0)
    assert MaskMap(FOUR).labels(stored, "m.png").tolist() == [[0, 1], [2, 3]]


def test_a_palette_of_greys_holds_grey_values(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "m.png")
    stored = open_image(tmp_path / "m.png", "mask").read(0)
    assert MaskMap(TWO).labels(stored, "m.png").tolist() == [[1, 0], [0, 1]]


def test_a_palette_png_can_be_mapped_by_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "m.png")
    mapping = MaskMap.of({"#000000": 0, "#ff0000": 2, "#0000ff": 1}, FOUR)
    stored = open_image(tmp_path / "m.png", mapping.role).read(0)
    assert mapping.labels(stored, "m.png").tolist() == [[0, 2], [1, 0]]
