"""Training images of any sizes as one flat row of pixels, in memory or in a mapped file, and the patches cut from them.

Pixels are kept as they are stored and normalised when they are drawn. They are sampled at any coordinates (row, column)
of an image, the first pixel's centre at 0; beyond the border the image is mirrored, or all is 0 and of class 0. Which
patch a step gets is a function of the seed and the step alone: nothing is kept between steps, so a resumed run, or one
on another number of processes, draws the same patches. No patch is drawn that holds no pixel that counts.

Legend of shapes: B batch, C channels, P pixels of all images together and one more, S side of a patch.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.config import PaddingMode
from unetkit.data.dataset import Dataset, Sample, Subset, samples_of
from unetkit.data.normalize import Normalization
from unetkit.errors import DataError, StorageError


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """What is seen of other images together with each image that is drawn from.

    Attributes:
        numbers: [N, S] the images whose pixels are the slices of each of the N samples, its own in the middle: below N
            a sample, from N on one of `others`.
        others: images that are only seen so; their labels are not looked at.
    """

    numbers: NDArray[np.intp]
    others: Dataset

    @classmethod
    def of(cls, dataset: Dataset, drawn: Sequence[int], around: NDArray[np.intp]) -> "Slices":
        """Return the slices of those samples of a data set that are drawn from, in this order.

        Each sample of the data set is seen with samples `around` [M, S].
        """
        seen = around[list(drawn)]
        others = np.setdiff1d(seen, drawn)
        place = np.empty(len(dataset), np.intp)
        place[[*drawn, *others]] = np.arange(len(drawn) + len(others))
        return cls(place[seen], Subset(dataset, tuple(others.tolist())))


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """What a store of training images holds, before it is filled.

    Attributes:
        sizes: [N, 2] rows and columns of the images, those that are only seen with others at the end.
        channels: of every image.
        dtype: of the pixels, as stored.
        classes: of the network; decides the type of the labels.
        weighted: every pixel has a weight.
        masked: some pixels do not count.
    """

    sizes: NDArray[np.int64]
    channels: int
    dtype: np.dtype[Any]
    classes: int
    weighted: bool
    masked: bool

    @classmethod
    def of(cls, samples: Dataset, *, weighted: bool, slices: Slices | None = None) -> "StoreLayout":
        """Look at every sample once.

        Raises:
            DataError: samples without labels, or with different numbers of channels.
        """
        sizes, kinds, masked = list[tuple[int, ...]](), dict[int, np.dtype[Any]](), False
        for index, sample in enumerate(chain(samples_of(samples), samples_of(slices.others) if slices else ())):
            if sample.labels is None and index < len(samples):
                raise DataError(f"{sample.name}: has no labels; training needs them for every image")
            sizes.append(sample.pixels.shape[1:])
            kinds[len(sample.pixels)] = sample.pixels.dtype
            masked = masked or (sample.valid is not None and index < len(samples))
        if len(kinds) != 1:
            raise DataError(f"images with {sorted(kinds)} channels are mixed; training needs one number of channels")
        ((channels, dtype),) = kinds.items()
        return cls(np.array(sizes, np.int64), channels, dtype, len(samples.classes), weighted, masked)

    @property
    def pixels(self) -> int:
        """How many pixels all images have together, and one more."""
        return int(self.sizes.prod(1).sum()) + 1

    @property
    def rows(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return the shape and the type of every row of values, by its name."""
        label = np.dtype(np.uint8 if self.classes <= 256 else np.uint16)
        flat = (self.pixels,)
        rows = {"pixels": ((self.channels, self.pixels), self.dtype), "labels": (flat, label)}
        rows |= {"weights": (flat, np.dtype(np.float32))} if self.weighted else {}
        return rows | ({"valid": (flat, np.dtype(np.bool_))} if self.masked else {})

    @property
    def bytes(self) -> int:
        """Return what the store takes."""
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.rows.values())


@dataclass(frozen=True, slots=True)
class PixelStore:
    """All pixels that a training draws from.

    Attributes:
        pixels_CP: pixels as stored, uint8, uint16 or float32; the last one belongs to no image: it is what lies beyond
            them as zeros.
        labels_P: class indices, uint8 or uint16; 0 where a pixel does not count.
        start: first pixel of every image, int64.
        height: rows of every image, int64.
        width: columns of every image, int64.
        mean_C1: what is taken from the pixels of every channel, float32.
        std_C1: what they are then divided by, float32.
        weights_P: how much every pixel counts, float32; None where all count alike.
        valid_P: whether a pixel counts at all; None where all do.
        padding_mode: what lies beyond the borders of the images.
        slices_NS: the images whose pixels are the channels of each image that is drawn from, in order; None: its own.
    """

    pixels_CP: Tensor
    labels_P: Tensor
    start: Tensor
    height: Tensor
    width: Tensor
    mean_C1: Tensor
    std_C1: Tensor
    weights_P: Tensor | None = None
    valid_P: Tensor | None = None
    padding_mode: PaddingMode = "reflect"
    slices_NS: Tensor | None = None

    @classmethod
    def of(
        cls,
        samples: Dataset,
        normalization: Normalization,
        device: torch.device,
        *,
        layout: StoreLayout | None = None,
        weights: Callable[[Sample], NDArray[np.float32]] | None = None,
        padding_mode: PaddingMode = "reflect",
        order: Sequence[int] | None = None,
        folder: Path | None = None,
        slices: Slices | None = None,
    ) -> "PixelStore":
        """Read the samples once and lay their pixels out.

        Beyond the images, zeros are of class 0 and count 1.

        Args:
            samples: to train on, with labels.
            normalization: of their pixels.
            device: where patches are drawn.
            layout: of these samples; None: it is found first.
            weights: gives how much the pixels [H, W] of a sample count; None: all count alike.
            padding_mode: what lies beyond the borders of the images.
            order: in which to read the samples; None: as they are.
            folder: where a file takes the pixels instead of the memory; it has no name and ends with the process.
                None: they lie in the device's memory.
            slices: what the samples are seen with; None: each is seen by itself.

        Raises:
            DataError: as `StoreLayout.of`.
            StorageError: the disk did not take the file.
        """
        layout = layout or StoreLayout.of(samples, weighted=weights is not None, slices=slices)
        rows = {name: _row(shape, dtype, folder) for name, (shape, dtype) in layout.rows.items()}
        areas = layout.sizes.prod(1)
        starts = np.cumsum(areas) - areas
        for index in range(len(samples)) if order is None else order:
            sample = samples[index]
            assert sample.labels is not None
            place = slice(int(starts[index]), int(starts[index] + areas[index]))
            labels = sample.labels if sample.valid is None else np.where(sample.valid, sample.labels, 0)
            rows["pixels"][:, place] = sample.pixels.reshape(len(sample.pixels), -1)
            rows["labels"][place] = labels.ravel()
            if weights is not None:
                rows["weights"][place] = weights(sample).ravel()
            if "valid" in rows:
                rows["valid"][place] = True if sample.valid is None else sample.valid.ravel()
        for index, sample in enumerate(samples_of(slices.others) if slices else (), len(samples)):
            place = slice(int(starts[index]), int(starts[index] + areas[index]))
            rows["pixels"][:, place] = sample.pixels.reshape(len(sample.pixels), -1)
        for name, beyond in (("weights", 1.0), ("valid", True)):
            if name in rows:
                rows[name][-1] = beyond
        home = device if folder is None else torch.device("cpu")
        laid = {name: torch.from_numpy(values).to(home) for name, values in rows.items()}
        sizes = torch.from_numpy(layout.sizes).to(device)
        return cls(
            laid["pixels"],
            laid["labels"],
            torch.from_numpy(starts).to(device),
            sizes[:, 0],
            sizes[:, 1],
            torch.tensor(normalization.mean, dtype=torch.float32, device=device)[:, None],
            torch.tensor(normalization.std, dtype=torch.float32, device=device)[:, None],
            laid.get("weights"),
            laid.get("valid"),
            padding_mode,
            None if slices is None else torch.from_numpy(slices.numbers).to(device),
        )

    @property
    def device(self) -> torch.device:
        """Where patches are drawn."""
        return self.start.device

    @property
    def sizes(self) -> Tensor:
        """Rows and columns [N, 2] of the images that patches are drawn from."""
        return torch.stack((self.height, self.width), 1)[: None if self.slices_NS is None else len(self.slices_NS)]

    def valid_of(self, image: int) -> Tensor:
        """Return which pixels [H, W] of an image count, where some do not."""
        assert self.valid_P is not None
        start, height, width = (int(field[image]) for field in (self.start, self.height, self.width))
        return self.valid_P[start : start + height * width].view(height, width)

    def targets_at(self, image_B: Tensor, grid_B2SS: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return labels [B, S, S] int64 nearest to the grid, and, or None, weights float32 and which count, bool."""
        rows, columns = grid_B2SS.round().long().unbind(1)
        index = self._index(image_B, rows, columns).to(self.labels_P.device)
        labels, weights, valid = (
            None if values_P is None else values_P[index].to(self.device)
            for values_P in (self.labels_P, self.weights_P, self.valid_P)
        )
        assert labels is not None
        return labels.long(), weights, valid

    def sample(self, image_B: Tensor, grid_B2SS: Tensor) -> Tensor:
        """Return the pixels [B, C, S, S] float32, bilinear between the four pixels around each point."""
        corner = grid_B2SS.floor()
        weight_y, weight_x = (grid_B2SS - corner).unsqueeze(2).unbind(1)
        top, left = corner.long().unbind(1)
        upper = torch.lerp(self._pick(image_B, top, left), self._pick(image_B, top, left + 1), weight_x)
        lower = torch.lerp(self._pick(image_B, top + 1, left), self._pick(image_B, top + 1, left + 1), weight_x)
        return torch.lerp(upper, lower, weight_y)

    def sample_nearest(self, image_B: Tensor, grid_B2SS: Tensor) -> Tensor:
        """Return the pixels [B, C, S, S] float32 nearest to the grid, exact where it holds whole numbers."""
        rows, columns = grid_B2SS.round().long().unbind(1)
        return self._pick(image_B, rows, columns)

    def _pick(self, image_B: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
        """Return the normalised pixels [B, C, S, S] of images, or of all their slices one after the other."""
        if self.slices_NS is None:
            return self._of_image(image_B, rows_BSS, columns_BSS)
        each = self.slices_NS[image_B].unbind(1)
        return torch.cat([self._of_image(slice_B, rows_BSS, columns_BSS) for slice_B in each], 1)

    def _of_image(self, image_B: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
        index_BSS = self._index(image_B, rows_BSS, columns_BSS)
        stored_CB = self.pixels_CP.index_select(1, index_BSS.flatten().to(self.pixels_CP.device)).to(self.device)
        # The mean goes first, as in `Normalization.apply`, so that each value is the same to the last bit.
        picked_CB = stored_CB.float().sub_(self.mean_C1).div_(self.std_C1)
        if self.padding_mode == "zeros":
            picked_CB.masked_fill_(index_BSS.flatten() == self.pixels_CP.shape[1] - 1, 0.0)
        return picked_CB.view(-1, *index_BSS.shape).transpose(0, 1)

    def _index(self, image_B: Tensor, rows_BSS: Tensor, columns_BSS: Tensor) -> Tensor:
        start, height, width = (field[image_B].view(-1, 1, 1) for field in (self.start, self.height, self.width))
        if self.padding_mode == "reflect":
            return start + _mirrored(rows_BSS, height) * width + _mirrored(columns_BSS, width)
        inside = (rows_BSS >= 0) & (rows_BSS < height) & (columns_BSS >= 0) & (columns_BSS < width)
        return torch.where(inside, start + rows_BSS * width + columns_BSS, self.pixels_CP.shape[1] - 1)


def _row(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None) -> NDArray[Any]:
    """Return zeros in memory, or in a file without a name in a folder."""
    if folder is None:
        return np.zeros(shape, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(int(np.prod(shape)) * dtype.itemsize)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise StorageError(
            f"{folder}: does not take the training images ({error.strerror}); free space there, or allow more memory "
            "with train.memory"
        ) from error


def _mirrored(position: Tensor, length: Tensor) -> Tensor:
    """Fold positions outside 0 .. length-1 back in, as often as needed, without repeating the border pixel."""
    period = (2 * (length - 1)).clamp_min(1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded).clamp_max(length - 1)


@dataclass(frozen=True, slots=True)
class PatchSampler:
    """Draws where the patches of a step are cut; images come in shuffled epochs, each as often as any other.

    Attributes:
        sizes: [N, 2] rows and columns of the images.
        batch: patches in a step.
        patch: rows and columns of the part of a patch that is scored by the loss.
        seed: the only source of randomness.
        repeat: copies of each image in an epoch.
        drop_last: leave out an epoch's last patches where they do not fill a batch; else the next epoch fills it up.
        valid: gives which pixels [H, W] of an image count; None: all do.
    """

    sizes: Tensor
    batch: int
    patch: tuple[int, int]
    seed: int
    repeat: int = 1
    drop_last: bool = False
    valid: Callable[[int], Tensor] | None = None

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the image indices [B] int64 and the patch centres [B, 2] float32 (row, column) of a step.

        A patch lies inside its image; an image smaller than the patch has it centred. One that would hold no pixel that
        counts is moved over one that does, any of them alike.
        """
        count = len(self.sizes) * self.repeat
        used = count // self.batch * self.batch if self.drop_last else count
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        first, last = positions[[0, -1]] // used
        epochs = [generator(self.seed, "epoch", int(epoch)).permutation(count) for epoch in range(first, last + 1)]
        drawn = np.concatenate([epoch[:used] for epoch in epochs])
        image_B = torch.from_numpy(drawn[positions - first * used] % len(self.sizes))
        sizes_B2 = self.sizes[image_B]
        share_B2 = torch.from_numpy(generator(self.seed, "place", step).random((self.batch, 2)))
        patch_2 = torch.tensor(self.patch)
        room_B2 = sizes_B2 - patch_2
        corner_B2 = torch.where(room_B2 >= 0, (share_B2 * (room_B2 + 1)).floor(), room_B2.div(2, rounding_mode="floor"))
        if self.valid is not None:
            share_B = generator(self.seed, "valid", step).random(self.batch)
            for place in range(self.batch):
                valid_HW = self.valid(int(image_B[place]))
                top, left = (max(int(corner), 0) for corner in corner_B2[place])
                if valid_HW[top : top + self.patch[0], left : left + self.patch[1]].any():
                    continue
                counting = valid_HW.nonzero()
                over_2 = counting[int(share_B[place] * len(counting))] - patch_2 // 2
                moved_2 = torch.minimum(over_2.clamp_min(0), room_B2[place].clamp_min(0))
                corner_B2[place] = torch.where(room_B2[place] >= 0, moved_2, corner_B2[place])
        return image_B, (corner_B2 + (patch_2 - 1) / 2).float()


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the random generator of one purpose and one step or epoch of a training."""
    return np.random.default_rng([seed, *purpose.encode(), number])
