"""What can be wrong between the images of a set: classes, twins, and what held-out images share with others."""

from collections.abc import Iterator

from unetkit.doctor.exam import Exam
from unetkit.doctor.facts import Facts, names
from unetkit.doctor.findings import Finding, named
from unetkit.doctor.likeness import coarse_likeness
from unetkit.doctor.twins import Twins, page_of

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
    for twins in exam.twins:
        if not _divided(twins, exam):
            contradictory = twins.same and len({one.class_counts for one in twins.images}) > 1
            but = ", but are labelled differently" if contradictory else ""
            advice = "keep the better one" if contradictory else "keep one of them, unless the repetition is meant"
            severity = "warning" if contradictory else "note"
            yield Finding(severity, f"{_alike(twins)}{but}", advice, names(twins.images), "image")


def leakage(exam: Exam) -> Iterator[Finding]:
    """Find images that are held out while a twin is trained on."""
    for twins in exam.twins:
        if _divided(twins, exam):
            found = f"{_alike(twins)}, and lie on both sides of the split: scores of the held-out part will be too good"
            advice = "keep one of them, or keep them together by data.split"
            yield Finding("warning", found, advice, names(twins.images), "image")


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


def _divided(twins: Twins, exam: Exam) -> bool:
    indices = {one.index for one in twins.images}
    return bool(indices & exam.train) and bool(indices & exam.held_out)


def _alike(twins: Twins) -> str:
    what = "hold the same pixels" if twins.same else f"are near-duplicates (correlation {twins.likeness:.2f})"
    return f"{named([one.name for one in twins.images])} {what}"
