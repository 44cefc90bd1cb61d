"""What can be wrong with labels: masks, their place on the image, the objects in them. One function a check."""

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from unetkit.doctor.exam import Exam
from unetkit.doctor.facts import SPECK, Facts, files, names
from unetkit.doctor.findings import Finding

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


def askew(exam: Exam) -> Iterator[Finding]:
    """Find labels that are shifted, flipped or turned against their image."""
    wrong = [one for one in exam.facts if one.agreement is not None and one.agreement.correction is not None]
    right = sum(one.agreement is not None and one.agreement.fits for one in exam.facts)
    severity = "error" if len(wrong) > max(right, 1) else "warning"
    for correction, images in _by_correction(wrong).items():
        found = f"{files(images)}: the labels follow the edges of the image when they are {correction}"
        advice = "put the labels right, or leave the images out; if that does not fit, they are another image's"
        if severity == "error":
            found += f" ({len(wrong)} of the {len(wrong) + right} images that can be judged are askew)"
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
        advice = "to keep them apart, train with data.border_class=2 or loss.border_weight=10"
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
        advice = "use model.stem=1 and a small model.depth, a smaller train.patch, or a higher magnification"
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
