"""Layers as a data set on the disk, and as images for a network. Knows no Qt and no viewer.

An image layer is [rows, columns], or a stack [slices, rows, columns], with three channels last where it is RGB; of more
dimensions the last two are the image's. A labels layer has the same size without the channels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_FEW = 4
"""Below this many labelled slices each is cut into quarters, so that something can be held out."""


@dataclass(frozen=True)
class Written:
    """A data set that was made of layers: its folder, how many images it has, and what its masks mean.

    Attributes:
        folder: with `images` and `masks`.
        count: of the images.
        overrides: for unetkit.train_auto.
    """

    folder: Path
    count: int
    overrides: tuple[str, ...]


def planes_first(images_NCHW: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return images as a layer has them, and whether they are RGB; of other channels the first is shown."""
    if images_NCHW.shape[1] == 3:
        return np.moveaxis(images_NCHW, 1, -1), True
    return images_NCHW[:, 0], False


def slices_of(pixels: Any, rgb: bool) -> list[NDArray[Any]]:
    """Return the slices of an image layer's data, each [C, rows, columns]; lazy data is read when it is asked for."""
    trailing = 3 if rgb else 2
    count = int(np.prod(pixels.shape[:-trailing], dtype=int))
    return [slice_of(pixels, rgb, np.unravel_index(index, pixels.shape[:-trailing])) for index in range(count)]


def slice_of(pixels: Any, rgb: bool, place: tuple[Any, ...]) -> NDArray[Any]:
    """Return one slice of an image layer's data as [C, rows, columns]."""
    one = np.asarray(pixels[tuple(int(axis) for axis in place)])
    return np.moveaxis(one[..., :3], -1, 0) if rgb else one[None]


def write_data(
    pixels: Any, labels: Any, folder: Path, *, rgb: bool = False, sparse: bool = False, objects: bool = False
) -> Written:
    """Write the labelled slices of an image layer and a labels layer as a data set.

    Args:
        pixels: of the image layer.
        labels: of the labels layer, as many slices of the same size.
        folder: that is made.
        rgb: the last axis of the pixels is colour.
        sparse: label 0 says nothing, and label 1 is the background; otherwise 0 is the background.
        objects: the labels number objects; otherwise they are classes.

    Raises:
        ValueError: the layers do not fit each other, or too little is labelled.
    """
    images, masks = slices_of(pixels, rgb), [mask[0] for mask in slices_of(labels, False)]
    if len(images) != len(masks) or images[0].shape[1:] != masks[0].shape:
        raise ValueError(f"the labels are {labels.shape}, which does not fit the image, {pixels.shape}")
    pairs = [(image, mask) for image, mask in zip(images, masks, strict=True) if mask.any()]
    values = np.unique([value for _, mask in pairs for value in np.unique(mask)])
    classes = [int(value) for value in values if value or not sparse]
    if len(classes) < 2:
        raise ValueError(
            "paint at least two classes, 1 for the background and 2 for what you look for"
            if sparse
            else "paint what you look for, and leave some of the image 0"
        )
    if len(pairs) < _FEW:
        pairs = [quarter for pair in pairs for quarter in _quarters(*pair) if quarter[1].any() or not sparse]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        shown = np.moveaxis(image, 0, -1) if rgb else image[0]
        tifffile.imwrite(folder / "images" / f"{index:04}.tif", shown, photometric="rgb" if rgb else "minisblack")
        tifffile.imwrite(folder / "masks" / f"{index:04}.tif", mask.astype(np.uint16 if objects else np.uint8))
    if objects:
        return Written(folder, len(pairs), ("data.mask_kind=instances",))
    meanings = {str(value): index for index, value in enumerate(classes)} | ({"0": "ignore"} if sparse else {})
    table = ", ".join(f"'{value}': {meaning}" for value, meaning in meanings.items())
    return Written(folder, len(pairs), (f"data.mask_values={{{table}}}",))


def _quarters(image: NDArray[Any], mask: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    rows, columns = (side // 2 for side in mask.shape)
    places = [
        (down, across)
        for down in (slice(0, rows), slice(rows, None))
        for across in (slice(0, columns), slice(columns, None))
    ]
    return [(image[:, down, across], mask[down, across]) for down, across in places]
