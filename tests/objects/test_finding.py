"""Objects from probabilities that are made here, against scikit-image and against what was drawn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk
from skimage.measure import label
from skimage.segmentation import watershed

from unetkit.config import ObjectsConfig
from unetkit.errors import ConfigError
from unetkit.objects import find_objects, method_for
from unetkit.objects.find import renumbered

TWO = ("background", "cell")
THREE = ("background", "cell", "border")
ALL = {"min_size": 0, "fill_holes": False}


def config(method: str, **keys: Any) -> ObjectsConfig:
    return ObjectsConfig(**{"method": method, **ALL, **keys})


def certain(mask: NDArray[Any]) -> NDArray[np.float32]:
    return np.stack([mask == 0, mask != 0]).astype(np.float32)


def discs(*centres: tuple[float, float, float], size: tuple[int, int] = (60, 80)) -> NDArray[np.int32]:
    """Draw discs (row, column, radius) as ids 1, 2, ...; the first takes what they share."""
    ids = np.zeros(size, np.int32)
    for number, (row, column, radius) in reversed(list(enumerate(centres, 1))):
        ids[disk((row, column), radius, shape=size)] = number
    return ids


def with_borders(ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return sure probabilities of background, cell and a border of one pixel inside every object."""
    inner = np.isin(ids, 0, invert=True)
    inner &= (ndimage.minimum_filter(ids, 3) == ids) & (ndimage.maximum_filter(ids, 3) == ids)
    return np.stack([ids == 0, inner, (ids > 0) & ~inner]).astype(np.float32)


MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


@given(MASKS)
def test_components_are_regions_connected_along_edges(mask: NDArray[np.bool_]) -> None:
    found = find_objects(certain(mask), TWO, config("components"))
    assert np.array_equal(found.ids, label(mask, connectivity=1))
    assert found.ids.dtype == np.int32


@given(MASKS)
def test_holes_go_to_the_one_object_around_them(mask: NDArray[np.bool_]) -> None:
    found = find_objects(certain(mask), TWO, config("components", fill_holes=True))
    regions = label(mask, connectivity=1)
    for number in range(1, int(regions.max()) + 1):
        filled = ndimage.binary_fill_holes(regions == number, np.ones((3, 3)))
        own = found.ids == found.ids[regions == number][0]
        # A hole that holds another object, too, has two objects around it: it stays.
        holes = label(filled & (regions == 0), connectivity=2)
        for hole in range(1, int(holes.max()) + 1):
            around = ndimage.binary_dilation(holes == hole) & (regions > 0)
            assert own[holes == hole].all() == (set(regions[around].tolist()) == {number})
        assert np.array_equal(own & (regions > 0), regions == number)


def test_a_hole_between_two_objects_stays() -> None:
    mask = np.ones((7, 9), bool)
    mask[2:5, 2:4] = False
    mask[2:5, 6] = False
    probabilities = np.stack([~mask, mask & (np.arange(9) < 6), mask & (np.arange(9) >= 6)]).astype(np.float32)
    found = find_objects(probabilities, ("background", "a", "b"), config("components", fill_holes=True))
    assert (found.ids[2:5, 2:4] == found.ids[0, 0]).all()
    assert (found.ids[2:5, 6] == 0).all()


def test_the_threshold_is_exclusive_and_of_all_that_is_not_background() -> None:
    probabilities = np.array([[[0.5, 0.4, 0.2]], [[0.5, 0.3, 0.1]], [[0.0, 0.3, 0.7]]], np.float32)
    assert find_objects(probabilities, THREE, config("components")).ids.tolist() == [[0, 1, 1]]
    assert find_objects(probabilities, THREE, config("components", threshold=0.65)).ids.tolist() == [[0, 0, 1]]


def test_small_and_doubtful_objects_are_dropped_and_the_rest_numbered_anew() -> None:
    cell = np.array([[0.9, 0.9, 0.9, 0, 0.6, 0.6, 0.6, 0, 0.9, 0, 0.8, 0.8]], np.float32)
    probabilities = np.stack([1 - cell, cell])
    found = find_objects(probabilities, TWO, config("components", min_size=2))
    assert found.ids.tolist() == [[1, 1, 1, 0, 2, 2, 2, 0, 0, 0, 3, 3]]
    assert found.confidences.tolist() == pytest.approx([0.9, 0.6, 0.8])
    found = find_objects(probabilities, TWO, config("components", min_size=2, min_confidence=0.7))
    assert found.ids.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 2]]
    assert found.classes.tolist() == [1, 1]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_touching_discs_are_cut_at_their_neck_whatever_their_size(scale: int) -> None:
    drawn = discs((25, 20, 10), (25, 37, 9), (25, 60, 11), size=(50, 80))
    drawn = np.kron(drawn, np.ones((scale, scale), np.int32))
    found = find_objects(certain(drawn), TWO, config("distance"))
    assert len(found) == 3
    assert (found.ids != renumbered(drawn)[0]).mean() < 0.01
    whole = find_objects(certain(drawn), TWO, config("distance", min_width=0))
    assert len(whole) == label(drawn > 0).max() == 2


def test_an_ellipse_is_one_object() -> None:
    rows, columns = np.mgrid[:60, :80]
    mask = ((rows - 30) / 11) ** 2 + ((columns - 40) / 33) ** 2 < 1
    assert len(find_objects(certain(mask), TWO, config("distance"))) == 1


def test_borders_part_what_distance_cannot_and_objects_get_their_border_back() -> None:
    ids = np.zeros((30, 50), np.int32)
    ids[5:25, 5:25], ids[5:25, 25:45] = 1, 2
    probabilities = with_borders(ids)
    assert len(find_objects(probabilities, THREE, config("distance"))) == 1
    found = find_objects(probabilities, THREE, config("auto"))
    assert np.array_equal(found.ids, ids)


def test_borders_grow_the_seeds_as_a_watershed_of_the_whole_mask_does() -> None:
    drawn = discs((20, 20, 12), (20, 42, 12), (45, 25, 9), (45, 60, 10))
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.random((3, *drawn.shape)), (0, 1, 1)) * 0.8
    probabilities = (with_borders(drawn) + noise).astype(np.float32)
    probabilities /= probabilities.sum(0)
    found = find_objects(probabilities, THREE, config("borders", min_width=0, seed_threshold=0.1))
    mask = 1 - probabilities[0] > 0.5
    core = 1 - probabilities[0] - 2 * probabilities[2]
    seeds = label(mask & (core > 0.1), connectivity=1)
    oracle = watershed(-core, seeds, mask=mask)
    seeded = np.isin(label(mask, connectivity=1), np.unique(label(mask, connectivity=1)[seeds > 0]))
    assert len(np.unique(oracle)) > 4
    pairs = {(int(a), int(b)) for a, b in zip(oracle[seeded], found.ids[seeded], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_an_object_that_is_all_border_is_found() -> None:
    ids = np.zeros((9, 12), np.int32)
    ids[3:5, 2:10] = 1
    assert np.array_equal(find_objects(with_borders(ids), THREE, config("auto")).ids, ids)


def test_every_class_has_its_own_objects() -> None:
    probabilities = np.full((4, 1, 6), 0.05, np.float32)
    for column, kind in enumerate([0, 1, 1, 2, 3, 2]):
        probabilities[kind, 0, column] = 0.85
    found = find_objects(probabilities, ("background", "cat", "dog", "cow"), config("components"))
    assert found.ids.tolist() == [[0, 1, 1, 2, 3, 4]]
    assert found.classes.tolist() == [1, 2, 3, 2]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, (3, 9, 11), elements=st.floats(0, 1, width=16)),
    st.sampled_from(["components", "distance", "borders"]),
    st.integers(0, 5),
    st.booleans(),
)
def test_whatever_the_probabilities_objects_are_connected_numbered_and_the_same_twice(
    drawn: NDArray[np.float32], method: str, min_size: int, fill_holes: bool
) -> None:
    probabilities = (drawn + np.float32(0.01)) / (drawn + np.float32(0.01)).sum(0)
    chosen = config(method, min_size=min_size, fill_holes=fill_holes)
    found = find_objects(probabilities, THREE, chosen)
    again = find_objects(probabilities.copy(), THREE, chosen)
    assert np.array_equal(found.ids, again.ids)
    assert len(found) == found.ids.max() == len(found.classes) == len(found.confidences)
    assert all(found.sizes() >= max(1, min_size))
    for number in range(1, len(found) + 1):
        assert label(found.ids == number, connectivity=1).max() == 1
    if min_size == 0 and not fill_holes:
        assert np.array_equal(found.ids > 0, 1 - probabilities[0] > 0.5)


def test_an_image_without_objects_has_none() -> None:
    for method in ("components", "distance", "borders"):
        found = find_objects(
            np.stack([np.ones((5, 6)), *np.zeros((2, 5, 6))]).astype(np.float32), THREE, config(method)
        )
        assert len(found) == 0
        assert found.ids.tolist() == np.zeros((5, 6)).tolist()


def test_what_cannot_be_made_is_told() -> None:
    with pytest.raises(ConfigError, match="needs a class named 'border', but the network has background, cell"):
        method_for(TWO, config("borders"))
    with pytest.raises(ConfigError, match="none is an object"):
        find_objects(np.ones((2, 3, 3), np.float32), ("background", "border"), config("auto"))
    assert method_for(TWO, config("auto")) == "distance"
    assert method_for(THREE, config("auto")) == "borders"
