"""Every check finds what it is for, and keeps silent about a sound set."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.checks.alignment import SYMMETRIES
from unetkit.checks.check import check_dataset
from unetkit.checks.checks import CHECKS
from unetkit.checks.findings import CheckReport, Finding
from unetkit.config import load_config
from unetkit.data import InMemory, Sample, in_memory
from unetkit.data.layouts.synthetic import open_sample

SOUND = in_memory(open_sample(slices=12, size=96))
NAMED = [replace(sample, name=f"cell {number:02}") for number, sample in enumerate(SOUND.samples[::2])]
MORE = SOUND.samples[1::2]
PATCH = "train.patch=64"


def checked(samples: list[Sample], *overrides: str, classes: tuple[str, ...] = ("membrane", "cell")) -> CheckReport:
    return check_dataset(InMemory(tuple(samples), classes), load_config({}, [PATCH, *overrides]))


def changed(place: int, **fields: object) -> list[Sample]:
    samples = list(NAMED)
    samples[place] = replace(samples[place], **fields)
    return samples


def stored(change: Callable[[NDArray[np.uint8]], NDArray[np.generic]], *, places: int = 6) -> list[Sample]:
    return [replace(one, pixels=change(one.pixels) if i < places else one.pixels) for i, one in enumerate(NAMED)]


def instances(*sides: int) -> Sample:
    """A wide image with square objects in a row, two pixels apart or, after a side of 0, none."""
    pixels = np.random.default_rng(sum(sides)).integers(0, 255, (1, 64, 300), np.uint8)
    ids = np.zeros((64, 300), np.int32)
    left, gap = 4, 2
    for number, side in enumerate(sides, 1):
        ids[4 : 4 + side, left : left + side] = number
        left, gap = left + side + (gap if side else 0), gap if side else 0
    return Sample(f"objects {sides}", pixels, (ids > 0).astype(np.uint8), ids)


def slips(count: int) -> Sample:
    """Sixty square objects, and dots far from them."""
    pixels = np.random.default_rng(count).integers(0, 255, (1, 96, 140), np.uint8)
    labels = np.zeros((96, 140), np.uint8)
    for number in range(60):
        row, column = 4 + 9 * (number // 15), 2 + 9 * (number % 15)
        labels[row : row + 6, column : column + 6] = 1
    for number in range(count):
        labels[60 : 60 + 2, 4 + 12 * number] = 1
    return Sample("slips", pixels, labels)


def with_class(name: str, labels: NDArray[np.uint8], seed: int = 0) -> Sample:
    return Sample(name, np.random.default_rng(seed).integers(0, 255, (1, *labels.shape), np.uint8), labels)


LABELS = NAMED[0].labels
assert LABELS is not None
RIMS = np.zeros((64, 64), np.uint8)
RIMS[10:40, 10:40], RIMS[12:38, 12:38] = 1, 2
BLOCK = np.where(np.arange(64) < 32, 0, 2).astype(np.uint8).repeat(64).reshape(64, 64)
RARE = BLOCK.copy()
RARE[:4, :4] = 1
EMPTY = np.zeros_like(LABELS)
DEEP = "data.normalization=zero-to-one"

Case = tuple[Callable[[], CheckReport], str, tuple[str, ...]]
CASES: dict[str, Case] = {
    "files": (lambda: checked([]), "holds no images", ()),
    "kinds": (
        lambda: checked(changed(1, pixels=np.repeat(NAMED[1].pixels, 3, 0))),
        "3 channels of uint8, but sample has 1",
        ("cell 01",),
    ),
    "constant": (lambda: checked(changed(2, pixels=NAMED[2].pixels * 0 + 7)), "every pixel is 7", ("cell 02",)),
    "labels": (lambda: checked(changed(3, labels=None)), "has no labels", ("cell 03",)),
    "one class": (
        lambda: checked([replace(one, labels=EMPTY) for one in NAMED]),
        "all 6 images hold the single class 0 (membrane)",
        (),
    ),
    "small": (lambda: checked(NAMED, "train.patch=128"), "6 of 6 images are smaller than a patch of 128 x 128", ()),
    "two-valued": (
        lambda: checked(changed(1, pixels=(NAMED[1].pixels > 128) * np.uint8(255))),
        "only two values occur",
        ("cell 01",),
    ),
    "few levels": (lambda: checked(changed(1, pixels=NAMED[1].pixels // 16 * 16)), "16 at the fewest", ("cell 01",)),
    "narrow": (lambda: checked(stored(lambda x: x.astype(np.uint16))), "16 bits, but no value above 255", ()),
    "squeezed": (
        lambda: checked(stored(lambda x: x * np.uint16(16)), DEEP),
        "divides by 65,535, but no value is above 4080",
        (),
    ),
    "units": (
        lambda: checked(stored(lambda x: x / np.float32(255), places=1) + stored(np.float32, places=6)[1:]),
        "values from 0 to 1, where a span of 246 is usual",
        ("cell 00",),
    ),
    "saturated": (lambda: checked(changed(4, pixels=NAMED[4].pixels.clip(0, 150))), "has the highest", ("cell 04",)),
    "light": (
        lambda: checked([*NAMED, *MORE, replace(NAMED[0], name="x", pixels=NAMED[0].pixels // 3 + 170)]),
        "1 of 13 images are far brighter than the others",
        ("x",),
    ),
    "flat": (
        lambda: checked([*NAMED, *MORE, replace(NAMED[0], name="x", pixels=NAMED[0].pixels // 30 + 99)]),
        "1 of 13 images have hardly any contrast",
        ("x",),
    ),
    "absent classes": (
        lambda: checked(NAMED, classes=("membrane", "cell", "vesicle", "glia")),
        "2 of 4 classes occur nowhere: vesicle, glia",
        (),
    ),
    "rare classes": (
        lambda: checked([with_class("a", RARE)], classes=("a", "b", "c")),
        "1 of 3 classes are rare by their share of the labelled pixels: b (0.39 %)",
        (),
    ),
    "unseen classes": (
        lambda: checked(
            [with_class("a", BLOCK), with_class("b", RARE, 1)],
            "data.split.method=blocks",
            "data.split.folds=2",
            classes=("a", "b", "c"),
        ),
        "only held-out images have the classes b",
        (),
    ),
    "empty": (lambda: checked(changed(5, labels=EMPTY)), "all is labelled membrane", ("cell 05",)),
    "blurred": (
        lambda: checked([with_class("a", RIMS), with_class("b", BLOCK, 1)], classes=("a", "b", "c")),
        "class 1 (b) is nothing but a line between lower and higher classes",
        ("a",),
    ),
    "swapped": (
        lambda: checked([*changed(1, labels=1 - np.asarray(NAMED[1].labels)), *MORE]),
        "membrane and cell look the other way round",
        ("cell 01",),
    ),
    "misaligned": (
        lambda: checked(changed(2, labels=np.ascontiguousarray(np.asarray(NAMED[2].labels)[::-1]))),
        "the labels follow the image when they are mirrored top to bottom",
        ("cell 02",),
    ),
    "stray": (
        lambda: checked([*changed(3, labels=open_sample(seed=5, slices=1, size=96)[0].labels), *MORE]),
        "the labels follow nothing in the image",
        ("cell 03",),
    ),
    "duplicates": (
        lambda: checked([*NAMED, replace(NAMED[1], name="copy")], "data.split.method=none"),
        "cell 01, copy hold the same pixels",
        ("cell 01", "copy"),
    ),
    "leakage": (
        lambda: checked([*NAMED, replace(NAMED[0], name="copy")], "data.split.method=interleaved", "data.split.fold=0"),
        "cell 00, copy hold the same pixels, and lie on both sides of the split",
        ("cell 00", "copy"),
    ),
    "neighbours": (
        lambda: checked(list(SOUND.samples), "data.split.method=interleaved"),
        "3 of 3 held-out slices lie next to slices that are trained on",
        ("sample[01]", "sample[06]", "sample[11]"),
    ),
    "touching": (lambda: checked([instances(9, 0, 9, 9)]), "2 of 3 objects touch another one (67 %)", ()),
    "specks": (lambda: checked([slips(2)]), "2 of 62 labelled regions lie alone and have at most 4 px", ("slips",)),
    "object sizes": (lambda: checked([instances(3, 4, 4, 5)]), "tiny: 4.5 px across in the median", ()),
}


@pytest.mark.parametrize(("width", "severities"), [(0, ["warning"]), (2, [])])
def test_objects_that_fill_their_images_have_borders_to_learn(width: int, severities: list[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 64, 64), np.uint8)
    ids = (1 + np.arange(64)[:, None] // 16 * 4 + np.arange(64) // 16).astype(np.int32)
    full = Sample("full", pixels, np.ones((64, 64), np.uint8), ids)
    report = checked([full], f"data.border_width={width}")
    assert [finding.severity for finding in report.findings if finding.check == "one class"] == severities


@pytest.mark.parametrize("check", CASES)
def test_it_finds_what_it_is_for(check: str) -> None:
    examined, words, images = CASES[check]
    found = [finding for finding in examined().findings if finding.check == check]
    assert len(found) == 1
    assert words in found[0].found
    assert found[0].advice
    assert set(images) <= set(found[0].images)


@pytest.mark.parametrize("check", CASES)
def test_it_keeps_silent_about_a_sound_set(check: str) -> None:
    for samples in (NAMED, list(SOUND.samples)):
        findings = checked(samples, "data.split.method=none").findings
        assert check not in {finding.check for finding in findings}, findings


def test_every_check_has_its_case() -> None:
    assert {*CASES, "palettes"} == set(CHECKS)  # palettes lie in files: test_check_data.py


def test_patches_of_a_network_that_needs_surroundings_are_not_told_to_be_smaller() -> None:
    report = checked(NAMED, "train.patch=220", "model.padding=valid")
    (finding,) = [one for one in report.findings if one.check == "small"]
    assert "this network needs them" in finding.advice
    assert "smaller train.patch" not in finding.advice


def test_labels_that_are_all_misaligned_are_an_error() -> None:
    turn = SYMMETRIES["turned by 90 degrees clockwise"]
    turned = [replace(one, labels=np.ascontiguousarray(turn(np.asarray(one.labels)))) for one in NAMED]
    (found,) = checked(turned).of("error")
    assert found.check == "misaligned"
    assert "turned by 90 degrees anticlockwise (6 of the 6 images that can be judged are misaligned)" in found.found
    assert "data.check=essential" in found.advice
    assert not checked(turned, "data.check=essential").findings


def test_contradictory_duplicates_are_a_warning() -> None:
    copy = replace(NAMED[1], name="copy", labels=NAMED[2].labels)
    findings = checked([*NAMED, copy], "data.split.method=none").findings
    (found,) = [finding for finding in findings if finding.check == "duplicates"]
    assert found.severity == "warning"
    assert "but are labelled differently" in found.found


def test_findings_are_ordered_and_plain() -> None:
    findings = checked([*changed(2, pixels=NAMED[2].pixels * 0), replace(NAMED[1], name="copy")]).findings
    order = ["error", "warning", "note"]
    assert [one.severity for one in findings] == sorted((one.severity for one in findings), key=order.index)
    assert str(Finding("note", "a", "b")) == "a; b"
