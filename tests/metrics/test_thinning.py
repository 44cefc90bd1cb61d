from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.measure import label as skimage_label
from skimage.segmentation import watershed

from unetkit.metrics.isbi_pixels import label_components, thin_borders

Ids = NDArray[np.int32]
LEFT_UP_RIGHT_DOWN = ((0, -1), (-1, 0), (0, 1), (1, 0))

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: st.one_of(arrays(np.bool_, shape), st.builds(sparse, st.just(shape), st.integers(0, 2**32 - 1)))
)


def sparse(shape: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """Few interior pixels, so that the flood runs far."""
    generator = np.random.default_rng(seed)
    return generator.random(shape) < generator.choice([0.02, 0.05, 0.1, 0.2])


def flood(basins: Ids) -> Ids:
    """The definition word for word: one queue, one pixel at a time."""
    if not basins.any():
        return np.ones_like(basins)
    height, width = basins.shape
    labels, queued, taken = basins.copy(), basins > 0, basins > 0
    queue: deque[tuple[int, int]] = deque()
    for x in range(width):
        for y in range(height):
            if basins[y, x] == 0 and any(basins[v, u] for v, u in around(y, x, height, width)):
                queue.append((y, x))
                queued[y, x] = True
    while queue:
        y, x = queue.popleft()
        ids: set[int] = set()
        for v, u in around(y, x, height, width):
            if not queued[v, u]:
                queue.append((v, u))
                queued[v, u] = True
            elif taken[v, u] and labels[v, u]:
                ids.add(int(labels[v, u]))
        labels[y, x] = ids.pop() if len(ids) == 1 else 0
        taken[y, x] = True
    assert taken.all()
    return labels


def around(y: int, x: int, height: int, width: int) -> list[tuple[int, int]]:
    places = [(y + down, x + right) for down, right in LEFT_UP_RIGHT_DOWN]
    return [(v, u) for v, u in places if 0 <= v < height and 0 <= u < width]


@settings(max_examples=300, deadline=None)
@given(masks)
def test_thinning_is_the_queue_of_the_definition(mask: NDArray[np.bool_]) -> None:
    basins, _ = label_components(mask)
    assert np.array_equal(thin_borders(basins), flood(basins))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4, 0.6])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_thinning_is_the_queue_of_the_definition_on_larger_images(share: float, shape: tuple[int, int]) -> None:
    basins, _ = label_components(np.random.default_rng(int(share * 100)).random(shape) < share)
    assert np.array_equal(thin_borders(basins), flood(basins))


@settings(max_examples=100, deadline=None)
@given(masks)
def test_basins_stay_lines_part_them_and_no_pixel_is_cut_off(mask: NDArray[np.bool_]) -> None:
    basins, count = label_components(mask)
    thinned = thin_borders(basins)
    if count == 0:
        assert (thinned == 1).all()
        return
    assert np.array_equal(thinned[mask], basins[mask])
    for one, other in ((thinned[:, 1:], thinned[:, :-1]), (thinned[1:], thinned[:-1])):
        assert not ((one != other) & (one > 0) & (other > 0)).any()
    pieces = skimage_label(thinned, background=0, connectivity=1)
    assert pieces.max() == count
    if count == 1:
        assert (thinned == 1).all()


@settings(max_examples=50, deadline=None)
@given(masks)
def test_components_are_those_of_scikit_image(mask: NDArray[np.bool_]) -> None:
    labels, count = label_components(mask)
    oracle = skimage_label(mask, connectivity=1)
    assert count == oracle.max() == len(np.unique(labels[mask]))
    assert len(set(zip(labels[mask].tolist(), oracle[mask].tolist(), strict=True))) == count
    assert not labels[~mask].any()


def test_the_image_of_basins_is_left_as_it_was() -> None:
    basins, _ = label_components(np.eye(9, dtype=np.bool_))
    before = basins.copy()
    thin_borders(basins)
    assert np.array_equal(basins, before)


def test_an_image_library_puts_its_lines_elsewhere() -> None:
    # The reason for a flood of our own: should this ever fail, the library's could be taken.
    mask = np.ones((64, 64), np.bool_)
    for k in (16, 32, 48):
        mask[k : k + 5] = mask[:, k : k + 5] = False
    basins, _ = label_components(mask)
    theirs = watershed(~mask, basins, connectivity=1, watershed_line=True)
    assert not np.array_equal(theirs, thin_borders(basins))
