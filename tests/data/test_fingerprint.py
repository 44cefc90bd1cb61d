import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unetkit.data import InMemory, Sample, fingerprint, open_dataset, open_images
from unetkit.data.fetch import ISBI2012
from unetkit.data.layouts.synthetic import generate, open_sample


def test_a_stack_is_measured() -> None:
    stack = generate(slices=4, size=64)
    found = fingerprint(open_sample(slices=4, size=64))
    assert found.samples == 4
    assert found.sizes == {"[1, 64, 64]": 4}
    assert found.dtype == "uint8"
    assert (found.minimum, found.maximum) == (stack.images.min(), stack.images.max())
    assert found.mean == pytest.approx(stack.images.mean())
    assert found.class_shares == pytest.approx((np.mean(stack.labels == 0), np.mean(stack.labels == 255)))
    assert found.sha256_pixels == hashlib.sha256(stack.images.tobytes()).hexdigest()
    assert found.sha256_labels == hashlib.sha256((stack.labels // 255).tobytes()).hexdigest()
    assert found.names == ("sample[00]", "sample[01]", "sample[02]", "sample[03]")


def test_it_is_json() -> None:
    found = fingerprint(open_sample(slices=2, size=64))
    assert json.loads(json.dumps(found.to_json()))["class_shares"] == list(found.class_shares)


def test_one_changed_pixel_or_label_changes_its_checksum() -> None:
    samples = tuple(open_sample(slices=2, size=64)[index] for index in range(2))
    whole = fingerprint(InMemory(samples, ("a", "b")))
    pixels, labels = samples[1].pixels.copy(), np.array(samples[1].labels)
    pixels[0, 5, 5] ^= 1
    labels[5, 5] ^= 1
    other_pixels = fingerprint(InMemory((samples[0], replace(samples[1], pixels=pixels)), ("a", "b")))
    other_labels = fingerprint(InMemory((samples[0], replace(samples[1], labels=labels)), ("a", "b")))
    assert other_pixels.sha256_pixels != whole.sha256_pixels
    assert other_pixels.sha256_labels == whole.sha256_labels
    assert other_labels.sha256_labels != whole.sha256_labels
    assert [a == b for a, b in zip(other_pixels.pixels_of_each, whole.pixels_of_each, strict=True)] == [True, False]
    assert [a == b for a, b in zip(other_labels.labels_of_each, whole.labels_of_each, strict=True)] == [True, False]


def test_a_part_of_a_set_and_images_without_labels() -> None:
    part = fingerprint(open_sample(slices=3, size=64), indices=[2, 0])
    assert part.names == ("sample[02]", "sample[00]")
    bare = fingerprint(open_images("sample"), indices=[0])
    assert (bare.classes, bare.class_shares, bare.sha256_labels, bare.labels_of_each) == ((), (), "", ("",))


def test_the_byte_order_of_the_file_does_not_matter() -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    native = fingerprint(InMemory((Sample("a", pixels),), ()))
    swapped = fingerprint(InMemory((Sample("a", pixels.astype(">u2")),), ()))
    assert native.sha256_pixels == swapped.sha256_pixels


def test_the_real_stack_has_the_checksum_that_fetching_asks_for(shared: Path) -> None:
    found = fingerprint(open_dataset(shared / "data" / "isbi2012"))
    assert found.sha256_pixels == ISBI2012.pixels["train-volume.tif"]
    assert found.class_shares[1] == pytest.approx(0.78, abs=0.01)
