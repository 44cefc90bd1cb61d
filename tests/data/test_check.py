from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.data import InMemory, Sample, check_training_set, in_memory, open_dataset
from unetkit.data.synthetic import open_sample
from unetkit.errors import DataError

PIXELS = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
BOTH = (np.arange(16).reshape(4, 4) % 2).astype(np.uint8)


def dataset(*samples: Sample) -> InMemory:
    return InMemory(samples, ("background", "cell"))


def sample(
    name: str = "a", pixels: NDArray[np.generic] = PIXELS, labels: NDArray[np.uint8] | None = BOTH, source: str = ""
) -> Sample:
    return Sample(name, pixels, labels, source=source or f"{name}.png")


def test_a_sound_set_passes() -> None:
    check_training_set(open_sample(slices=3, size=64))


def test_one_class_in_one_image_is_legitimate_where_the_set_has_both() -> None:
    check_training_set(dataset(sample("a", labels=BOTH * 0), sample("b")))


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_in_the_whole_set_is_refused(value: int) -> None:
    labels = np.full((4, 4), value, np.uint8)
    with pytest.raises(DataError, match=rf"a\.png: the masks of all 2 images hold the single class {value} "):
        check_training_set(dataset(sample("a", labels=labels), sample("b", labels=labels)))


def test_only_the_chosen_samples_count() -> None:
    mixed = dataset(sample("a", labels=BOTH * 0), sample("b"))
    with pytest.raises(DataError, match="all 1 images"):
        check_training_set(mixed, indices=[0])
    check_training_set(mixed, indices=[1])


def test_a_constant_image_is_named_with_its_page() -> None:
    constant = sample("stack[03]", pixels=PIXELS * 0 + 7, source="stack.tif")
    with pytest.raises(DataError, match=r"stack\.tif page 03: every pixel is 7"):
        check_training_set(dataset(sample(), constant))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.repeat(PIXELS, 3, axis=0), r"b\.png: 3 channels of uint8, but a\.png has 1 of uint8"),
        (PIXELS.astype(np.uint16), r"b\.png: 1 channels of uint16, but a\.png has 1 of uint8"),
    ],
)
def test_images_that_are_stored_differently_are_refused(pixels: NDArray[np.generic], words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_training_set(dataset(sample(), sample("b", pixels=pixels)))


def test_images_without_labels_and_no_images_at_all() -> None:
    with pytest.raises(DataError, match=r"b\.png: has no labels"):
        check_training_set(dataset(sample(), sample("b", labels=None)))
    with pytest.raises(DataError, match="holds no images"):
        check_training_set(dataset())


def test_a_set_in_memory_is_cut_off_from_its_files(tmp_path: Path) -> None:
    from unetkit.data import write_sample

    held = in_memory(open_dataset(write_sample(tmp_path, slices=2, size=64)))
    before = held[0].pixels.copy()
    (tmp_path / "train-volume.tif").write_bytes(b"")
    np.testing.assert_array_equal(held[0].pixels, before)
    assert in_memory(held) is held
    assert held.classes == ("membrane", "interior")
    assert len(held) == 2
