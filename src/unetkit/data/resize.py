"""Images and labels brought to one size, as the older systems did it before their networks.

Bilinear between the four nearest pixels, without smoothing first. `half-pixel` takes pixels for squares whose corners
meet (torch's align_corners=False, MindSpore, OpenCV); `asymmetric` is TensorFlow 1's resize: source = target * scale.
The sampling grid is computed in single precision, as those systems do. Does not know networks.

Legend of shapes: C channels or classes, H height, W width.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.config import Resize
from unetkit.data.dataset import Changed, Dataset, Sample

Size = tuple[int, int]


def resize(image_CHW: Tensor, size: Size, kind: Resize) -> Tensor:
    """Return a float image [C, H, W] of another size, bilinear."""
    for axis, side in enumerate(size, start=1):
        place = _sampling_grid(image_CHW.shape[axis], side, kind).to(image_CHW.device)
        low = place.long()
        high = (low + 1).clamp_max(image_CHW.shape[axis] - 1)
        weight = (place - low).view(-1, 1) if axis == 1 else place - low
        image_CHW = torch.lerp(image_CHW.index_select(axis, low), image_CHW.index_select(axis, high), weight)
    return image_CHW


def resize_pixels(pixels_CHW: NDArray[Any], size: Size, kind: Resize) -> NDArray[np.float32]:
    """Return stored pixels [C, H, W] of any type in another size, float32 in the same units."""
    return resize(torch.from_numpy(pixels_CHW.astype(np.float32)), size, kind).numpy()


def resize_labels(labels_HW: NDArray[Any], size: Size, kind: Resize, *, classes: int) -> NDArray[Any]:
    """Return class indices [H, W] of another size, in the same type.

    Of two classes the second is where bilinear shares are above one half (asymmetric: one half or more, as TensorFlow's
    system rounds); of more, a pixel has the class of the nearest one.
    """
    if classes > 2:
        return resize_indices(labels_HW, size, kind)
    share_HW = resize_pixels(labels_HW[None], size, kind)[0]
    return (share_HW > 0.5 if kind == "half-pixel" else share_HW >= 0.5).astype(labels_HW.dtype)


def resize_indices(indices_HW: NDArray[Any], size: Size, kind: Resize) -> NDArray[Any]:
    """Return numbers [H, W] that cannot be mixed, such as object ids, of another size: those of the nearest pixels."""
    upwards = 0.5 if kind == "half-pixel" else 0.0
    rows, columns = (
        (_sampling_grid(length, side, kind) + upwards).long().numpy()
        for length, side in zip(indices_HW.shape, size, strict=True)
    )
    return indices_HW[rows[:, None], columns]


def resize_sample(sample: Sample, size: Size, kind: Resize, *, classes: int) -> Sample:
    """Return a sample of another size; its pixels become float32 in the same units."""
    height, width = sample.pixels.shape[1:]
    known = sample.pixel_size
    return replace(
        sample,
        pixel_size=None if known is None else (known[0] * height / size[0], known[1] * width / size[1]),
        pixels=resize_pixels(sample.pixels, size, kind),
        slices=tuple(resize_pixels(one, size, kind) for one in sample.slices),
        labels=None if sample.labels is None else resize_labels(sample.labels, size, kind, classes=classes),
        instances=None if sample.instances is None else resize_indices(sample.instances, size, kind),
        valid=None if sample.valid is None else resize_indices(sample.valid, size, kind),
    )


def resized(dataset: Dataset, size: Size, kind: Resize) -> Dataset:
    """Return a data set whose samples are all brought to one size."""
    return Changed(dataset, dataset.classes, partial(resize_sample, size=size, kind=kind, classes=len(dataset.classes)))


def _sampling_grid(length: int, side: int, kind: Resize) -> Tensor:
    """Return for every pixel of an axis of `side` where [side] on the axis of `length` it is sampled, within it."""
    scale, target = float(np.float32(length) / np.float32(side)), torch.arange(side, dtype=torch.float32)
    grid = (target + 0.5) * scale - 0.5 if kind == "half-pixel" else target * scale
    return grid.clamp(0, length - 1)
