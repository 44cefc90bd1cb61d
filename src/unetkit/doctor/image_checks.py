"""What can be wrong with the images of a set: files, kinds, sizes, values, light. One function a check."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from unetkit.doctor.exam import Exam
from unetkit.doctor.facts import Facts, files, names
from unetkit.doctor.findings import Finding

_FEW_LEVELS = 32
_SATURATED = 0.05
_OTHER_UNIT = 30.0  # times the usual span of values
_OUTLIER, _NOTABLE = 8.0, 0.1  # robust deviations from the median, and share of the whole range of values
_FLAT = 0.1  # of the usual deviation
_ENOUGH = 8  # images from which it can be said what is usual


def unreadable(exam: Exam) -> Iterator[Finding]:
    """Name every file that cannot be used; what follows the last semicolon of a complaint is what to do."""
    for complaint in exam.complaints:
        found, _, advice = complaint.rpartition("; ")
        yield Finding("error", found or advice, advice if found else "mend the file, or leave it out")
    if not exam.facts and not exam.complaints:
        yield Finding("error", "the data set holds no images", "at least one with its mask was expected")


def different_kinds(exam: Exam) -> Iterator[Finding]:
    """Find images of other channels or another type than most."""
    kinds = [(one.shape[0], one.dtype) for one in exam.facts]
    usual = Counter(kinds).most_common(1)[0][0] if kinds else None
    for kind in sorted(set(kinds)):
        if usual is None or kind == usual:
            continue
        images = [one for one, its in zip(exam.facts, kinds, strict=True) if its == kind]
        model = exam.facts[kinds.index(usual)].source
        found = f"{files(images)}: {kind[0]} channels of {kind[1]}, but {model} has {usual[0]} of {usual[1]}"
        yield Finding("error", found, "all images of a set must be stored alike", names(images))


def constant(exam: Exam) -> Iterator[Finding]:
    """Find images without anything on them."""
    for one in exam.facts:
        if one.grey.low == one.grey.high:
            advice = "an image with something on it was expected: leave it out"
            yield Finding("error", f"{one.source}: every pixel is {one.grey.low:g}", advice, (one.name,))


def small(exam: Exam) -> Iterator[Finding]:
    """Find images that are smaller than a patch."""
    data, sides = exam.config.data, exam.config.train.sides
    images = [one for one in exam.facts if any(np.less(data.size or one.shape[1:], sides))]
    if images:
        rows, columns = min(data.size or one.shape[1:] for one in images)
        filling = {"mirror": "mirrored borders", "zeros": "zeros"}[data.outside]
        found = (
            f"{_count(images, exam)} are smaller than a patch of {sides[0]} x {sides[1]} px, the smallest {rows} x "
            f"{columns}: patches are filled up with {filling}"
        )
        yield Finding("note", found, "a smaller train.patch needs no filling", names(images))


def two_valued(exam: Exam) -> Iterator[Finding]:
    """Find images that look like masks."""
    images = [one for one in exam.facts if one.grey.levels == 2]
    if images:
        advice = "is this a mask, or a thresholded image? give the image itself"
        yield Finding("warning", f"{files(images)}: only two values occur", advice, names(images), "image")


def few_levels(exam: Exam) -> Iterator[Finding]:
    """Find images with few different values: screenshots, reduced palettes, stretched low-bit images."""
    images = [one for one in exam.facts if 2 < (one.grey.levels or 0) <= _FEW_LEVELS]
    if images:
        fewest = min(one.grey.levels or 0 for one in images)
        found = f"{files(images)}: at most {_FEW_LEVELS} different values occur, {fewest} at the fewest"
        advice = "take the images as the microscope stored them, if they were reduced on the way"
        yield Finding("note", found, advice, names(images), "image")


def narrow(exam: Exam) -> Iterator[Finding]:
    """Find 16-bit files that hold no more than 8 bits."""
    images = [one for one in exam.facts if one.dtype == "uint16" and one.grey.high < 256]
    if images:
        found = f"{files(images)}: 16 bits, but no value above {max(one.grey.high for one in images):g}"
        yield Finding("note", found, "data.normalization=standardize takes them as they are", names(images))


def squeezed(exam: Exam) -> Iterator[Finding]:
    """Find a fixed normalisation that would squeeze 16-bit images into a small part of its range."""
    kind, deep = exam.config.data.normalization, [one.grey.high for one in exam.facts if one.dtype == "uint16"]
    if kind in ("minus-one-to-one", "zero-to-one") and deep and max(deep) < 65535 / 4:
        found = f"data.normalization={kind} divides by 65,535, but no value is above {max(deep):g}"
        yield Finding("warning", found, "use data.normalization=standardize")


def other_units(exam: Exam) -> Iterator[Finding]:
    """Find float or 16-bit images whose values span far more or less than those of most."""
    deep = [one for one in exam.facts if one.dtype != "uint8" and one.grey.high > one.grey.low]
    spans = [one.grey.high - one.grey.low for one in deep]
    usual = float(np.median(spans)) if spans else 0.0
    images = [
        one for one, span in zip(deep, spans, strict=True) if not usual / _OTHER_UNIT < span < usual * _OTHER_UNIT
    ]
    if images:
        low, high = images[0].grey.low, images[0].grey.high
        found = f"{files(images)}: values from {low:.5g} to {high:.5g}, where a span of {usual:.3g} is usual"
        yield Finding("warning", found, "bring all images to one unit: one normalisation serves all", names(images))


def saturated(exam: Exam) -> Iterator[Finding]:
    """Find images in which many pixels have the highest value: what was brighter is lost."""
    images = [one for one in exam.facts if one.grey.at_top > _SATURATED and (one.grey.levels or 0) > 2]
    images.sort(key=lambda one: -one.grey.at_top)
    if images:
        share, top = 100 * images[0].grey.at_top, images[0].grey.high
        found = (
            f"{_count(images, exam)} are saturated: {share:.0f} % of {images[0].source} has the highest value, {top:g}"
        )
        advice = "expose less, or live with it: structure inside the white is lost"
        yield Finding("note", found, advice, names(images), "image")


def odd_light(exam: Exam) -> Iterator[Finding]:
    """Find images that are far brighter or darker than the others."""
    if not _comparable(exam):
        return
    means = np.array([one.grey.mean for one in exam.facts])
    middle = float(np.median(means))
    whole = max(one.grey.high for one in exam.facts) - min(one.grey.low for one in exam.facts)
    limit = max(_OUTLIER * 1.4826 * float(np.median(np.abs(means - middle))), _NOTABLE * whole)
    for word, side in (("brighter", 1), ("darker", -1)):
        images = [one for one in exam.facts if side * (one.grey.mean - middle) > limit]
        images.sort(key=lambda one: -abs(one.grey.mean - middle))
        if images:
            found = (
                f"{_count(images, exam)} are far {word} than the others: mean {images[0].grey.mean:.4g} in "
                f"{images[0].source}, {middle:.4g} is usual"
            )
            advice = "if several kinds of images are meant to be here, see that the held-out part has each of them"
            yield Finding("note", found, advice, names(images), "image")


def flat(exam: Exam) -> Iterator[Finding]:
    """Find images with hardly any contrast."""
    if not _comparable(exam):
        return
    usual = float(np.median([one.grey.deviation for one in exam.facts]))
    images = [one for one in exam.facts if 0 < one.grey.deviation < _FLAT * usual]
    images.sort(key=lambda one: one.grey.deviation)
    if images:
        found = (
            f"{_count(images, exam)} have hardly any contrast: deviation {images[0].grey.deviation:.3g} in "
            f"{images[0].source}, {usual:.3g} is usual"
        )
        yield Finding("note", found, "see whether anything is on them", names(images), "image")


def _comparable(exam: Exam) -> bool:
    return len(exam.facts) >= _ENOUGH and len({one.dtype for one in exam.facts}) == 1


def _count(images: Sequence[Facts], exam: Exam) -> str:
    return f"{len(images)} of {len(exam.facts)} images"
