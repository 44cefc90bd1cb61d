import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.checks.check import before_training
from unetkit.checks.findings import CheckReport
from unetkit.config import load_config
from unetkit.data import Dataset, InMemory, Sample
from unetkit.data.layouts.synthetic import open_sample
from unetkit.errors import DataError

PIXELS = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
BOTH = (np.arange(16).reshape(4, 4) % 2).astype(np.uint8)


def dataset(*samples: Sample) -> InMemory:
    return InMemory(samples, ("background", "cell"))


def check(data: Dataset, *overrides: str) -> CheckReport:
    return before_training(data, load_config({}, overrides))


def sample(
    name: str = "a", pixels: NDArray[np.generic] = PIXELS, labels: NDArray[np.uint8] | None = BOTH, source: str = ""
) -> Sample:
    return Sample(name, pixels, labels, source=source or f"{name}.png")


def test_a_sound_set_passes() -> None:
    check(open_sample(slices=3, size=64))


def test_one_class_in_one_image_is_legitimate_where_the_set_has_both() -> None:
    check(dataset(sample("a", labels=BOTH * 0), sample("b")))


def test_a_constant_image_is_named_with_its_page() -> None:
    constant = sample("stack[03]", pixels=PIXELS * 0 + 7, source="stack.tif")
    with pytest.raises(DataError, match=r"stack\.tif page 03: every pixel is 7"):
        check(dataset(sample(), constant))


def test_errors_of_one_kind_are_one_line_and_those_of_others_are_counted() -> None:
    flat = PIXELS * 0
    words = r"2 images \(b, c\): every pixel is 0; .* \(1 more errors: unetkit data check "
    with pytest.raises(DataError, match=words):
        check(dataset(sample(), sample("b", pixels=flat), sample("c", pixels=flat), sample("d", labels=None)))


def test_the_slow_checks_can_be_left_out() -> None:
    duplicates = open_sample(slices=5, size=64)
    assert any(line.startswith("note: 1 of 1 held-out slices lie next to") for line in check(duplicates).lines())
    essential = check(duplicates, "data.check=essential")
    assert not any("lie next to" in line for line in essential.lines())
    assert set(essential.checks) < set(check(duplicates).checks)


def test_of_many_findings_a_few_are_told_before_training() -> None:
    lines = check(open_sample(slices=5, size=64)).lines(most=0)
    assert len(lines) == 1
    assert lines[0].endswith("unetkit data check None")
