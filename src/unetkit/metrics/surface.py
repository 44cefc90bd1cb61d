"""Distances between the outlines of predicted and true regions: Hausdorff, its 95th percentile, and the mean.

A region's outline is its pixels that have a neighbour outside along an edge, or lie on the image's edge; distances are
between the centres of pixels. They are in pixels, or in the unit of the pixel size where every image of a set tells it
in the same unit. Pixels that do not count are background in truth and prediction.

Assumes masks of class indices. Does not know networks or files.

Legend of shapes: H height, W width, S and T outline pixels of the one and of the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.definitions import (
    Definition,
    Metrics,
    Pooled,
    Prediction,
    means_of_classes,
    means_of_each,
    of_one_class,
)
from unetkit.metrics.overlap import DECIDED, class_labels

_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class ImageSurface:
    """What one image contributes: its scores by name, in pixels and, where the pixel size is known, in its unit."""

    pixels: dict[str, float]
    scaled: dict[str, float] | None
    unit: str


def surface_scores(
    found: NDArray[np.bool_], true: NDArray[np.bool_], *, pixel_size: tuple[float, float] = (1.0, 1.0)
) -> dict[str, float]:
    """Return `hausdorff`, `hd95` and `assd` of two regions; of two that are empty nothing.

    Args:
        found: [H, W] the predicted region.
        true: [H, W] the true one.
        pixel_size: height and width of a pixel, which give the unit of the distances.

    Returns:
        The three distances. Where one region alone is empty, each is that of the image's farthest two pixels.
    """
    if not (found.any() or true.any()):
        return {}
    if not (found.any() and true.any()):
        farthest = diagonal(found.shape, pixel_size)
        return {"hausdorff": farthest, "hd95": farthest, "assd": farthest}
    from scipy import ndimage  # slow to import, and training imports the metrics

    either = found | true
    (box,) = ndimage.find_objects(either.astype(np.uint8))
    outlines = [region[box] & ~ndimage.binary_erosion(region[box]) for region in (found, true)]
    one, other = (
        ndimage.distance_transform_edt(~there, sampling=pixel_size)[here]
        for here, there in (outlines, reversed(outlines))
    )
    return {
        "hausdorff": float(max(one.max(), other.max())),
        "hd95": float(max(np.percentile(one, _PERCENTILE), np.percentile(other, _PERCENTILE))),
        "assd": float((one.sum() + other.sum()) / (len(one) + len(other))),
    }


def diagonal(shape: Sequence[int], pixel_size: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return how far two pixels of an image [H, W] can be from each other."""
    return math.hypot(*((side - 1) * size for side, size in zip(shape, pixel_size, strict=True)))


def of_image(one: Prediction, metrics: Metrics) -> ImageSurface:
    """Measure every class but the background in one image."""
    found, true = one.mask, one.labels
    if one.valid is not None:
        found, true = np.where(one.valid, found, 0), np.where(one.valid, true, 0)

    def measured(pixel_size: tuple[float, float]) -> dict[str, float]:
        labels = class_labels(one.classes)
        of_class = {
            labels[k]: surface_scores(found == k, true == k, pixel_size=pixel_size) for k in range(1, len(labels))
        }
        return means_of_classes(of_class)

    scaled = None if one.pixel_size is None else measured(one.pixel_size)
    return ImageSurface(measured((1.0, 1.0)), scaled, one.unit)


def of_set(images: Sequence[ImageSurface], classes: Sequence[str]) -> Pooled:
    """Return the means over images, in the unit that all of them have, else in pixels; the details say which."""
    units = {image.unit for image in images if image.scaled is not None}
    known = len(units) == 1 and all(image.scaled is not None for image in images)
    each = [image.scaled if known and image.scaled is not None else image.pixels for image in images]
    return Pooled(means_of_each(each), each, units.pop() if known else "pixels")


_OUTLINE = "distances from each outline pixel of S to the nearest of T, and the reverse"
_ROWS = (
    (
        "hausdorff",
        "largest distance between outlines",
        f"max of d, d {_OUTLINE}",
        "Huttenlocher et al. 1993; as MONAI and medpy",
    ),
    (
        "hd95",
        "distance that 95 % of each outline are within",
        f"the larger one of the 95th percentiles of d(S, T) and d(T, S), d {_OUTLINE}",
        "Huttenlocher et al. 1993; as MONAI and DeepMind's surface-distance (medpy takes one percentile of both)",
    ),
    (
        "assd",
        "mean distance between outlines",
        f"(sum d(S, T) + sum d(T, S)) / (|S| + |T|), d {_OUTLINE}",
        "Heimann et al. 2009, IEEE Trans. Med. Imaging 28; as MONAI (medpy takes the mean of two means)",
    ),
)


def _cards() -> dict[str, Definition]:
    """Return the cards: the mean of the classes, and one for each of several classes."""
    cards: list[Definition] = []
    for name, meaning, formula, source in _ROWS:
        card = Definition(
            name=name,
            meaning=meaning,
            formula=formula,
            better="lower",
            classes="each but the background (class 0), then the mean over those that occur in the image",
            averaging="each image by itself, then the mean over images",
            absent="in neither truth nor prediction: left out; in one alone: the image's diagonal",
            threshold=DECIDED,
            source=source,
            high=None,
            resolution="that of the labels; distances in pixels, or in the images' unit, which is in the notes",
        )
        cards += [card, of_one_class(card)]
    return {card.name: card for card in cards}


DEFINITIONS = _cards()
