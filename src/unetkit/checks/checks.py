"""What can be wrong with the images of a set: files, kinds, sizes, values, light. One function a check.

What can be wrong with labels: masks, their place on the image, the objects in them. One function a check.

What can be wrong between the images of a set: classes, duplicates, and what held-out images share with others.

The checks, in the order in which they are made.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np

from unetkit.checks.exam import Exam, Finding, named
from unetkit.checks.facts import SPECK, Facts, Twins, coarse_likeness, files, names, page_of

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
        filling = {"reflect": "mirrored borders", "zeros": "zeros"}[data.padding_mode]
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


_RIMS = 0.8  # of a class's pixels lie between a lower and a higher class
_SURE = 0.1  # correlation of labels and brightness from which its sign counts
_MOST_FIT = 0.9
_TINY = 8.0  # px across
_SHOWN = 8


def unlabelled(exam: Exam) -> Iterator[Finding]:
    """Find images without labels."""
    for one in exam.facts:
        if one.class_counts is None:
            advice = "training needs a mask for every image"
            yield Finding("error", f"{one.source}: has no labels", advice, (one.name,))


def empty_masks(exam: Exam) -> Iterator[Finding]:
    """Find images on which nothing is labelled, where others have something."""
    labelled = [one for one in exam.facts if one.class_counts is not None]
    images = [one for one in labelled if one.classes == frozenset({0})]
    if 0 < len(images) < len(labelled):
        advice = "nothing, if nothing is there; leave them out if they were never labelled"
        yield Finding("note", f"{files(images)}: all is labelled {exam.classes[0]}", advice, names(images), "image")


def palettes(exam: Exam) -> Iterator[Finding]:
    """Find masks with palettes that give one class different colours: an editor numbered them file by file."""
    seen: dict[int, tuple[Facts, bytes]] = {}
    for one in exam.facts:
        palette = exam.palettes.get(one.name, ())
        for index in sorted(one.classes & frozenset(range(len(palette)))):
            first, colour = seen.setdefault(index, (one, palette[index]))
            if colour != palette[index]:
                found = (
                    f"the palettes of the masks differ: class {index} ({exam.classes[index]}) is #{colour.hex()} for "
                    f"{first.name}, but #{palette[index].hex()} for {one.name}"
                )
                advice = "save the masks with one palette, or as colours named in data.mask_values"
                yield Finding("warning", found, advice, names([first, one]))
                return


def blurred(exam: Exam) -> Iterator[Finding]:
    """Find classes that are only rims between a lower and a higher one: masks that were resized with interpolation."""
    for index in range(1, len(exam.classes) - 1):
        images = [one for one in exam.facts if _is_rim(one, index)]
        if images:
            name = exam.classes[index]
            found = f"{files(images)}: class {index} ({name}) is nothing but a line between lower and higher classes"
            advice = "unless such borders were drawn, the mask was smoothed or resized with interpolation: save it anew"
            yield Finding("warning", found, advice, names(images), "outlines")


def inverted(exam: Exam) -> Iterator[Finding]:
    """Find two-class masks that are inverted against the others, by their shares and by the brightness below them."""
    known = [one for one in exam.facts if one.agreement is not None and one.class_counts is not None]
    if len(exam.classes) != 2 or len(known) < 3:
        return
    usual, sign = median(map(_share, known)), float(np.sign(median(map(_polarity, known))))
    against = [one for one in known if _polarity(one) * sign < -_SURE]
    images = [one for one in against if abs(_share(one) - (1 - usual)) < abs(_share(one) - usual)]
    if images and len(against) <= (1 - _MOST_FIT) * len(known):
        found = f"{files(images)}: the two classes lie the other way round than in the other masks"
        yield Finding("warning", found, "invert the mask", names(images), "labels")


def misaligned(exam: Exam) -> Iterator[Finding]:
    """Find labels that are shifted, flipped or turned against their image."""
    wrong = [one for one in exam.facts if one.agreement is not None and one.agreement.correction is not None]
    right = sum(one.agreement is not None and one.agreement.fits for one in exam.facts)
    severity = "error" if len(wrong) > max(right, 1) else "warning"
    for correction, images in _by_correction(wrong).items():
        found = f"{files(images)}: the labels follow the edges of the image when they are {correction}"
        advice = "put the labels right, or leave the images out; if that does not fit, they are another image's"
        if severity == "error":
            found += f" ({len(wrong)} of the {len(wrong) + right} images that can be judged are misaligned)"
            advice = "put the labels right; if you know that they are, train with data.check=essential"
        its = images[0].agreement.correction if images[0].agreement else None
        yield Finding(severity, found, advice, names(images), "outlines", its)


def stray(exam: Exam) -> Iterator[Finding]:
    """Find labels that follow nothing in their image, where those of nearly all others do."""
    known = [(one, one.agreement) for one in exam.facts if one.agreement is not None]
    images = [one for one, its in known if not its.fits and its.correction is None]
    if images and len(known) - len(images) >= _MOST_FIT * len(known):
        found = f"{files(images)}: the labels follow no edges of the image, as those of the others do"
        yield Finding("warning", found, "see whether they belong to another image", names(images), "outlines")


def touching(exam: Exam) -> Iterator[Finding]:
    """Find objects that touch: as a class of pixels alone they come out as one."""
    known = [(one, one.objects.touching) for one in exam.facts if one.objects and one.objects.touching is not None]
    together = sum(touching for _, touching in known)
    if together:
        share = 100 * together / len(exam.areas)
        found = f"{together:,} of {len(exam.areas):,} objects touch another one ({share:.0f} %)"
        advice = "to keep them apart, train with data.border_width=2 or loss.border_weight=10"
        images = [one for one, touching in sorted(known, key=lambda pair: -pair[1]) if touching]
        yield Finding("note", found, advice, names(images[:_SHOWN]), "outlines")


def specks(exam: Exam) -> Iterator[Finding]:
    """Find labelled regions of a few pixels."""
    images = [one for one in exam.facts if one.objects is not None and one.objects.specks]
    if images:
        count = sum(one.objects.specks for one in images if one.objects is not None)
        found = f"{count:,} of {len(exam.areas):,} labelled regions have at most {SPECK} px, in {files(images)}"
        yield Finding("note", found, "slips of the drawing tool? wipe them out, or let them be", names(images))


def object_sizes(exam: Exam) -> Iterator[Finding]:
    """Find objects that are tiny or huge against what the network sees of them."""
    if not len(exam.areas):
        return
    across = float(2 * np.sqrt(np.median(exam.areas) / np.pi))
    patch = min(exam.config.train.sides)
    if across < _TINY:
        found = f"the labelled regions are tiny: {across:.1f} px across in the median, in patches of {patch} px"
        advice = "use model.downscale=1 and a small model.depth, a smaller train.patch, or a higher magnification"
        yield Finding("note", found, advice)
    if across > patch:
        found = (
            f"the labelled regions are larger than a patch: {across:.0f} px across in the median, {patch} px a patch"
        )
        yield Finding("note", found, f"set train.patch={int(-(-across // 32)) * 32}, or reduce the images")


def _is_rim(one: Facts, index: int) -> bool:
    count = one.class_counts[index] if one.class_counts else 0
    return bool(one.between) and 0 < count <= one.between[index] / _RIMS


def _share(one: Facts) -> float:
    counts = one.class_counts or (1,)
    return counts[-1] / sum(counts)


def _polarity(one: Facts) -> float:
    return one.agreement.polarity if one.agreement else 0.0


def _by_correction(images: Sequence[Facts]) -> dict[str, list[Facts]]:
    groups: dict[str, list[Facts]] = {}
    for one in images:
        groups.setdefault(str(one.agreement and one.agreement.correction), []).append(one)
    return groups


_RARE = 0.01
_STACK_LIKENESS = 0.25


def one_class(exam: Exam) -> Iterator[Finding]:
    """Find a set whose labels hold a single class."""
    present = exam.classes_in(frozenset(one.index for one in exam.facts))
    if len(present) == 1:
        (only,) = present
        found = (
            f"{exam.facts[0].source}: the masks of all {len(exam.facts)} images hold the single class {only} "
            f"({exam.classes[only]})"
        )
        yield Finding("error", found, "at least two classes were expected: are these the right masks?")


def absent_classes(exam: Exam) -> Iterator[Finding]:
    """Find classes that occur nowhere."""
    absent = [name for name, share in zip(exam.classes, exam.class_shares, strict=False) if share == 0]
    if absent and len(absent) < len(exam.classes) - 1:
        found = f"{len(absent)} of {len(exam.classes)} classes occur nowhere: {named(absent)}"
        yield Finding("note", found, "name in data.classes the classes that are to be learned")


def rare_classes(exam: Exam) -> Iterator[Finding]:
    """Find classes with a small share of the labelled pixels."""
    shares = zip(exam.classes, exam.class_shares, strict=False)
    rare = [f"{name} ({100 * share:.2g} %)" for name, share in shares if 0 < share < _RARE]
    if rare:
        found = (
            f"{len(rare)} of {len(exam.classes)} classes are rare by their share of the labelled pixels: {named(rare)}"
        )
        yield Finding("note", found, "use loss.class_weights=balanced, or loss.dice")


def unseen_classes(exam: Exam) -> Iterator[Finding]:
    """Find classes that only held-out images have."""
    unseen = exam.classes_in(exam.held_out) - exam.classes_in(exam.train)
    if unseen:
        found = f"only held-out images have the classes {named([exam.classes[index] for index in sorted(unseen)])}"
        yield Finding("warning", found, "choose another data.split, so that they can be learned")


def duplicates(exam: Exam) -> Iterator[Finding]:
    """Find images that are there more than once, on one side of the split."""
    for duplicates in exam.duplicates:
        if not _divided(duplicates, exam):
            contradictory = duplicates.same and len({one.class_counts for one in duplicates.images}) > 1
            but = ", but are labelled differently" if contradictory else ""
            advice = "keep the better one" if contradictory else "keep one of them, unless the repetition is meant"
            severity = "warning" if contradictory else "note"
            yield Finding(severity, f"{_alike(duplicates)}{but}", advice, names(duplicates.images), "image")


def leakage(exam: Exam) -> Iterator[Finding]:
    """Find images that are held out while a duplicate is trained on."""
    for duplicates in exam.duplicates:
        if _divided(duplicates, exam):
            found = f"{_alike(duplicates)}, and lie on both sides of the split: held-out scores will be too good"
            advice = "keep one of them, or keep them together by data.split"
            yield Finding("warning", found, advice, names(duplicates.images), "image")


def neighbours(exam: Exam) -> Iterator[Finding]:
    """Find held-out sections of a stack whose neighbours are trained on, where neighbours look alike."""
    at = {page: one for one in exam.facts if (page := page_of(one)) is not None and one.thumbnail is not None}
    beside = [
        one
        for (stack, page), one in at.items()
        if one.index in exam.held_out
        and any(there in at and at[there].index in exam.train for there in ((stack, page - 1), (stack, page + 1)))
    ]
    if 2 * len(beside) <= len(exam.held_out) or not beside:
        return
    likeness = _likeness_of_neighbours(at)
    if likeness > _STACK_LIKENESS:
        found = (
            f"{len(beside)} of {len(exam.held_out)} held-out slices lie beside slices that are trained on, and "
            f"neighbours look alike here (correlation {likeness:.2f}): scores will be better than on another stack"
        )
        yield Finding("note", found, "data.split.method=blocks keeps neighbours together", names(beside))


def _likeness_of_neighbours(at: dict[tuple[str, int], Facts]) -> float:
    pairs = [(one, at[stack, page + 1]) for (stack, page), one in at.items() if (stack, page + 1) in at]
    thumbnails = [one.thumbnail for pair in pairs for one in pair if one.thumbnail is not None]
    return float(coarse_likeness(thumbnails)[::2].mean())


def _divided(duplicates: Twins, exam: Exam) -> bool:
    indices = {one.index for one in duplicates.images}
    return bool(indices & exam.train) and bool(indices & exam.held_out)


def _alike(duplicates: Twins) -> str:
    what = "hold the same pixels" if duplicates.same else f"are near-duplicates (correlation {duplicates.likeness:.2f})"
    return f"{named([one.name for one in duplicates.images])} {what}"


Check = Callable[[Exam], Iterator[Finding]]

ESSENTIAL: dict[str, Check] = {
    "files": unreadable,
    "kinds": different_kinds,
    "constant": constant,
    "labels": unlabelled,
    "one class": one_class,
    "small": small,
}
"""What would stop a training, and what costs nothing to see."""

CLOSE: dict[str, Check] = {
    "two-valued": two_valued,
    "few levels": few_levels,
    "narrow": narrow,
    "squeezed": squeezed,
    "units": other_units,
    "saturated": saturated,
    "light": odd_light,
    "flat": flat,
    "absent classes": absent_classes,
    "rare classes": rare_classes,
    "unseen classes": unseen_classes,
    "empty": empty_masks,
    "palettes": palettes,
    "blurred": blurred,
    "inverted": inverted,
    "misaligned": misaligned,
    "stray": stray,
    "duplicates": duplicates,
    "leakage": leakage,
    "neighbours": neighbours,
    "touching": touching,
    "specks": specks,
    "object sizes": object_sizes,
}
"""What may spoil the worth of a training."""

CHECKS = ESSENTIAL | CLOSE
