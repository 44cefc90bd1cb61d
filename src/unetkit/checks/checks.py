"""What can be wrong with a data set, one function a check: images, labels, and what images share with each other.

The table `CHECKS` holds them in the order in which they are made. A check reads facts; it opens no file.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np

from unetkit.checks.facts import SPECK, Duplicates, ImageFacts, files, names, page_of, similarity_to_next
from unetkit.checks.findings import DatasetFacts, Finding, named

_FEW_LEVELS = 32
_SATURATED = 0.05
_OTHER_UNIT = 30.0  # times the usual span of values
_OUTLIER, _NOTABLE = 8.0, 0.1  # robust deviations from the median, and share of the whole range of values
_FLAT = 0.1  # of the usual deviation
_ENOUGH = 8  # images from which it can be said what is usual
_RIMS = 0.8  # of a class's pixels lie between a lower and a higher class
_SURE = 0.1  # correlation of labels and brightness from which its sign counts
_MOST_FIT = 0.9
_TINY = 8.0  # px across
_SHOWN = 8  # images of a finding
_RARE = 0.01  # share of the labelled pixels
_STACK_SIMILARITY = 0.25


def unreadable(data: DatasetFacts) -> Iterator[Finding]:
    """Name every file that cannot be used; what follows the last semicolon of a complaint is what to do."""
    for complaint in data.complaints:
        found, _, advice = complaint.rpartition("; ")
        yield Finding("error", found or advice, advice if found else "mend the file, or leave it out")
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
        yield Finding("error", found, "all images of a set must be stored alike", names(images))


def constant(data: DatasetFacts) -> Iterator[Finding]:
    """Find images without anything on them."""
    for one in data.images:
        if one.grey.low == one.grey.high:
            advice = "an image with something on it was expected: leave it out"
            yield Finding("error", f"{one.source}: every pixel is {one.grey.low:g}", advice, (one.name,))


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
        yield Finding("note", found, "a smaller train.patch needs no filling", names(images))


def two_valued(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that look like masks."""
    images = [one for one in data.images if one.grey.levels == 2]
    if images:
        advice = "is this a mask, or a thresholded image? give the image itself"
        yield Finding("warning", f"{files(images)}: only two values occur", advice, names(images), "image")


def few_levels(data: DatasetFacts) -> Iterator[Finding]:
    """Find images with few different values: screenshots, reduced palettes, stretched low-bit images."""
    images = [one for one in data.images if 2 < (one.grey.levels or 0) <= _FEW_LEVELS]
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
        if images:
            found = (
                f"{_count(images, data)} are far {word} than the others: mean {images[0].grey.mean:.4g} in "
                f"{images[0].source}, {middle:.4g} is usual"
            )
            advice = "if several kinds of images are meant to be here, see that the held-out part has each of them"
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
    for one in data.images:
        if one.class_counts is None:
            advice = "training needs a mask for every image"
            yield Finding("error", f"{one.source}: has no labels", advice, (one.name,))


def empty_masks(data: DatasetFacts) -> Iterator[Finding]:
    """Find images on which nothing is labelled, where others have something."""
    labelled = [one for one in data.images if one.class_counts is not None]
    images = [one for one in labelled if one.classes == frozenset({0})]
    if 0 < len(images) < len(labelled):
        advice = "nothing, if nothing is there; leave them out if they were never labelled"
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
        images = [
            one
            for one in data.images
            if one.class_counts and one.between and 0 < one.class_counts[index] <= one.between[index] / _RIMS
        ]
        if images:
            name = data.classes[index]
            found = f"{files(images)}: class {index} ({name}) is nothing but a line between lower and higher classes"
            advice = "unless such borders were drawn, the mask was smoothed or resized with interpolation: save it anew"
            yield Finding("warning", found, advice, names(images), "outlines")


def inverted(data: DatasetFacts) -> Iterator[Finding]:
    """Find two-class masks that are inverted against the others, by their shares and by the brightness below them."""
    known = [one for one in data.images if one.agreement is not None and one.class_counts is not None]
    if len(data.classes) != 2 or len(known) < 3:
        return
    usual, sign = median(map(_share, known)), float(np.sign(median(map(_polarity, known))))
    against = [one for one in known if _polarity(one) * sign < -_SURE]
    images = [one for one in against if abs(_share(one) - (1 - usual)) < abs(_share(one) - usual)]
    if images and len(against) <= (1 - _MOST_FIT) * len(known):
        found = f"{files(images)}: the two classes lie the other way round than in the other masks"
        yield Finding("warning", found, "invert the mask", names(images), "labels")


def misaligned(data: DatasetFacts) -> Iterator[Finding]:
    """Find labels that are shifted, flipped or turned relative to their image."""
    wrong = [one for one in data.images if one.agreement is not None and one.agreement.correction is not None]
    right = sum(one.agreement is not None and one.agreement.fits for one in data.images)
    severity = "error" if len(wrong) > max(right, 1) else "warning"
    groups: dict[str, list[ImageFacts]] = {}
    for one in wrong:
        groups.setdefault(str(one.agreement and one.agreement.correction), []).append(one)
    for correction, images in groups.items():
        found = f"{files(images)}: the labels follow the edges of the image when they are {correction}"
        advice = "put the labels right, or leave the images out; if that does not fit, they are another image's"
        if severity == "error":
            found += f" ({len(wrong)} of the {len(wrong) + right} images that can be judged are misaligned)"
            advice = "put the labels right; if you know that they are, train with data.check=essential"
        its = images[0].agreement.correction if images[0].agreement else None
        yield Finding(severity, found, advice, names(images), "outlines", its)


def stray(data: DatasetFacts) -> Iterator[Finding]:
    """Find labels that follow nothing in their image, where those of nearly all others do."""
    known = [(one, one.agreement) for one in data.images if one.agreement is not None]
    images = [one for one, its in known if not its.fits and its.correction is None]
    if images and len(known) - len(images) >= _MOST_FIT * len(known):
        found = f"{files(images)}: the labels follow no edges of the image, as those of the others do"
        yield Finding("warning", found, "see whether they belong to another image", names(images), "outlines")


def touching(data: DatasetFacts) -> Iterator[Finding]:
    """Find objects that touch: as a class of pixels alone they come out as one."""
    known = [(one, one.objects.touching) for one in data.images if one.objects and one.objects.touching is not None]
    together = sum(touching for _, touching in known)
    if together:
        share = 100 * together / len(data.areas)
        found = f"{together:,} of {len(data.areas):,} objects touch another one ({share:.0f} %)"
        advice = "to keep them apart, train with data.border_width=2 or loss.border_weight=10"
        images = [one for one, touching in sorted(known, key=lambda pair: -pair[1]) if touching]
        yield Finding("note", found, advice, names(images[:_SHOWN]), "outlines")


def specks(data: DatasetFacts) -> Iterator[Finding]:
    """Find labelled regions of a few pixels."""
    images = [one for one in data.images if one.objects is not None and one.objects.specks]
    if images:
        count = sum(one.objects.specks for one in images if one.objects is not None)
        found = f"{count:,} of {len(data.areas):,} labelled regions have at most {SPECK} px, in {files(images)}"
        yield Finding("note", found, "slips of the drawing tool? wipe them out, or let them be", names(images))


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


def _share(one: ImageFacts) -> float:
    counts = one.class_counts or (1,)
    return counts[-1] / sum(counts)


def _polarity(one: ImageFacts) -> float:
    return one.agreement.polarity if one.agreement else 0.0


def one_class(data: DatasetFacts) -> Iterator[Finding]:
    """Find a set whose labels hold a single class."""
    present = data.classes_in(frozenset(one.index for one in data.images))
    if len(present) == 1:
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
        found = f"{len(absent)} of {len(data.classes)} classes occur nowhere: {named(absent)}"
        yield Finding("note", found, "name in data.classes the classes that are to be learned")


def rare_classes(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes with a small share of the labelled pixels."""
    shares = zip(data.classes, data.class_shares, strict=False)
    rare = [f"{name} ({100 * share:.2g} %)" for name, share in shares if 0 < share < _RARE]
    if rare:
        found = (
            f"{len(rare)} of {len(data.classes)} classes are rare by their share of the labelled pixels: {named(rare)}"
        )
        yield Finding("note", found, "use loss.class_weights=balanced, or loss.dice")


def unseen_classes(data: DatasetFacts) -> Iterator[Finding]:
    """Find classes that only held-out images have."""
    unseen = data.classes_in(data.held_out) - data.classes_in(data.train)
    if unseen:
        found = f"only held-out images have the classes {named([data.classes[index] for index in sorted(unseen)])}"
        yield Finding("warning", found, "choose another data.split, so that they can be learned")


def duplicates(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are there more than once, on one side of the split."""
    for group in data.duplicates:
        if not _divided(group, data):
            contradictory = group.same and len({one.class_counts for one in group.images}) > 1
            but = ", but are labelled differently" if contradictory else ""
            advice = "keep the better one" if contradictory else "keep one of them, unless the repetition is meant"
            severity = "warning" if contradictory else "note"
            yield Finding(severity, f"{_alike(group)}{but}", advice, names(group.images), "image")


def leakage(data: DatasetFacts) -> Iterator[Finding]:
    """Find images that are held out while a duplicate is trained on."""
    for group in data.duplicates:
        if _divided(group, data):
            found = f"{_alike(group)}, and lie on both sides of the split: scores of the held-out part will be too good"
            advice = "keep one of them, or keep them together by data.split"
            yield Finding("warning", found, advice, names(group.images), "image")


def neighbours(data: DatasetFacts) -> Iterator[Finding]:
    """Find held-out sections of a stack whose neighbours are trained on, where neighbours look alike."""
    at = {page: one for one in data.images if (page := page_of(one)) is not None and one.thumbnail is not None}
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
    return bool(indices & data.train) and bool(indices & data.held_out)


def _alike(group: Duplicates) -> str:
    what = "hold the same pixels" if group.same else f"are near-duplicates (correlation {group.similarity:.2f})"
    return f"{named([one.name for one in group.images])} {what}"


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
