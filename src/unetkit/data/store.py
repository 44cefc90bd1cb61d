"""Training images of any sizes, resident on the device as one flat row of pixels, and sampled at any places in one go.

Legend of shapes: B batch, C channels, P pixels of all images together and one more, S side of a patch.
Places are pixels of an image: (row, column), the first pixel's centre at 0. Beyond the border the image is mirrored, or
all is 0 and of class 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.config import Outside
from unetkit.data.normalize import Normalization
from unetkit.data.sample import Sample
from unetkit.errors import DataError


@dataclass(frozen=True, slots=True)
class PixelStore:
    """All pixels that training draws from.

    Attributes:
        pixels_CP: normalised pixels, float32; the last one belongs to no image: it is what lies beyond them as zeros.
        labels_P: class indices, uint8 or int32.
        start: first pixel of every image, int64.
        height: rows of every image, int64.
        width: columns of every image, int64.
        weights_P: how much every pixel counts, float32; None where all count alike.
        outside: what lies beyond the borders of the images.
    """

    pixels_CP: Tensor
    labels_P: Tensor
    start: Tensor
    height: Tensor
    width: Tensor
    weights_P: Tensor | None = None
    outside: Outside = "mirror"

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        normalization: Normalization,
        device: torch.device,
        *,
        weights: Sequence[NDArray[np.float32]] | None = None,
        outside: Outside = "mirror",
    ) -> "PixelStore":
        """Normalise the samples and lay them on the device, with the weights of their pixels where there are any.

        Beyond the images, zeros are of class 0 and count 1.

        Raises:
            DataError: samples without labels, or with different numbers of channels.
        """
        channels = {sample.pixels.shape[0] for sample in samples}
        if len(channels) != 1:
            raise DataError(f"images with {sorted(channels)} channels are mixed; training needs one number of channels")
        missing = [sample.name for sample in samples if sample.labels is None]
        if missing:
            raise DataError(f"{missing[0]}: has no labels; training needs them for every image")
        sizes = torch.tensor([sample.pixels.shape[1:] for sample in samples])
        ends = sizes.prod(1).cumsum(0)
        pixels_CP = torch.zeros((*channels, int(ends[-1]) + 1))
        first = 0
        for sample in samples:
            pixels = torch.from_numpy(normalization.apply(sample.pixels)).flatten(1)
            pixels_CP[:, first : first + pixels.shape[1]] = pixels
            first += pixels.shape[1]
        labels = [sample.labels for sample in samples if sample.labels is not None]
        return cls(
            pixels_CP.to(device),
            _in_a_row(labels, np.int32(0)).to(device),
            (ends - sizes.prod(1)).to(device),
            sizes[:, 0].to(device),
            sizes[:, 1].to(device),
            None if weights is None else _in_a_row(weights, np.float32(1)).to(device),
            outside,
        )

    def targets_at(self, image_B: Tensor, places_B2SS: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the labels [B, S, S] int64 nearest to the places, and their weights [B, S, S] float32 if there are."""
        rows, columns = places_B2SS.round().long().unbind(1)
        index = self._index(image_B, rows, columns)
        return self.labels_P[index].long(), None if self.weights_P is None else self.weights_P[index]

    def pixels_at(self, image_B: Tensor, places_B2SS: Tensor) -> Tensor:
        """Return the pixels [B, C, S, S] float32, bilinear between the four pixels round each place."""
        corner = places_B2SS.floor()
        weight_y, weight_x = (places_B2SS - corner).unsqueeze(2).unbind(1)
        top, left = corner.long().unbind(1)
        upper = torch.lerp(self._pick(image_B, top, left), self._pick(image_B, top, left + 1), weight_x)
        lower = torch.lerp(self._pick(image_B, top + 1, left), self._pick(image_B, top + 1, left + 1), weight_x)
        return torch.lerp(upper, lower, weight_y)

    def pixels_on_grid(self, image_B: Tensor, places_B2SS: Tensor) -> Tensor:
        """Return the pixels [B, C, S, S] float32 at places that are whole numbers."""
        rows, columns = places_B2SS.round().long().unbind(1)
        return self._pick(image_B, rows, columns)

    def _pick(self, image_B: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
        index = self._index(image_B, rows_BSS, columns_BSS)
        picked_CB = self.pixels_CP.index_select(1, index.flatten()).view(-1, *index.shape)
        return picked_CB.transpose(0, 1)

    def _index(self, image_B: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
        start, height, width = (field[image_B].view(-1, 1, 1) for field in (self.start, self.height, self.width))
        if self.outside == "mirror":
            return start + _mirrored(rows_BSS, height) * width + _mirrored(columns_BSS, width)
        inside = (rows_BSS >= 0) & (rows_BSS < height) & (columns_BSS >= 0) & (columns_BSS < width)
        return torch.where(inside, start + rows_BSS * width + columns_BSS, self.pixels_CP.shape[1] - 1)


def _in_a_row(images: Sequence[NDArray[Any]], beyond: np.generic) -> Tensor:
    """Return the values of all images in the type of `beyond`, and it as the last."""
    flat = [image.ravel().astype(beyond.dtype) for image in images]
    return torch.from_numpy(np.concatenate([*flat, beyond.reshape(1)]))


def _mirrored(position: Tensor, length: Tensor) -> Tensor:
    """Fold positions outside 0 .. length-1 back in, as often as needed, without repeating the border pixel."""
    period = (2 * (length - 1)).clamp_min(1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded).clamp_max(length - 1)
