import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label

from unetkit.objects import true_objects
from unetkit.objects.find import renumbered

SMALL = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 9))


@given(SMALL)
def test_numbers_follow_the_first_pixels_and_part_what_was_parted(ids: np.ndarray) -> None:
    numbered, first = renumbered(ids)
    assert numbered.dtype == np.int32
    assert np.array_equal(numbered == 0, ids == 0)
    seen = list(dict.fromkeys(int(value) for value in numbered.ravel() if value))
    assert seen == list(range(1, len(first) + 1))
    assert [int(np.flatnonzero(numbered == number)[0]) for number in seen] == first.tolist()
    pairs = {(int(a), int(b)) for a, b in zip(ids.ravel(), numbered.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 2)))
def test_without_ids_every_region_of_a_class_is_an_object(labels: np.ndarray) -> None:
    objects = true_objects(labels, None, ("background", "cat", "dog"))
    for kind in (1, 2):
        oracle = label(labels == kind, connectivity=1)
        assert (objects.classes == kind).sum() == oracle.max()
        for number in range(1, int(oracle.max()) + 1):
            (own,) = np.unique(objects.ids[oracle == number])
            assert np.array_equal(objects.ids == own, oracle == number)
    assert (objects.ids > 0).sum() == (labels > 0).sum()
    assert set(objects.confidences.tolist()) <= {1.0}


def test_ids_keep_what_touches_apart_and_take_the_class_of_most_of_their_pixels() -> None:
    instances = np.array([[9, 9, 4, 4], [9, 9, 4, 4]], np.int32)
    labels = np.array([[3, 1, 2, 2], [1, 3, 2, 3]], np.uint8)  # 3: the border of the objects
    objects = true_objects(labels, instances, ("background", "cat", "dog", "border"))
    assert objects.ids.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    assert objects.classes.tolist() == [1, 2]
    assert len(objects) == 2
    assert objects.sizes().tolist() == [4, 4]


def test_an_object_that_is_all_border_is_of_an_object_class() -> None:
    objects = true_objects(np.full((1, 2), 2), np.ones((1, 2), np.int32), ("background", "nucleus", "border"))
    assert objects.classes.tolist() == [1]


def test_where_the_data_has_a_border_class_it_is_shared_out() -> None:
    labels = np.array([[2, 2, 2, 2, 2, 2, 0, 2], [2, 1, 1, 2, 1, 2, 0, 2], [2, 2, 2, 2, 2, 2, 0, 0]])
    objects = true_objects(labels, None, ("background", "cell", "border"))
    assert (objects.ids > 0).tolist() == (labels > 0).tolist()
    assert len(objects) == 3  # two grown, and one that is all border
    assert objects.ids[1, 1] == objects.ids[1, 2] == objects.ids[0, 0] == 1
    assert objects.ids[1, 4] == objects.ids[0, 5] == 2
    assert objects.classes.tolist() == [1, 1, 1]
