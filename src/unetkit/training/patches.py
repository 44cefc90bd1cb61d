"""Training images of any sizes, resident on the device as one flat row of pixels, and sampled at any places in one go.

Legend of shapes: B batch, C channels, P pixels of all images together and one more, S side of a patch.
Places are pixels of an image: (row, column), the first pixel's centre at 0. Beyond the border the image is mirrored, or
all is 0 and of class 0.

Which image and which place each patch of a training is cut from, as a function of the seed and the step alone.

Nothing is kept between steps: any step can be drawn at any time, so a resumed run, or one on another number of
processes, draws the same patches. Images come in shuffled epochs: each is used as often as any other before the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.config import PaddingMode
from unetkit.data.dataset import Sample
from unetkit.data.normalize import Normalization
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
        padding_mode: what lies beyond the borders of the images.
    """

    pixels_CP: Tensor
    labels_P: Tensor
    start: Tensor
    height: Tensor
    width: Tensor
    weights_P: Tensor | None = None
    padding_mode: PaddingMode = "reflect"

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        normalization: Normalization,
        device: torch.device,
        *,
        weights: Sequence[NDArray[np.float32]] | None = None,
        padding_mode: PaddingMode = "reflect",
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
            padding_mode,
        )

    def targets_at(self, image_B: Tensor, places_B2SS: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the labels [B, S, S] int64 nearest to the places, and their weights [B, S, S] float32 if there are."""
        rows, columns = places_B2SS.round().long().unbind(1)
        index = self._index(image_B, rows, columns)
        return self.labels_P[index].long(), None if self.weights_P is None else self.weights_P[index]

    def sample(self, image_B: Tensor, places_B2SS: Tensor) -> Tensor:
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
        if self.padding_mode == "reflect":
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


@dataclass(frozen=True, slots=True)
class PatchSampler:
    """Draws the places of the patches of a step.

    Attributes:
        sizes: [N, 2] rows and columns of the images.
        batch: patches in a step.
        patch: rows and columns of the part of a patch that is scored by the loss.
        seed: the only source of randomness.
        repeat: copies of each image in an epoch.
        drop_last: leave out an epoch's last patches where they do not fill a batch; else the next epoch fills it up.
    """

    sizes: Tensor
    batch: int
    patch: tuple[int, int]
    seed: int
    repeat: int = 1
    drop_last: bool = False

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the image indices [B] int64 and the patch centres [B, 2] float32 (row, column) of a step.

        A patch lies inside its image; an image smaller than the patch has it centred.
        """
        image_B = torch.from_numpy(self._images(step))
        sizes_B2 = self.sizes[image_B]
        share_B2 = torch.from_numpy(generator(self.seed, "place", step).random((self.batch, 2)))
        patch_2 = torch.tensor(self.patch)
        room_B2 = sizes_B2 - patch_2
        corner_B2 = torch.where(room_B2 >= 0, (share_B2 * (room_B2 + 1)).floor(), room_B2.div(2, rounding_mode="floor"))
        return image_B, (corner_B2 + (patch_2 - 1) / 2).float()

    def _images(self, step: int) -> NDArray[np.int64]:
        count = len(self.sizes) * self.repeat
        used = count // self.batch * self.batch if self.drop_last else count
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        first, last = positions[[0, -1]] // used
        epochs = [generator(self.seed, "epoch", int(epoch)).permutation(count) for epoch in range(first, last + 1)]
        drawn = np.concatenate([epoch[:used] for epoch in epochs])
        return drawn[positions - first * used] % len(self.sizes)


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the random generator of one purpose and one step or epoch of a training."""
    return np.random.default_rng([seed, *purpose.encode(), number])
