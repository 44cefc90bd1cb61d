"""Objects split block by block, against those of the whole image."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk
from skimage.measure import regionprops

from unetkit.config import ObjectsConfig
from unetkit.objects import find_objects
from unetkit.objects.find import Evidence, object_classes, regions
from unetkit.objects.parts import MARGIN, Contact, View, across, needs_halo, pieces_of, touching, united

TWO = ("background", "cell")
THREE = ("background", "cell", "border")
FOUR = ("background", "cell", "grain", "border")
HALO = 32
REACH = HALO - MARGIN
"""Pixels that a region of the drawings here may reach out of a block."""


def config(method: str, **keys: Any) -> ObjectsConfig:
    return ObjectsConfig(**{"method": method, "min_size": 0, "halo": HALO, **keys})


SPLIT = config("distance")


def by_blocks(
    p_KHW: NDArray[np.float32], classes: tuple[str, ...], chosen: ObjectsConfig, side: int, order: int = 1
) -> NDArray[np.int64]:
    """Find objects [H, W] as processes that see one window each would, in this order or the other."""
    size = p_KHW.shape[1], p_KHW.shape[2]
    evidence, halo = Evidence.of(p_KHW, classes), chosen.halo if needs_halo(classes, chosen) else 0
    tops, lefts = (range(0, length, side) for length in size)
    views = {
        (top, left): View(0, slice(top, min(top + side, size[0])), slice(left, min(left + side, size[1])), size, halo)
        for top, left in product(tops, lefts)
    }
    pieces, numbers = dict[Any, Any](), {place: number for number, place in enumerate(views)}
    for place in list(views)[::order]:
        window = views[place].window
        core = None if evidence.core is None else evidence.core[window]
        seen = Evidence(evidence.foreground[window], evidence.kinds[window], core)
        pieces[place] = pieces_of(seen, views[place], classes, chosen)
    contacts = list[tuple[int, list[Contact]]]()
    for (top, left), one in pieces.items():
        found = list[Contact]()
        if (right := pieces.get((top, left + side))) is not None:
            found += across(numbers[top, left + side], one.ids[:, -1], right.ids[:, 0], one.right if halo else None)
        if (below := pieces.get((top + side, left))) is not None:
            found += across(numbers[top + side, left], one.ids[-1], below.ids[0], one.below if halo else None)
        for step, here, there in ((side, -1, 0), (-side, 0, -1)):
            if (corner := pieces.get((top + side, left + step))) is not None:
                pairs = touching(one.ids[-1:, here], corner.ids[:1, there])
                found.append(Contact(numbers[top + side, left + step], pairs, None, edge=False))
        contacts.append((numbers[top, left], found))
    graphs = [pieces[place].graph for place in views]
    objects = united(graphs, contacts, chosen.min_width)
    offsets = np.cumsum([0, *map(len, graphs)])
    kinds = np.append(0, np.concatenate([one.kinds for one in graphs]))
    held = np.zeros(int(objects.max()) + 1, bool)
    held[objects[kinds > 0]] = True
    ids = np.zeros(size, np.int64)
    for place, view in views.items():
        own = pieces[place].ids
        ids[view.rows, view.columns] = np.where(own > 0, own + offsets[numbers[place]], 0)
    return (objects * held[objects])[ids]


def same_objects(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two labellings are equal up to their numbers."""
    if not np.array_equal(one > 0, other > 0):
        return False
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def noise(seed: int, size: tuple[int, int], planes: int, grain: float) -> NDArray[np.float32]:
    """Draw smooth random probabilities [K, H, W] of several planes, the first of which is the background."""
    drawn = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(planes, *size)), (0, grain, grain))
    drawn = np.exp(drawn * 4 * grain)
    return (drawn / drawn.sum(0)).astype(np.float32)


def without_large(p_KHW: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Make background of what is too large for the halo."""
    whole = regions(1 - p_KHW[0] > threshold)
    large = [one.label for one in regionprops(whole) if max(np.subtract(one.bbox[2:], one.bbox[:2])) > REACH]
    p_KHW[:, np.isin(whole, large)] = np.eye(len(p_KHW), dtype=np.float32)[0][:, None]
    return p_KHW


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([TWO, THREE, FOUR]),
    st.sampled_from(["components", "distance", "borders"]),
    st.sampled_from([0.8, 1.5, 3.0]),
    st.integers(17, 45),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    st.booleans(),
)
def test_what_fits_into_the_halo_is_split_as_in_the_whole_image(
    seed: int, classes: tuple[str, ...], method: str, grain: float, side: int, min_width: float, fill: bool
) -> None:
    chosen = config("distance" if classes == TWO and method == "borders" else method, min_width=min_width)
    chosen = chosen.model_copy(update={"fill_holes": fill, "threshold": 0.5 + 0.1 * len(object_classes(classes))})
    p_KHW = without_large(noise(seed, (90, 131), len(classes), grain), chosen.threshold)
    found = by_blocks(p_KHW, classes, chosen, side)
    assert same_objects(found, find_objects(p_KHW, classes, chosen).ids)
    assert np.array_equal(found, by_blocks(p_KHW, classes, chosen, side, order=-1))


def sure(mask: NDArray[Any]) -> NDArray[np.float32]:
    return np.stack([~mask, mask]).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(17, 60))
def test_equal_heights_are_divided_alike_in_every_window(seed: int, side: int) -> None:
    rng, mask = np.random.default_rng(seed), np.zeros((120, 110), bool)
    for row, column in rng.integers(0, 110, (60, 2)):
        mask[row : row + rng.integers(1, 9), column : column + rng.integers(1, 9)] = True
    p_KHW = without_large(sure(mask), 0.5)
    assert same_objects(by_blocks(p_KHW, TWO, SPLIT, side), by_blocks(p_KHW, TWO, SPLIT, 200))


def test_large_clusters_of_small_objects_are_split_as_in_the_whole_image() -> None:
    rng, mask = np.random.default_rng(0), np.zeros((200, 210), bool)
    for row, column in rng.integers(0, 200, (220, 2)):
        mask[disk((row, column), rng.uniform(5, 11), shape=mask.shape)] = True
    assert max(one.area for one in regionprops(regions(mask))) > 20 * 40**2 / 2
    found = by_blocks(sure(mask), TWO, SPLIT, 40)
    assert found.max() > regions(mask).max() * 3
    assert same_objects(found, by_blocks(sure(mask), TWO, SPLIT, 300))


@pytest.mark.parametrize("wide", [5, 11])
def test_a_spiral_through_every_border_is_one_line(wide: int, spiral: Callable[[int], NDArray[Any]]) -> None:
    line = np.kron(spiral(17), np.ones((wide, wide), bool))
    for side in (33, 50):
        found = by_blocks(sure(line), TWO, SPLIT, side)
        assert same_objects(found, find_objects(sure(line), TWO, SPLIT).ids)


def test_nothing_is_cut_because_a_block_ends_there() -> None:
    mask = np.zeros((210, 420), bool)
    mask[disk((105, 100), 95)] = mask[disk((105, 330), 80)] = True  # each wider than three blocks
    mask[100:110, 190:255] = True  # a narrow bridge from one to the other
    found = by_blocks(sure(mask), TWO, SPLIT, 40)
    assert len({int(found[105, 100]), int(found[105, 330])}) == 2
    assert (found[disk((105, 100), 90)] == found[105, 100]).all()
    assert (found[disk((105, 330), 75)] == found[105, 330]).all()


def test_holes_larger_than_blocks_are_filled() -> None:
    mask = np.zeros((150, 150), bool)
    mask[10:140, 10:140] = True
    mask[20:130, 20:130] = False
    mask[60, 60] = mask[75:80, 118:129] = True  # one object in the hole, one almost at its edge
    chosen = config("components")
    assert same_objects(by_blocks(sure(mask), TWO, chosen, 33), find_objects(sure(mask), TWO, chosen).ids)
    mask[60, 60] = mask[75:80, 118:129] = False
    found = by_blocks(sure(mask), TWO, chosen, 33)
    assert (found[10:140, 10:140] == 1).all()
    assert not found[:10].any()
