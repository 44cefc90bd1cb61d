"""Where to paint next: the window of the page that the network knows least about, where hardly anything is painted.

A page is looked at in windows. A window's uncertainty is the mean entropy of its pixels that are not painted. Windows
of which more than a hundredth is painted are left out: they were answered. Before there is a network, the window with
the most contrast of the middle page is as good as any. Does not know what is worth painting to a person.

Legend of shapes: H height, W width, R rows and Q columns of windows.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.labelling.strokes import Labels, Place

SIDE = 64
"""Rows and columns of a window."""

_ANSWERED = 0.01

Box = tuple[int, int, int, int]
"""Top, left, height and width."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A window to paint in.

    Attributes:
        place: the image and the page.
        box: top, left, height and width.
        uncertainty: 0 to 1; None: there is no network yet.
    """

    place: Place
    box: Box
    uncertainty: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        image, page = self.place
        return {"image": str(image), "page": page, "box": list(self.box), "uncertainty": self.uncertainty}


def window_means(values_HW: NDArray[Any], side: int = SIDE) -> NDArray[np.float64]:
    """Return the mean of every window [R, Q]; those at the end may be smaller."""
    height, width = values_HW.shape
    rows, columns = (np.array(range(0, length, side), np.intp) for length in (height, width))
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values_HW.astype(np.float64), rows, 0), columns, 1)
    return sums / np.outer(np.minimum(side, height - rows), np.minimum(side, width - columns))


def rank_windows(
    place: Place, uncertainty_HW: NDArray[np.float32], painted_HW: NDArray[np.bool_], *, most: int = 8
) -> list[Suggestion]:
    """Return the windows of a page that are not answered, at most so many, the most uncertain (0 to 1) first."""
    answered = window_means(painted_HW)
    means = window_means(np.where(painted_HW, 0, uncertainty_HW)) / np.maximum(1 - answered, 1e-6)
    means[answered > _ANSWERED] = -1
    order = np.argsort(-means, axis=None, kind="stable")[:most]
    found: list[Suggestion] = []
    for row, column in np.stack(np.unravel_index(order, means.shape), 1).tolist():
        if means[row, column] >= 0:
            found.append(Suggestion(place, box_of(row, column, painted_HW.shape), float(means[row, column])))
    return found


def choose(
    pages: Mapping[Place, Iterable[Suggestion]],
    painted: Mapping[Place, Labels],
    but: Container[tuple[Place, Box]] = frozenset(),
) -> Suggestion | None:
    """Return the most uncertain window of all pages that was not answered since it was ranked; None: there is none.

    `painted` are the labels [H, W] of pages, as they are now. What is in `but` is passed over.
    """
    ranked = sorted((one for found in pages.values() for one in found), key=lambda one: -(one.uncertainty or 0))
    for one in ranked:
        top, left, height, width = one.box
        labels = painted.get(one.place)
        if (one.place, one.box) in but:
            continue
        if labels is None or (labels[top : top + height, left : left + width] > 0).mean() <= _ANSWERED:
            return one
    return None


def first_window(place: Place, pixels_CHW: NDArray[Any]) -> Suggestion:
    """Return the window of a page with the most contrast, to begin with."""
    grey = pixels_CHW.mean(0, dtype=np.float64)
    variance = window_means(grey**2) - window_means(grey) ** 2
    row, column = np.unravel_index(int(variance.argmax()), variance.shape)
    return Suggestion(place, box_of(int(row), int(column), (grey.shape[0], grey.shape[1])), None)


def box_of(row: int, column: int, size: tuple[int, ...]) -> Box:
    """Return top, left, height and width of a window of a page."""
    top, left = row * SIDE, column * SIDE
    return top, left, min(SIDE, size[0] - top), min(SIDE, size[1] - left)
