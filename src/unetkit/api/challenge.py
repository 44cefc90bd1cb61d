"""score_isbi: anybody's label and probability files by the ISBI 2012 challenge's own metrics."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.images import open_pages
from unetkit.data.pages import Pages, Role
from unetkit.errors import DataError, UsageError
from unetkit.evaluation import Evaluation
from unetkit.metrics import ImageScores, IsbiSlice, overlap, pool_slices, score_slice
from unetkit.progress import Reporter, Silence

_CLASSES = ("membrane", "interior")


def score_isbi(
    label: str | Path,
    probability: str | Path,
    *,
    membrane: bool = False,
    scale: float | None = None,
    warping: bool = True,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a stack of probabilities against a stack of labels as the challenge's own evaluator does.

    Args:
        label: an image file, a page a slice: interior > 0, membrane 0.
        probability: as many pages of the same size: the probability of interior, in [0, 1].
        membrane: the probability is that of membrane: 1 - p is scored, of stored whole numbers (scale - p) / scale.
        scale: the stored value that means 1, such as 255 in an 8-bit map; None: values are probabilities as they stand.
        warping: whether to compute the warping error too; it takes longer than everything else.
        reporter: hears about the course.

    Raises:
        DataError, UsageError: pages or sizes differ, values are no probabilities, or an impossible scale.

    Example:
        >>> unetkit.score_isbi("train-labels.tif", "probability.tif").scores["v_rand_thinned"]
    """
    if scale is not None and not scale > 0:
        raise UsageError(f"--scale {scale:g}: expected the stored value that means 1, such as 255")
    truth, predicted = _open(label, "mask"), _open(probability, "image")
    _require_same_form(truth, predicted)
    images, parts, sums = list[ImageScores](), list[IsbiSlice](), np.zeros((2, 2))
    for page in range(truth.count):
        (reporter or Silence()).advance(page, truth.count, {})
        interior = truth.read(page)[0] > 0
        p = _probability(predicted.read(page)[0], f"{probability}, page {page}", membrane=membrane, scale=scale)
        parts.append(score_slice(interior, p, warping=warping))
        sums += [[p[interior].sum(), interior.sum()], [p[~interior].sum(), (~interior).sum()]]
        name, confusion = f"{Path(label).stem}[{page:02d}]", overlap.count_confusion(p > 0.5, interior, 2)
        images.append(ImageScores(name, {}, confusion))
    return _evaluation(images, parts, _notes(sums))


def _evaluation(images: list[ImageScores], parts: list[IsbiSlice], notes: tuple[str, ...]) -> Evaluation:
    isbi = pool_slices(parts)
    scored = (image.with_scores(own) for image, own in zip(images, isbi.slice_scores(), strict=True))
    return Evaluation(isbi.scores(), tuple(scored), _CLASSES, notes, isbi)


def _notes(sums: NDArray[np.float64]) -> tuple[str, ...]:
    (inside, interior), (outside, border) = sums.tolist()
    if interior and border and inside / interior < outside / border:
        return (
            f"the mean probability is {inside / interior:.2f} in the labels' interior and {outside / border:.2f} on "
            "their membrane: if this is a map of membranes, give --membrane",
        )
    return ()


def _open(path: str | Path, role: Role) -> Pages:
    pages = open_pages(Path(path), role)
    if pages.channels != 1:
        raise DataError(f"{path}: has {pages.channels} channels; a grey stack was expected, a page a slice")
    return pages


def _require_same_form(truth: Pages, predicted: Pages) -> None:
    for what, ours, theirs in (
        ("pages", truth.count, predicted.count),
        ("pixels (height x width)", f"{truth.height} x {truth.width}", f"{predicted.height} x {predicted.width}"),
    ):
        if ours != theirs:
            raise DataError(
                f"{predicted.source}: has {theirs} {what}, but {truth.source} has {ours}; "
                "give two stacks of the same slices, or two single slices"
            )


def _probability(stored: NDArray[Any], source: str, *, membrane: bool, scale: float | None) -> NDArray[np.float64]:
    """Return the probability of interior; whole numbers are inverted before they are divided, so that nothing rounds.

    A float map is inverted in its own precision, as image programs do.
    """
    high = float(stored.max())
    if scale is None and stored.dtype.kind in "iu" and high > 1:
        raise DataError(
            f"{source}: whole numbers up to {high:g} are no probabilities, and nothing is rescaled by itself; give "
            f"--scale {2 ** (8 * stored.dtype.itemsize) - 1} if that value means 1, or a float map from 0 to 1"
        )
    if scale is not None and high > scale:
        raise DataError(f"{source}: holds {high:g}, above --scale {scale:g}; give the stored value that means 1")
    whole = stored.astype(np.float64) if stored.dtype.kind in "biu" else stored
    one = whole.dtype.type(1 if scale is None else scale)
    return ((one - whole if membrane else whole) / one).astype(np.float64)
