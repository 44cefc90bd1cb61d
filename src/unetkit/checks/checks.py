"""What can be wrong with a data set, one function a check: images, labels, and what images share with each other.

The table `CHECKS` holds them in the order in which they are made. A check reads facts; it opens no file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from unetkit.checks.alignment import CERTAIN
from unetkit.checks.duplicates import similarity_to_next
from unetkit.checks.facts import SPECK, Duplicates, ImageFacts, files, names
from unetkit.checks.findings import DatasetFacts, Finding, Severity
from unetkit.errors import listed

_FEW_LEVELS = 32
_SATURATED = 0.05
_OTHER_UNIT = 30.0  # times the usual span of values
_OUTLIER, _NOTABLE = 8.0, 0.1  # robust deviations from the median, and share of the whole range of values
_FLAT = 0.1  # of the usual deviation
_ENOUGH = 8  # images from which it can be said what is usual
_RIMS = 0.8  # of a class's pixels lie between a lower and a higher class
_GAPS = 2.0  # times as many values as occur lie between the lowest and the highest, where an image was reduced to few
_SWAP, _SWAP_SHARE = 2.5, 0.6  # by which traits fit better when classes are swapped, and what then may be left
_WIDEST = 5.0  # deviations at most that a trait counts
_STRAY, _STRAY_SHARE = 7.0, 0.02  # match, and share of the usual one, below which labels belong to another image
_KNOWN = 4  # images from which it can be said what a class looks like
_SPECK_OF = 5  # times a speck an object has at least, where specks stand out
_COMMON_SPECKS = 0.05  # share of the regions from which specks are the nature of the labels
_MOST_FIT = 0.9
_TINY = 8.0  # px across
_SHOWN = 8  # images of a finding
_RARE = 0.01  # share of the labelled pixels
_STACK_SIMILARITY = 0.25


def unreadable(data: DatasetFacts) -> Iterator[Finding]:
    """Name the files that cannot be used; what follows the last semicolon of a complaint is what to do."""
    groups: dict[tuple[str, str], list[str]] = {}
    for complaint in data.complaints:
        found, _, advice = complaint.rpartition("; ")
        what = re.sub(r"\d+", "#", (found or advice).partition(": ")[2])
        groups.setdefault((what, re.sub(r"\d+", "#", advice)), []).append(complaint)
    for complaints in groups.values():
        found, _, advice = complaints[0].rpartition("; ")
        others = [one.partition(": ")[0].replace("\\", "/").rpartition("/")[2] for one in complaints[1:]]
        alike = f" (and {len(others)} more like it: {listed(others)})" if others else ""
        advice = advice if found else "mend the file, or leave it out"
        yield Finding("error", f"{found or complaints[0]}{alike}", advice, each=tuple(complaints if others else ()))
    if not data.images and not data.complaints:
        yield Finding("error", "the data set holds no images", "at least one with its mask was expected")


def different_kinds(data: DatasetFacts) -> Iterator[Finding]:
    """Find images of other channels or another type than most."""
    kinds = [(one.shape[0], one.dtype) for one in data.images]
    usual = Counter(kinds).most_common(1)[0][0] if kinds else None
    for kind in sorted(set(kinds)):
        if usual is None or kind == usual:
            continue
        images = [one for one, its in zip(data.images, kinds, strict=True) if its == kind]
        model = data.images[kinds.index(usual)].source
        found = f"{files(images)}: {kind[0]} channels of {kind[1]}, but {model} has {usual[0]} of {usual[1]}"
        advice = (
            "all images of a set must be stored alike: convert the others, or name those of one kind in data.images"
        )
        yield Finding("error", found, advice, names(images))


def constant(data: DatasetFacts) -> Iterator[Finding]:
    """Find images without anything on them."""
    images = [one for one in data.images if one.grey.low == one.grey.high]
    if images:
        found = f"{files(images)}: every pixel is {images[0].grey.low:g}"
        yield Finding("error", found, "an image with something on it was expected: leave it out", names(images))


def small(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are smaller than a patch."""
    size, outside, sides = data.config.data.size, data.config.data.padding_mode, data.config.train.sides
    images = [one for one in data.images if any(np.less(size or one.shape[1:], sides))]
    if images:
        rows, columns = min(size or one.shape[1:] for one in images)
        filling = {"reflect": "mirrored borders", "zeros": "zeros"}[outside]
        found = (
            f"{_count(images, data)} are smaller than a patch of {sides[0]} x {sides[1]} px, the smallest {rows} x "
            f"{columns}: patches are filled up with {filling}"
        )
        advice = "a smaller train.patch needs no filling"
        if data.config.model.padding == "valid":
            advice = "this network needs them: it segments less than it sees (model.padding=valid)"
        yield Finding("note", found, advice, names(images))


def two_valued(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that look like masks."""
    images = [one for one in data.images if one.grey.levels == 2]
    if images:
        advice = "is this a mask, or a thresholded image? give the image itself"
        yield Finding("warning", f"{files(images)}: only two values occur", advice, names(images), "image")


def few_levels(data: DatasetFacts) -> Iterator[Finding]:
    """Find images with few different values far apart: screenshots, reduced palettes, stretched low-bit images."""
    images = [
        one
        for one in data.images
        if 2 < (one.grey.levels or 0) <= _FEW_LEVELS and one.grey.high - one.grey.low >= _GAPS * (one.grey.levels or 0)
    ]
    if images:
        fewest = min(one.grey.levels or 0 for one in images)
        found = f"{files(images)}: at most {_FEW_LEVELS} different values occur, {fewest} at the fewest"
        advice = "take the images as the microscope stored them, if they were reduced on the way"
        yield Finding("note", found, advice, names(images), "image")


def narrow(data: DatasetFacts) -> Iterator[Finding]:
    """Find 16-bit files that hold no more than 8 bits."""
    images = [one for one in data.images if one.dtype == "uint16" and one.grey.high < 256]
    if images:
        found = f"{files(images)}: 16 bits, but no value above {max(one.grey.high for one in images):g}"
        yield Finding("note", found, "data.normalization=standardize takes them as they are", names(images))


def squeezed(data: DatasetFacts) -> Iterator[Finding]:
    """Find a fixed normalisation that would squeeze 16-bit images into a small part of its range."""
    kind, deep = data.config.data.normalization, [one.grey.high for one in data.images if one.dtype == "uint16"]
    if kind in ("minus-one-to-one", "zero-to-one") and deep and max(deep) < 65535 / 4:
        found = f"data.normalization={kind} divides by 65,535, but no value is above {max(deep):g}"
        yield Finding("warning", found, "use data.normalization=standardize")


def other_units(data: DatasetFacts) -> Iterator[Finding]:
    """Find float or 16-bit images whose values span far more or less than those of most."""
    deep = [one for one in data.images if one.dtype != "uint8" and one.grey.high > one.grey.low]
    spans = [one.grey.high - one.grey.low for one in deep]
    usual = float(np.median(spans)) if spans else 0.0
    images = [
        one for one, span in zip(deep, spans, strict=True) if not usual / _OTHER_UNIT < span < usual * _OTHER_UNIT
    ]
    if images:
        low, high = images[0].grey.low, images[0].grey.high
        found = f"{files(images)}: values from {low:.5g} to {high:.5g}, where a span of {usual:.3g} is usual"
        yield Finding("warning", found, "bring all images to one unit: one normalisation serves all", names(images))


def saturated(data: DatasetFacts) -> Iterator[Finding]:
    """Find images in which many pixels have the highest value: what was brighter is lost."""
    images = [one for one in data.images if one.grey.at_top > _SATURATED and (one.grey.levels or 0) > 2]
    images.sort(key=lambda one: -one.grey.at_top)
    if images:
        share, top = 100 * images[0].grey.at_top, images[0].grey.high
        found = (
            f"{_count(images, data)} are saturated: {share:.0f} % of {images[0].source} has the highest value, {top:g}"
        )
        advice = "expose less, or live with it: structure inside the white is lost"
        yield Finding("note", found, advice, names(images), "image")


def odd_light(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are far brighter or darker than the others."""
    if not _comparable(data):
        return
    means = np.array([one.grey.mean for one in data.images])
    middle = float(np.median(means))
    whole = max(one.grey.high for one in data.images) - min(one.grey.low for one in data.images)
    limit = max(_OUTLIER * 1.4826 * float(np.median(np.abs(means - middle))), _NOTABLE * whole)
    for word, side in (("brighter", 1), ("darker", -1)):
        images = [one for one in data.images if side * (one.grey.mean - middle) > limit]
        images.sort(key=lambda one: -abs(one.grey.mean - middle))
        if not images:
            continue
        count, first = _count(images, data), images[0]
        advice = "if several kinds of images are meant to be here, see that the held-out part has each of them"
        if len(images) > (1 - _MOST_FIT) * len(data.images):  # a kind of image, not what strays from one
            found = f"{count} are a kind of their own, far {word} than the others: mean {images[-1].grey.mean:.4g} or "
            found += f"{'more' if side > 0 else 'less'}, {middle:.4g} is usual"
            yield Finding("note", found, advice)
        else:
            found = f"{count} are far {word} than the others: mean {first.grey.mean:.4g} in {first.source}, "
            found += f"{middle:.4g} is usual"
            yield Finding("note", found, advice, names(images), "image")


def flat(data: DatasetFacts) -> Iterator[Finding]:
    """Find images with hardly any contrast."""
    if not _comparable(data):
        return
    usual = float(np.median([one.grey.deviation for one in data.images]))
    images = [one for one in data.images if 0 < one.grey.deviation < _FLAT * usual]
    images.sort(key=lambda one: one.grey.deviation)
    if images:
        found = (
            f"{_count(images, data)} have hardly any contrast: deviation {images[0].grey.deviation:.3g} in "
            f"{images[0].source}, {usual:.3g} is usual"
        )
        yield Finding("note", found, "see whether anything is on them", names(images), "image")


def _comparable(data: DatasetFacts) -> bool:
    return len(data.images) >= _ENOUGH and len({one.dtype for one in data.images}) == 1


def _count(images: Sequence[ImageFacts], data: DatasetFacts) -> str:
    return f"{len(images)} of {len(data.images)} images"


def unlabelled(data: DatasetFacts) -> Iterator[Finding]:
    """Find images without labels."""
    images = [one for one in data.images if one.class_counts is None]
    if images:
        verb = "has" if len(images) == 1 else "have"
        yield Finding(
            "error", f"{files(images)}: {verb} no labels", "training needs a mask for every image", names(images)
        )


def empty_masks(data: DatasetFacts) -> Iterator[Finding]:
    """Find images on which nothing is labelled, where others have something."""
    labelled = [one for one in data.images if one.class_counts is not None]
    images = [one for one in labelled if one.classes == frozenset({0})]
    if 0 < len(images) < len(labelled):
        advice = "is nothing there, or was it never labelled? leave the images out only in the second case"
        yield Finding("note", f"{files(images)}: all is labelled {data.classes[0]}", advice, names(images), "image")


def palettes(data: DatasetFacts) -> Iterator[Finding]:
    """Find masks with palettes that give one class different colours: an editor numbered them file by file."""
    seen: dict[int, tuple[ImageFacts, bytes]] = {}
    for one in data.images:
        palette = data.palettes.get(one.name, ())
        for index in sorted(one.classes & frozenset(range(len(palette)))):
            first, colour = seen.setdefault(index, (one, palette[index]))
            if colour != palette[index]:
                found = (
                    f"the palettes of the masks differ: class {index} ({data.classes[index]}) is #{colour.hex()} for "
                    f"{first.name}, but #{palette[index].hex()} for {one.name}"
                )
                advice = "save the masks with one palette, or as colours named in data.mask_values"
                yield Finding("warning", found, advice, names([first, one]))
                return


def blurred(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes that are only rims between a lower and a higher one: masks that were resized with interpolation."""
    for index in range(1, len(data.classes) - 1):
        having = [one for one in data.images if one.class_counts and one.between and one.class_counts[index]]
        images = [one for one in having if (one.class_counts or ())[index] <= one.between[index] / _RIMS]
        if images:
            name, drawn = data.classes[index], 2 * len(images) > len(having)
            found = f"{files(images)}: class {index} ({name}) is nothing but a line between lower and higher classes"
            advice = "was the mask smoothed, or resized with interpolation? save it anew, unless the line was drawn"
            yield Finding("note" if drawn else "warning", found, advice, names(images), "outlines")


def swapped(data: DatasetFacts) -> Iterator[Finding]:
    """Find masks in which two classes are swapped, or the two are inverted, by what the classes look like elsewhere."""
    known = [one for one in data.images if one.traits is not None]
    every = [one.traits for one in known if one.traits is not None]
    if len({values.shape for values in every}) != 1 or len(known) < _ENOUGH:
        return
    traits = np.stack(every)
    present = ~np.isnan(traits[:, :, 0])
    usual = [index for index in range(traits.shape[1]) if present[:, index].sum() >= _ENOUGH]
    middle, spread = (np.full(traits.shape[1:], np.nan) for _ in range(2))
    for index in usual:
        its = traits[present[:, index], index]
        middle[index] = np.median(its, 0)
        spread[index] = 1.4826 * np.median(np.abs(its - middle[index]), 0) + 0.1
    swaps: dict[tuple[int, int], list[ImageFacts]] = {}
    for one, values in zip(known, traits, strict=True):
        best: tuple[float, tuple[int, int]] = (0.0, (0, 0))
        for first, second in combinations([index for index in usual if not np.isnan(values[index, 0])], 2):
            there = [first, second]
            as_it_is = _misfit(values[there], middle[there], spread[there])
            exchanged = _misfit(values[there[::-1]], middle[there], spread[there])
            if as_it_is - exchanged >= _SWAP and exchanged <= _SWAP_SHARE * as_it_is:
                best = max(best, (as_it_is - exchanged, (first, second)))
        if best[0]:
            swaps.setdefault(best[1], []).append(one)
    for (first, second), images in swaps.items():
        if len(images) <= (1 - _MOST_FIT) * len(known) or len(images) == 1:
            pair = f"{data.classes[first]} and {data.classes[second]}"
            found = f"{files(images)}: {pair} look the other way round than in the other images"
            yield Finding("warning", found, "are the two swapped in the mask?", names(images), "labels")


def _misfit(values: NDArray[np.float32], middle: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Return how far the traits of two classes [2, traits] are from what is usual, in squared deviations a trait."""
    return float(np.square(((values - middle) / spread).clip(-_WIDEST, _WIDEST)).mean())


def misaligned(data: DatasetFacts) -> Iterator[Finding]:
    """Find labels that are shifted, flipped or turned relative to their image."""
    known = [(one, one.agreement) for one in data.images if one.agreement is not None]
    wrong = [(one, its.correction, its.best - its.home) for one, its in known if its.correction is not None]
    if not wrong:
        return
    wrong.sort(key=lambda pair: -pair[2])
    right, images = sum(its.fits for _, its in known), [one for one, _, _ in wrong]
    each = tuple(f"{one.source}: {correction}" for one, correction, _ in wrong)
    found = f"{files(images)}: the labels follow the image when they are {wrong[0][1]}"
    if len({str(correction) for _, correction, _ in wrong}) > 1:
        found = (
            f"{files(images)}: the labels follow the image when they are moved or turned, the first when {wrong[0][1]}"
        )
    severity, advice = "warning", "are the labels shifted, or another image's? look at them, and put them right"
    if len(wrong) > max(right, 1):
        severity = "error"
        found += f" ({len(wrong)} of the {len(wrong) + right} images that can be judged are misaligned)"
        advice = "put the labels right; if you know that they are, train with data.check=essential"
    corrections = tuple(correction for _, correction, _ in wrong)
    yield Finding(severity, found, advice, names(images), "outlines", corrections, each if len(each) > 1 else ())


def stray(data: DatasetFacts) -> Iterator[Finding]:
    """Find labels that follow nothing in their image, where those of nearly all others do."""
    known = [(one, one.agreement) for one in data.images if one.agreement is not None]
    usual = float(np.median([its.home for _, its in known])) if known else 0.0
    limit = min(max(_STRAY, _STRAY_SHARE * usual), 3 * _STRAY)
    images = [one for one, its in known if its.correction is None and its.home < limit and its.best < CERTAIN]
    if len(known) >= _KNOWN and images and len(known) - len(images) >= _MOST_FIT * len(known):
        found = f"{files(images)}: the labels follow nothing in the image, as those of the others do"
        yield Finding("warning", found, "do they belong to another image?", names(images), "outlines")


def touching(data: DatasetFacts) -> Iterator[Finding]:
    """Find objects that touch: as a class of pixels alone they come out as one."""
    known = [(one, one.objects.touching) for one in data.images if one.objects and one.objects.touching is not None]
    together = sum(touching for _, touching in known)
    if together and not data.config.data.border_width and not data.config.loss.border_weight:
        share = 100 * together / len(data.areas)
        found = f"{together:,} of {len(data.areas):,} objects touch another one ({share:.0f} %)"
        advice = "to keep them apart, train with data.border_width=2 or loss.border_weight=10"
        images = [one for one, touching in sorted(known, key=lambda pair: -pair[1]) if touching]
        yield Finding("note", found, advice, names(images[:_SHOWN]), "outlines")


def specks(data: DatasetFacts) -> Iterator[Finding]:
    """Find labelled regions of a few pixels that lie alone, where objects are far larger."""
    known = [(one, one.objects.specks) for one in data.images if one.objects is not None and one.objects.specks]
    count, usual = sum(number for _, number in known), float(np.median(data.areas)) if len(data.areas) else 0.0
    if not known or usual < _SPECK_OF * SPECK or count > _COMMON_SPECKS * len(data.areas):
        return
    images = [one for one, _ in sorted(known, key=lambda pair: -pair[1])]
    found = (
        f"{count:,} of {len(data.areas):,} labelled regions lie alone and have at most {SPECK} px, where {usual:,.0f} "
        f"px are usual, in {files(images)}"
    )
    yield Finding("note", found, "are they slips of the drawing tool, or small objects?", names(images))


def object_sizes(data: DatasetFacts) -> Iterator[Finding]:
    """Find objects that are tiny or huge against what the network sees of them."""
    if not len(data.areas):
        return
    across = float(2 * np.sqrt(np.median(data.areas) / np.pi))
    patch = min(data.config.train.sides)
    if across < _TINY:
        found = f"the labelled regions are tiny: {across:.1f} px across in the median, in patches of {patch} px"
        advice = "use model.downscale=1 and a small model.depth, a smaller train.patch, or a higher magnification"
        yield Finding("note", found, advice)
    if across > patch:
        found = (
            f"the labelled regions are larger than a patch: {across:.0f} px across in the median, {patch} px a patch"
        )
        yield Finding("note", found, f"set train.patch={int(-(-across // 32)) * 32}, or reduce the images")


def one_class(data: DatasetFacts) -> Iterator[Finding]:
    """Find a set whose labels hold a single class, unless objects that touch can be told apart by their borders."""
    present = data.classes_in(frozenset(one.index for one in data.images))
    bordered = any(one.objects is not None and one.objects.touching for one in data.images)
    if len(present) == 1 and bordered:
        (only,) = present
        found = f"objects fill the images: all pixels are {data.classes[only]}"
        if not data.config.data.border_width:
            yield Finding("warning", found, "to learn their borders, train with data.border_width=2, as auto does")
    elif len(present) == 1:
        (only,) = present
        found = (
            f"{data.images[0].source}: the masks of all {len(data.images)} images hold the single class {only} "
            f"({data.classes[only]})"
        )
        yield Finding("error", found, "at least two classes were expected: are these the right masks?")


def absent_classes(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes that occur nowhere."""
    absent = [name for name, share in zip(data.classes, data.class_shares, strict=False) if share == 0]
    if absent and len(absent) < len(data.classes) - 1:
        found = f"{len(absent)} of {len(data.classes)} classes occur nowhere: {listed(absent)}"
        yield Finding("note", found, "name in data.classes the classes that are to be learned")


def rare_classes(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes with a small share of the labelled pixels."""
    shares = zip(data.classes, data.class_shares, strict=False)
    rare = [f"{name} ({100 * share:.2g} %)" for name, share in shares if 0 < share < _RARE]
    if rare:
        found = (
            f"{len(rare)} of {len(data.classes)} classes are rare by their share of the labelled pixels: {listed(rare)}"
        )
        yield Finding("note", found, "look at their own scores: those of all pixels together hardly change with them")


def unseen_classes(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes that only held-out images have."""
    unseen = data.classes_in(data.held_out) - data.classes_in(data.train)
    if unseen:
        found = f"only held-out images have the classes {listed([data.classes[index] for index in sorted(unseen)])}"
        yield Finding("warning", found, "choose another data.split, so that they can be learned")


def duplicates(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are there more than once, on one side of the split."""
    groups = [group for group in data.duplicates if not _divided(group, data)]
    same = [group for group in groups if group.same]
    contradictory = [group for group in same if len({one.class_counts for one in group.images}) > 1]
    if contradictory:
        found = f"{_alike(contradictory)}, but are labelled differently"
        yield _of_groups("warning", contradictory, found, "are both right? keep the better one")
    if agreeing := [group for group in same if group not in contradictory]:
        yield _of_groups("note", agreeing, _alike(agreeing), "is the repetition meant? if not, one of them is enough")
    if near := [group for group in groups if not group.same]:
        advice = "are they copies of one image? look at them before you leave any out"
        yield _of_groups("note", near, _alike(near), advice)


def leakage(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are held out or tested on while a duplicate is trained on."""
    for same in (True, False):
        if groups := [group for group in data.duplicates if group.same == same and _divided(group, data)]:
            found = (
                f"{_alike(groups)}, and lie on both sides of the split: scores of the held-out part will be too good"
            )
            advice = "keep them together by data.split, or keep one of them"
            yield _of_groups(
                "warning", groups, found, advice if same else f"are they copies of one image? if so, {advice}"
            )


def neighbours(data: DatasetFacts) -> Iterator[Finding]:
    """Find held-out sections of a stack whose neighbours are trained on, where neighbours look alike."""
    at = {page: one for one in data.images if (page := one.section) is not None and one.thumbnail is not None}
    next_to_trained = [
        one
        for (stack, page), one in at.items()
        if one.index in data.held_out
        and any(there in at and at[there].index in data.train for there in ((stack, page - 1), (stack, page + 1)))
    ]
    if 2 * len(next_to_trained) <= len(data.held_out) or not next_to_trained:
        return
    pairs = [(one, at[stack, page + 1]) for (stack, page), one in at.items() if (stack, page + 1) in at]
    thumbnails = [one.thumbnail for pair in pairs for one in pair if one.thumbnail is not None]
    similarity = float(similarity_to_next(thumbnails)[::2].mean())
    if similarity > _STACK_SIMILARITY:
        found = (
            f"{len(next_to_trained)} of {len(data.held_out)} held-out slices lie next to slices that are trained on, "
            f"and neighbours look alike here (correlation {similarity:.2f}): scores will be better than on another "
            "stack"
        )
        yield Finding("note", found, "data.split.method=blocks keeps neighbours together", names(next_to_trained))


def _divided(group: Duplicates, data: DatasetFacts) -> bool:
    indices = {one.index for one in group.images}
    return bool(indices & data.train) and bool(indices & (data.held_out | frozenset(data.split.test)))


def _alike(groups: Sequence[Duplicates]) -> str:
    """Say which images are alike: a single group, or the first and the number of the others."""
    first, rest = groups[0], len(groups) - 1
    what = "hold the same pixels" if first.same else f"are near-duplicates (correlation {first.similarity:.2f})"
    more = (
        f", as do {rest} more groups of images"
        if rest and first.same
        else f", as are {rest} more groups"
        if rest
        else ""
    )
    return f"{listed(names(first.images))} {what}{more}"


def _of_groups(severity: Severity, groups: Sequence[Duplicates], found: str, advice: str) -> Finding:
    images = tuple(name for group in groups for name in names(group.images))
    each = tuple(_alike([group]) for group in groups) if len(groups) > 1 else ()
    return Finding(severity, found, advice, images, "image", each=each)


Check = Callable[[DatasetFacts], Iterator[Finding]]

ESSENTIAL: dict[str, Check] = {
    "files": unreadable,
    "kinds": different_kinds,
    "constant": constant,
    "labels": unlabelled,
    "one class": one_class,
    "small": small,
}
"""What would stop a training, and what costs nothing to find."""

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
    "swapped": swapped,
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
