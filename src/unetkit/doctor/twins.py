"""The groups of images of a set that are alike, and where an image lies in its stack.

Sections near each other in a stack look alike by nature: they are twins only where their pixels are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unetkit.data.split import stack_of
from unetkit.doctor.facts import Facts
from unetkit.doctor.likeness import alike

_NEAR = 2


@dataclass(frozen=True, slots=True)
class Twins:
    """Images that are alike.

    Attributes:
        images: in the order of the set.
        likeness: the lowest correlation of a pair that joins them.
        same: all have the same pixels.
    """

    images: tuple[Facts, ...]
    likeness: float
    same: bool


def twins_among(facts: Sequence[Facts]) -> Iterator[Twins]:
    """Yield the groups of images that are alike."""
    known = [one for one in facts if one.thumbnail is not None]
    thumbnails = [one.thumbnail for one in known if one.thumbnail is not None]
    pairs = [
        pair
        for pair in (alike(thumbnails) if len(known) > 1 else ())
        if known[pair[0]].digest == known[pair[1]].digest or not _near(known[pair[0]], known[pair[1]])
    ]
    for group in _joined([(first, second) for first, second, _ in pairs]):
        images = tuple(known[place] for place in group)
        likeness = min(value for first, _, value in pairs if first in group)
        yield Twins(images, likeness, len({one.digest for one in images}) == 1)


def page_of(one: Facts) -> tuple[str, int] | None:
    """Return the stack of an image and its place in it; None for an image by itself."""
    stack = stack_of(one.name)
    place = one.name[len(stack) + 1 : -1]
    return (stack, int(place)) if place.isdigit() else None


def _near(one: Facts, other: Facts) -> bool:
    here, there = page_of(one), page_of(other)
    return here is not None and there is not None and here[0] == there[0] and abs(here[1] - there[1]) <= _NEAR


def _joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the groups that the pairs join, each in order."""
    groups: list[set[int]] = []
    for pair in pairs:
        meeting = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in meeting] + [set(pair).union(*meeting)]
    return sorted(sorted(group) for group in groups)
