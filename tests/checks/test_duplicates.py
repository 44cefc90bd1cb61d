"""Images that are alike are found, however they were stored; sections of a stack are not taken for duplicates."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.checks.facts import Duplicates, find_duplicates, image_facts
from unetkit.data import Sample
from unetkit.data.layouts.synthetic import generate

Pixels = NDArray[np.uint8]
RNG = np.random.default_rng(0)
IMAGES = [generate(seed=seed, slices=1, size=128).images[0] for seed in range(6)]

WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "the same": lambda x: x,
    "brighter": lambda x: (x * 0.7 + 60).astype(np.uint8),
    "noisy": lambda x: (x + RNG.normal(0, 12, x.shape)).clip(0, 255).astype(np.uint8),
    "mirrored": lambda x: x[:, ::-1],
    "turned": lambda x: np.rot90(x),
    "drifted": lambda x: np.roll(x, (3, 2), (0, 1)),
    "reduced": lambda x: x.reshape(64, 2, 64, 2).mean((1, 3)).astype(np.uint8),
}


def duplicates(**images: Pixels) -> list[Duplicates]:
    samples = [Sample(name, pixels[None]) for name, pixels in images.items()]
    return list(
        find_duplicates([image_facts(i, one, classes=0, closely=True, align=False) for i, one in enumerate(samples)])
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_found(way: str) -> None:
    images = {f"i{number}": pixels for number, pixels in enumerate(IMAGES)}
    (found,) = duplicates(**images, copy=np.ascontiguousarray(WAYS[way](IMAGES[2])))
    assert [one.name for one in found.images] == ["i2", "copy"]
    assert found.same == (way == "the same")
    assert found.similarity >= 0.7


def test_different_images_are_not_alike() -> None:
    assert not duplicates(**{f"i{number}": pixels for number, pixels in enumerate(IMAGES)})
    flat = np.full((64, 64), 9, np.uint8)
    assert not duplicates(a=IMAGES[0], b=(flat + RNG.integers(0, 2, flat.shape)).astype(np.uint8), c=flat[::2])


def test_copies_of_one_image_are_one_group() -> None:
    (found,) = duplicates(a=IMAGES[0], b=IMAGES[0], x=IMAGES[1], c=np.ascontiguousarray(IMAGES[0][::-1]))
    assert [one.name for one in found.images] == ["a", "b", "c"]
    assert not found.same


def test_neighbouring_sections_are_duplicates_only_where_they_are_equal() -> None:
    drifting = np.roll(IMAGES[0], 1, 0)
    assert not duplicates(**{"s[00]": IMAGES[0], "s[01]": drifting})
    assert len(duplicates(**{"s[00]": IMAGES[0], "s[01]": IMAGES[0]})) == 1
    assert len(duplicates(**{"s[00]": IMAGES[0], "s[09]": drifting})) == 1
    assert len(duplicates(**{"s[00]": IMAGES[0], "t[01]": drifting})) == 1
