"""A generated stack that looks like serial-section electron microscopy of nerve tissue, with its exact labels.

Cells are irregular regions that drift slowly from slice to slice; between them lie dark membranes, in them vesicles and
mitochondria, over all of it noise, blur and uneven light. The labels are white (255) inside cells and black (0) on
membranes, as in the ISBI-2012 stack. It shows that the program works and measures nothing about real tissue: every
membrane is drawn by one rule, and none is missing or cut at a slant.

Lengths are in pixels. Legend of shapes: N slices, H height, W width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.data.dataset import Account, Division, Files, ItemDataset, stacks_of
from unetkit.data.layouts.mask_files import ISBI_CLASSES, TEST_IMAGES, TRAIN_IMAGES, TRAIN_LABELS
from unetkit.data.masks import MaskMap
from unetkit.images.array import image_of_array
from unetkit.images.image import Image
from unetkit.storage.atomic import atomic_path, make_folder

Floats = NDArray[np.float32]

SLICES, SIZE = 30, 256
_COARSE = 2  # cells are laid out on a grid of every second pixel and enlarged: membranes are wider than that


@dataclass(frozen=True, slots=True)
class SampleStack:
    """A generated stack: images uint8 and labels uint8 (0 membrane, 255 interior), both [N, H, W]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def generate(*, seed: int = 0, slices: int = SLICES, size: int = SIZE) -> SampleStack:
    """Generate a stack of square slices; the same arguments give the same pixels.

    Args:
        seed: of all random numbers.
        slices: N, at least 1.
        size: H and W, at least 16.
    """
    rng = np.random.default_rng([seed, slices, size])
    tissue = _Tissue.grow(rng, slices, size)
    images = np.empty((slices, size, size), np.uint8)
    labels = np.empty_like(images)
    for number in range(slices):
        images[number], labels[number] = tissue.expose(rng, number)
    return SampleStack(images, labels)


def with_ambiguity(stack: SampleStack, *, seed: int = 0, count: int = 3) -> tuple[SampleStack, NDArray[np.bool_]]:
    """Return a stack with round regions in which nothing of the tissue can be seen, and where they are, [N, H, W].

    The labels there stay what they are: nobody can know them from the image.

    Args:
        stack: a generated stack.
        seed: of the places.
        count: regions in a slice.
    """
    from scipy.ndimage import gaussian_filter  # as above

    rng, side = np.random.default_rng([seed, count]), stack.images.shape[1]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    regions, images = np.zeros(stack.images.shape, bool), stack.images.astype(np.float32)
    for number, region in enumerate(regions):
        image = images[number]
        for row, column in rng.uniform(0, side, (count, 2)):
            region |= np.hypot(y - row, x - column) < rng.uniform(0.1, 0.16) * side
        clouds: Floats = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 3)
        haze = image.mean() + 4 * clouds + 6 * rng.standard_normal((side, side)).astype(np.float32)
        image[region] = haze[region]
    return SampleStack(images.round().clip(0, 255).astype(np.uint8), stack.labels), regions


def open_sample(
    mask_map: MaskMap | None = None, *, seed: int = 0, slices: int = SLICES, size: int = SIZE
) -> ItemDataset:
    """Open a generated stack as a data set of samples `sample[00]` ..., held in memory."""
    stack = generate(seed=seed, slices=slices, size=size)
    items = Files("sample", _pages(stack.images), (_pages(stack.labels),), is_stack=True).items()
    account = Account((("images", f"{slices} generated sections with their labels"),))
    division = Division(stacks=stacks_of(items))
    return ItemDataset(tuple(items), mask_map or MaskMap(ISBI_CLASSES), division, account=account)


def write_sample(folder: Path, *, seed: int = 0, slices: int = SLICES, size: int = SIZE) -> Path:
    """Write train-volume.tif, train-labels.tif and, from another seed, test-volume.tif; return the folder.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full.
    """
    make_folder(folder)
    train = generate(seed=seed, slices=slices, size=size)
    test = generate(seed=seed + 1, slices=slices, size=size)
    for name, pixels in ((TRAIN_IMAGES, train.images), (TRAIN_LABELS, train.labels), (TEST_IMAGES, test.images)):
        with atomic_path(folder / f"{name}.tif") as temporary:
            tifffile.imwrite(temporary, pixels, photometric="minisblack")
    return folder


def _pages(pixels: NDArray[np.uint8]) -> Image:
    pixels.flags.writeable = False  # every reader of a page sees this one array
    return image_of_array("sample", pixels, "zyx")


@dataclass(frozen=True, slots=True)
class _Tissue:
    """What goes through all slices: where cells, mitochondria and vesicles are, and fields that bend and stain them."""

    size: int
    cells: NDArray[np.float64]
    """[N, cells, 3]: row, column and the lifted radius that makes cells of different sizes."""
    mitochondria: NDArray[np.float64]
    """[objects, 8]: slice, cell, row and column from the cell's middle, half the thickness in slices, two half axes,
    angle."""
    vesicles: NDArray[np.float64]
    """[objects, 5]: slice, cell, row and column from the cell's middle, radius."""
    bend: Floats
    """[2, N, H/2, W/2]: displacement of rows and columns."""
    stain: Floats
    """[3, N, H/2, W/2]: thickness of membranes, uneven light, darkness of the cell fluid; about -1 to 1."""

    @classmethod
    def grow(cls, rng: np.random.Generator, slices: int, size: int) -> "_Tissue":
        """Draw what all slices have in common."""
        count = max(8, int((size + 120) ** 2 / 1400))
        start = rng.uniform(-60, size + 60, (count, 2))
        drift = np.stack([_wander(rng, slices, spacing=6.0, count=count) for _ in range(2)], axis=2) * 14
        lift = 60 * np.sqrt(rng.uniform(0, 1, count))
        lifts = lift + 4 * _wander(rng, slices, spacing=5.0, count=count)
        cells = np.concatenate([start + drift, lifts[..., None]], axis=2)
        shape = (slices, -(-size // _COARSE), -(-size // _COARSE))
        bend = [9 * _field(rng, shape, (5, 20, 20)) + 3 * _field(rng, shape, (2.5, 6, 6)) for _ in range(2)]
        stain = [_field(rng, shape, spacing) for spacing in ((3, 24, 24), (4, 90, 90), (3, 14, 14))]
        large = np.flatnonzero(lift <= np.median(lift))
        number = rng.poisson(max(1.0, (slices + 4) * size**2 / 90_000))
        mitochondria = np.stack(  # near the middle of large cells
            [
                rng.uniform(-2, slices + 2, number),
                rng.choice(large, number).astype(float),
                rng.normal(0, 5, number),
                rng.normal(0, 5, number),
                rng.uniform(2, 5, number),
                rng.uniform(14, 28, number),
                rng.uniform(8, 14, number),
                rng.uniform(0, np.pi, number),
            ],
            axis=1,
        )
        clusters = rng.poisson(max(1.0, slices * size**2 / 24_000))  # some of the large cells are full of vesicles
        owners = rng.choice(large, clusters)
        centre = np.stack([rng.uniform(0, slices, clusters), owners.astype(float)], axis=1)
        members = np.repeat(centre, rng.integers(3, 30, clusters), axis=0)
        number = len(members)
        members[:, 0] += rng.normal(0, 0.8, number)
        vesicles = np.concatenate([members, rng.normal(0, 16, (number, 2)), rng.uniform(2.8, 4.8, (number, 1))], axis=1)
        return cls(size, cells, mitochondria, vesicles, np.stack(bend), np.stack(stain))

    def expose(self, rng: np.random.Generator, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return one slice and its labels, both [H, W]."""
        from scipy.ndimage import gaussian_filter  # a third of a second to import, for a form of data that few runs use

        size = self.size
        thickness, light, fluid = (_enlarged(field[number], size) for field in self.stain)
        owner, wall = self.cells_at(number)
        half_width = 2.9 + 0.7 * thickness.clip(-1.6, 3)
        labels = np.where(wall > half_width, np.uint8(255), np.uint8(0))

        tone = np.random.default_rng(7).normal(0, 7, len(self.cells[number]) + 1).astype(np.float32)
        image = 164 + tone[owner] - 10 * fluid.clip(-2, 3)
        self.draw_mitochondria(image, number)
        self.draw_vesicles(image, number)
        membrane = np.exp(-((wall / (half_width * 0.68)) ** 2))
        image -= membrane * (image - 42 - 12 * thickness)
        image += gaussian_filter(rng.standard_normal((size, size)).astype(np.float32), 1.4) * 75
        image = gaussian_filter(image, 0.7 + 0.25 * rng.random())
        image += rng.standard_normal((size, size)).astype(np.float32) * 17
        image = (image - 125) * (1 + 0.1 * rng.standard_normal()) + 127 + 6 * rng.standard_normal() + 16 * light
        return image.round().clip(0, 255).astype(np.uint8), labels

    def cells_at(self, number: int) -> tuple[NDArray[np.intp], Floats]:
        """Return the cell that owns each pixel and the distance of each pixel to the nearest wall between cells.

        A cell's lifted radius adds to its distance, which makes a power diagram: straight walls, cells of different
        sizes.
        """
        from scipy.spatial import cKDTree  # as above

        grid = np.arange(self.bend.shape[2], dtype=np.float32) * _COARSE
        row, column = self.bend[0, number] + grid[:, None], self.bend[1, number] + grid
        places = np.stack([row, column, np.zeros_like(row)], axis=-1)
        cells = self.cells[number]
        distance, nearest = (np.asarray(found) for found in cKDTree(cells).query(places, k=2))
        apart = np.linalg.norm(cells[nearest[..., 0], :2] - cells[nearest[..., 1], :2], axis=-1)
        wall = (distance[..., 1] ** 2 - distance[..., 0] ** 2) / (2 * np.maximum(apart, 4))
        owner = nearest[..., 0].repeat(_COARSE, axis=0).repeat(_COARSE, axis=1)[: self.size, : self.size]
        return owner, _enlarged(wall.astype(np.float32), self.size)

    def draw_mitochondria(self, image: Floats, number: int) -> None:
        """Darken the mitochondria of a slice [H, W] in place."""
        for centre, cell, down, right, thickness, long, short, angle in self.mitochondria:
            height = 1 - ((number - centre) / thickness) ** 2
            if height <= 0:
                continue
            row, column = self.middle(number, int(cell))
            window, y, x = _window(image, row + down, column + right, long + 3)
            along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
            radius = np.hypot(along / long, across / short) / np.sqrt(height)
            with np.errstate(over="ignore"):  # far outside it is infinite, and its inverse 0
                inside = 1 / (1 + np.exp((radius - 1) * 14))
            folds = 10 * np.sin(along * 0.9 + 2 * np.sin(across * 0.3))
            rim = 26 * np.exp(-(((radius - 1) * 8) ** 2))
            window -= (52 + folds) * inside + rim

    def draw_vesicles(self, image: Floats, number: int) -> None:
        """Darken the rims of the vesicles of a slice [H, W] in place."""
        for centre, cell, down, right, radius in self.vesicles[np.abs(self.vesicles[:, 0] - number) < 0.75]:
            row, column = self.middle(number, int(cell))
            window, y, x = _window(image, row + down, column + right, radius + 4)
            seen = radius * np.sqrt(1 - (number - centre) ** 2)
            distance = np.hypot(y, x) - seen
            window -= 60 * np.exp(-((distance / 1.3) ** 2)) - 12 * (distance < -1)

    def middle(self, number: int, cell: int) -> tuple[float, float]:
        """Return where the bent grid shows the place of a cell: p with p + bend(p) = place, by a few repetitions."""
        place, bend = self.cells[number, cell, :2], self.bend[:, number]
        found, last = place, bend.shape[1] - 1
        for _ in range(6):
            row, column = (min(max(round(float(value)) // _COARSE, 0), last) for value in found)
            found = place - bend[:, row, column]
        return float(found[0]), float(found[1])


def _wander(rng: np.random.Generator, slices: int, *, spacing: float, count: int) -> NDArray[np.float64]:
    """Return smooth curves [N, count] of about unit deviation."""
    return _spline_weights(slices, spacing) @ rng.standard_normal((int(slices / spacing) + 4, count))


def _field(rng: np.random.Generator, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Floats:
    """Return a smooth random field of about unit deviation, with knots every `spacing` places."""
    knots = [int(length / step) + 4 for length, step in zip(shape, spacing, strict=True)]
    values = rng.standard_normal(knots).astype(np.float32)
    for axis, (length, step) in enumerate(zip(shape, spacing, strict=True)):
        values = np.moveaxis(np.tensordot(_spline_weights(length, step), values, (1, axis)), 0, axis)
    return values * np.float32(1.6)


def _spline_weights(length: int, spacing: float) -> Floats:
    """Return the cubic B-spline weights [length, knots] of evenly spaced knots."""
    place = np.arange(length) / spacing
    first, t = place.astype(int), place % 1
    weights = np.zeros((length, int(length / spacing) + 4), np.float32)
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for offset, part in enumerate(parts):
        weights[np.arange(length), first + offset] = part / 6
    return weights


def _enlarged(values: Floats, size: int) -> Floats:
    from scipy.ndimage import zoom  # as above

    return zoom(values, _COARSE, order=1, grid_mode=True, mode="nearest")[:size, :size]


def _window(image: Floats, row: float, column: float, reach: float) -> tuple[Floats, Floats, Floats]:
    """Return the part of an image round a place, and the rows and columns of its pixels from that place."""
    size, margin = len(image), int(np.ceil(reach))
    top, left = max(int(row) - margin, 0), max(int(column) - margin, 0)
    bottom, right = (min(max(int(place) + margin + 1, 0), size) for place in (row, column))
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(row))[:, None]
    x = (np.arange(left, right, dtype=np.float32) - np.float32(column))[None]
    return image[top:bottom, left:right], y, x
