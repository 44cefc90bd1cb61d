"""Objects joined over the borders of blocks, against scikit-image's labels of the whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import label

from unetkit.objects.find import regions
from unetkit.objects.parts import joined, touching


def labelled(mask_HW: NDArray[Any], side: int) -> NDArray[np.int64]:
    """Label an image block by block, as processes that see one block each would."""
    parts, count = np.zeros(mask_HW.shape, np.int64), 0
    for top in range(0, mask_HW.shape[0], side):
        for left in range(0, mask_HW.shape[1], side):
            own = np.s_[top : top + side, left : left + side]
            found = regions(mask_HW[own])
            parts[own] = np.where(found, found + count, 0)
            count += int(found.max())
    pairs = [touching(parts[:, cut - 1], parts[:, cut]) for cut in range(side, mask_HW.shape[1], side)]
    pairs += [touching(parts[cut - 1], parts[cut]) for cut in range(side, mask_HW.shape[0], side)]
    return joined(count, pairs[::-1])[parts]


def same_objects(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two labellings are equal up to their numbers, which count from 1 without gaps."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()], axis=1), axis=0)
    count = int(other.max()) + 1
    return len(pairs) == count + (0 if (other == 0).any() else -1) and int(one.max()) == count - 1


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)), st.integers(1, 9))
def test_random_objects_are_those_of_the_whole(mask_HW: NDArray[np.bool_], side: int) -> None:
    assert same_objects(labelled(mask_HW, side), label(mask_HW, connectivity=1))


@pytest.mark.parametrize("side", [3, 8, 16, 100])
def test_a_spiral_through_every_border_is_one_object(side: int, spiral: Callable[[int], NDArray[Any]]) -> None:
    mask = spiral(41)
    assert label(mask, connectivity=1).max() == 1
    found = labelled(mask, side)
    assert found.max() == 1
    assert label(~mask, connectivity=1).max() == labelled(~mask, side).max()


def test_objects_are_numbered_by_the_part_where_they_begin() -> None:
    pairs = [np.array([[4], [5]]), np.array([[2], [5]])]
    np.testing.assert_array_equal(joined(6, pairs), [0, 1, 2, 3, 2, 2, 4])
    np.testing.assert_array_equal(joined(6, pairs[::-1]), joined(6, pairs))
    np.testing.assert_array_equal(joined(0, []), [0])
