"""What the values of masks are taken for, over the whole set."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from unetkit.config import DataConfig
from unetkit.data.kinds import decide
from unetkit.errors import DataError
from unetkit.images import decode_single

SIDE = 64


def blobs(seed: int, share: float = 0.3) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 4)
    return smooth > np.quantile(smooth, 1 - share)


def squares(count: int) -> np.ndarray:
    found = np.zeros((SIDE, SIDE), np.uint16)
    for number in range(count):
        row, column = divmod(number, 8)
        found[8 * row + 1 : 8 * row + 6, 8 * column + 1 : 8 * column + 6] = number + 1
    return found


def classes(seed: int, values: tuple[int, ...]) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 4)
    edges = np.quantile(smooth, np.linspace(0, 1, len(values) + 1)[1:-1])
    return np.array(values, np.uint8)[np.digitize(smooth, edges)]


def void(seed: int) -> np.ndarray:
    found = classes(seed, (0, 1, 2))
    found[ndimage.maximum_filter(found, 3) != ndimage.minimum_filter(found, 3)] = 255
    return found


def few(seed: int) -> np.ndarray:
    return squares(3 + seed)


def discs(seed: int, *, moves: bool = True, sizes: bool = True) -> np.ndarray:
    """Six discs, each a value, which may lie elsewhere and be of another size in each mask."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(9) if moves else np.arange(9)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    found = np.zeros((SIDE, SIDE), np.uint8)
    for number in range(6):
        radius = rng.integers(3, 10) if sizes else 3 + number
        row, column = (21 * np.array(divmod(places[number], 3)) + 10).tolist()
        found[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = number + 1
    return found


def layers(seed: int) -> np.ndarray:
    """Twenty-four objects of a volume, of which each of eight slices cuts six."""
    found = np.zeros((SIDE, SIDE), np.uint16)
    for number in range(3 * seed, 3 * seed + 6):
        row, column = divmod(number % 25, 5)
        found[12 * row + 1 : 12 * row + 9, 12 * column + 1 : 12 * column + 9] = number % 25 + 1
    return found


CASES: dict[str, tuple[Callable[[int], np.ndarray], str, tuple[str, ...], str]] = {
    "0 and 255": (lambda seed: blobs(seed) * np.uint8(255), "classes", ("background", "foreground"), "0 and 255"),
    "0 and 1": (lambda seed: blobs(seed).astype(np.uint8), "classes", ("background", "foreground"), "0 and 1"),
    "0 and 38": (lambda seed: blobs(seed) * np.uint8(38), "classes", ("background", "foreground"), "0 and 38"),
    "0, 128, 255": (
        lambda seed: classes(seed, (0, 128, 255)),
        "classes",
        ("background", "value128", "value255"),
        "3 values",
    ),
    "indices": (
        lambda seed: classes(seed, (0, 1, 2, 3)),
        "classes",
        ("background", "class1", "class2", "class3"),
        "indices 0 to 3",
    ),
    "indices with void": (void, "classes", ("background", "class1", "class2"), "255 where nothing counts"),
    "many ids": (lambda seed: squares(20 + seed), "instances", ("background", "object"), "20 to 27"),
    "few ids, numbered anew": (few, "instances", ("background", "object"), "3 to 10"),
    "as many ids in each": (discs, "instances", ("background", "object"), "at other places and of other sizes"),
    "classes of a size": (
        lambda seed: discs(seed, sizes=False),
        "classes",
        ("background", *(f"class{number}" for number in range(1, 7))),
        "indices 0 to 6",
    ),
    "classes of a place": (
        lambda seed: discs(seed, moves=False),
        "classes",
        ("background", *(f"class{number}" for number in range(1, 7))),
        "indices 0 to 6",
    ),
    "ids of a volume": (layers, "instances", ("background", "object"), "in all"),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_taken_for(name: str) -> None:
    make, kind, expected, words = CASES[name]
    found = decide([(f"{seed}.png", lambda seed=seed: make(seed)[None]) for seed in range(8)], DataConfig())
    assert (found.kind, found.classes) == (kind, expected)
    assert words in found.words
    for seed in range(8):
        found.decode([(make(seed)[None], "m.png")])


def test_ids_are_objects_and_what_is_ignored_has_no_class() -> None:
    found = decide([(f"{seed}.png", lambda seed=seed: few(seed)[None]) for seed in range(8)], DataConfig())
    decoded = found.decode([(squares(5)[None], "m.png")])
    np.testing.assert_array_equal(decoded.instances, squares(5))
    np.testing.assert_array_equal(decoded.labels, squares(5) > 0)
    ignoring = decide([(str(seed), lambda seed=seed: void(seed)[None]) for seed in range(8)], DataConfig())
    decoded = ignoring.decode([(void(0)[None], "m.png")])
    np.testing.assert_array_equal(decoded.valid, void(0) != 255)
    assert decoded.labels.max() == 2


def test_colours_are_classes_and_many_are_objects() -> None:
    table = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    coloured = [(str(seed), lambda seed=seed: table[classes(seed, (0, 1, 2))].transpose(2, 0, 1)) for seed in range(4)]
    assert decide(coloured, DataConfig()).classes == ("background", "0000ff", "ff0000")
    palette = np.random.default_rng(0).integers(1, 256, (65, 3), np.uint8)
    palette[0] = 0
    objects = [(str(seed), lambda seed=seed: palette[squares(50 + seed)].transpose(2, 0, 1)) for seed in range(4)]
    found = decide(objects, DataConfig())
    assert found.kind == "instances"
    decoded = found.decode([(objects[0][1](), "m.png")])
    assert decoded.instances is not None
    assert len(np.unique(decoded.instances)) == 51


def test_a_few_stray_pixels_are_forgiven() -> None:
    def stray(seed: int) -> np.ndarray:
        found = blobs(seed) * np.uint8(255)
        found[0, 0] = 77
        return found

    found = decide([(str(seed), lambda seed=seed: stray(seed)[None]) for seed in range(4)], DataConfig())
    assert found.kind == "binary"
    assert "stray values" in found.words


def _as_jpeg(mask: np.ndarray) -> np.ndarray:
    stored = BytesIO()
    Image.fromarray(mask).save(stored, "JPEG", quality=80)
    return decode_single(stored.getvalue(), "mask.jpg", "mask")


@pytest.mark.parametrize("blur", [_as_jpeg, lambda mask: ndimage.uniform_filter(mask, 3)[None]], ids=["jpeg", "edges"])
def test_masks_blurred_along_their_edges_are_two_classes(blur: Callable[[np.ndarray], np.ndarray]) -> None:
    masks = [(f"{seed}.png", lambda seed=seed: blur(blobs(seed) * np.uint8(255))) for seed in range(4)]
    found = decide(masks, DataConfig())
    assert "blurred along edges" in found.words
    decoded = found.decode([(masks[0][1](), "m")]).labels
    assert float((decoded == blobs(0)).mean()) > 0.95


def test_class_indices_below_255_are_no_blur() -> None:
    def void(seed: int) -> np.ndarray:
        found = (squares(40) % 21).astype(np.uint8)
        found[blobs(seed, 0.05)] = 255
        return found

    found = decide([(f"{seed}.png", lambda seed=seed: void(seed)[None]) for seed in range(4)], DataConfig())
    assert found.ignored == {255}
    assert len(found.classes) == 21


def test_greys_that_fill_areas_are_refused() -> None:
    def soft(seed: int) -> np.ndarray:
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), 6)
        return np.interp(noise, (noise.min(), noise.max()), (0, 255)).astype(np.uint8)

    masks = [(f"{seed}.png", lambda seed=seed: soft(seed)[None]) for seed in range(4)]
    with pytest.raises(DataError, match=r"^0\.png: .* anti-aliased.*data\.mask_kind=binary"):
        decide(masks, DataConfig())
    assert decide(masks, DataConfig(mask_kind="binary")).decode([(masks[0][1](), "m")]).labels.max() == 1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_object_ids_in_one_channel_are_objects(channel: int) -> None:
    def coloured(seed: int) -> np.ndarray:
        mask = np.zeros((3, 60, 60), np.uint8)
        for number in range(5 + seed):
            row, column = divmod(number, 5)
            mask[channel, 10 * row + 2 : 10 * row + 8, 10 * column + 2 : 10 * column + 8] = number + 1
        return mask

    masks = [(f"{seed}.png", lambda seed=seed: coloured(seed)) for seed in range(4)]
    found = decide(masks, DataConfig())
    assert found.kind == "instances"
    decoded = found.decode([(coloured(3), "m")])
    assert decoded.instances is not None
    assert len(np.unique(decoded.instances)) == 9
    said = decide(masks, DataConfig(mask_kind="instances")).decode([(coloured(3), "m")])
    np.testing.assert_array_equal(said.instances, decoded.instances)


def test_the_kind_can_be_said() -> None:
    masks = [(str(seed), lambda seed=seed: few(seed)[None]) for seed in range(8)]
    assert decide(masks, DataConfig(mask_kind="classes")).classes[:2] == ("background", "class1")
    assert decide(masks[:1], DataConfig(mask_kind="instances"), title="cells").classes == ("background", "cells")


def test_as_many_pieces_as_classes_in_every_mask_may_be_objects() -> None:
    mask = np.zeros((1, 40, 60), np.uint8)
    for number in range(1, 5):
        mask[:, 10:20, 12 * number : 12 * number + 8] = number
    found = decide([(f"{place}.png", lambda: mask) for place in range(4)], DataConfig())
    assert found.kind == "classes"
    assert "data.mask_kind=instances" in found.unsure
