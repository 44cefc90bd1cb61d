"""Objects by blocks: connected regions of images and volumes of any size, numbered as one.

Every block is predicted, and the connected regions in it become its parts, with what is summed up over them. Then every
block looks at its borders with the next column, row and, where objects go through depth, slice: parts of one class that
touch are one object. The union gives every part the number of its object; objects that are too small or too uncertain
have none. At last every block writes those numbers. Regions are connected along edges, in depth along faces: the result
is that of labelling the whole at once. Where regions are cut at narrow places it would depend on the whole of them, so
that they are not cut here, nor are holes filled.

Legend of shapes: K classes, H height, W width, N parts, M objects.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from unetkit.config import ObjectsConfig
from unetkit.devices import cpu_threads
from unetkit.images.blocks import Block, Blocks, checksum, open_target
from unetkit.objects import object_classes
from unetkit.objects.find import regions
from unetkit.objects.merge import joined, touching
from unetkit.prediction.blocks import Job, opened
from unetkit.prediction.crops import Crop
from unetkit.storage.atomic import atomic_path

PARTS, NUMBERS = "parts", "numbers.npy"
"""In the folder of an unfinished prediction: the parts of every block, and the object of every part."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is known of parts or objects, each [N].

    Attributes:
        kinds: indices of their classes.
        sizes: in pixels.
        certain: sums of the probability that a pixel is not background.
        pages: sums of the numbers of pages.
        rows: sums of the rows.
        columns: sums of the columns.
        low: [N, 3] first page, row, column.
        high: [N, 3] last page, row, column.
    """

    kinds: NDArray[np.int64]
    sizes: NDArray[np.float64]
    certain: NDArray[np.float64]
    pages: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.kinds)


def parts_of(p_KHW: Tensor, classes: Sequence[str], config: ObjectsConfig, block: Block) -> tuple[NDArray[Any], Parts]:
    """Return the parts [H, W] int32 of a block, numbered from 1 in the order of classes, and what is known of them."""
    probabilities = p_KHW.cpu().numpy()
    foreground, sought = 1 - probabilities[0], object_classes(classes)
    mask = foreground > config.threshold
    kinds_HW = np.array(sought)[probabilities[sought].argmax(0)]
    ids, kinds = np.zeros(mask.shape, np.int32), list[int]()
    for kind in sought:
        own = mask & (kinds_HW == kind)
        found = regions(own)
        ids[own] = found[own] + len(kinds)
        kinds += [kind] * int(found.max(initial=0))
    return ids, summed_up(ids, np.array(kinds, np.int64), block, foreground)


def summed_up(ids: NDArray[Any], kinds: NDArray[np.int64], block: Block, foreground: NDArray[Any] | None) -> Parts:
    """Return what is known of parts [H, W] of a block, numbered from 1; without probabilities they are certain."""
    flat, corner = ids.ravel(), np.array([block.page, block.rows.start, block.columns.start])
    rows, columns = (index.ravel() + start for index, start in zip(np.indices(ids.shape), corner[1:], strict=True))

    def summed(values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        return np.bincount(flat, values, len(kinds) + 1)[1:].astype(np.float64)

    sizes, boxes = summed(), ndimage.find_objects(ids)
    low = [[0, *(part.start for part in box)] for box in boxes]
    high = [[0, *(part.stop - 1 for part in box)] for box in boxes]
    box = [np.array(ends, np.int64).reshape(-1, 3) + corner for ends in (low, high)]
    certain = sizes if foreground is None else summed(foreground.ravel())
    return Parts(kinds, sizes, certain, sizes * block.page, summed(rows), summed(columns), *box)


def label_block(job: Job, number: int, crops: list[Crop]) -> tuple[NDArray[Any], Parts]:
    """Predict a block and return its parts [H, W], and what is known of them."""
    work = opened(job)
    block, predictor = work.blocks[number], work.predictor
    height, width = (part.stop - part.start for part in (block.rows, block.columns))
    whole_KHW = torch.empty(len(predictor.classes), height, width)
    with cpu_threads(job.threads):
        for rows, columns, p_KHW in work.parts(block, crops):
            whole_KHW[:, rows, columns] = p_KHW
    return parts_of(whole_KHW, predictor.classes, predictor.object_config, block)


def write_parts(job: Job, number: int, found: tuple[NDArray[Any], Parts]) -> str:
    """Write the parts of a block, and next to them what is known of them; return the parts' checksum.

    Raises:
        StorageError: the disk did not take it.
    """
    work, (ids, parts) = opened(job), found
    with atomic_path(_known(job, number)) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **{one.name: getattr(parts, one.name) for one in fields(parts)})
    work.target.put(work.blocks[number], ids[None])
    return checksum(ids)


def known_folder(job: Job) -> Path:
    """Return where it is kept what is known of the parts of every block."""
    return job.path.with_name("known")


def _known(job: Job, number: int) -> Path:
    return known_folder(job) / f"{number}.npz"


def _read(job: Job, number: int) -> Parts:
    with np.load(_known(job, number)) as file:
        return Parts(**{one.name: file[one.name] for one in fields(Parts)})


@dataclass(frozen=True, slots=True)
class Labels:
    """How the parts of a job become objects; can be sent to other processes.

    Attributes:
        job: it wrote the parts.
        through_depth: whether objects go on in the next slice.
    """

    job: Job
    through_depth: bool

    def neighbours(self, number: int) -> Iterator[tuple[int, Block, Block]]:
        """Yield the blocks after a block, with the windows of both that lie opposite each other."""
        blocks, form = Blocks(self.job.form), self.job.form
        block = blocks[number]
        page, rows, columns = block.page, block.rows, block.columns
        if columns.stop < form.width:
            last, first = (slice(start, start + 1) for start in (columns.stop - 1, columns.stop))
            yield number + 1, Block(page, rows, last), Block(page, rows, first)
        if rows.stop < form.height:
            last, first = (slice(start, start + 1) for start in (rows.stop - 1, rows.stop))
            yield number + blocks.across, Block(page, last, columns), Block(page, first, columns)
        deep = dict(form.page_axes).get("z", 1)
        if self.through_depth and page % deep + 1 < deep:
            yield number + blocks.across * blocks.down, block, Block(page + 1, rows, columns)

    def touching(self, number: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Return the parts of a block that touch parts of the blocks after it: those blocks, and pairs [P, 2]."""
        target = open_target(self.job.path, self.job.form, tiff=False)

        def ids(block: Block) -> NDArray[Any]:
            return target.get(block.page, block.rows, block.columns)

        return [(other, touching(ids(here), ids(there))) for other, here, there in self.neighbours(number)]

    def relabel(self, number: int) -> str:
        """Write the numbers of the objects of a block; return their checksum."""
        parts, form = open_target(self.job.path, self.job.form, tiff=False), self.job.form
        block = Blocks(form)[number]
        offsets, numbers = _numbers(self.job.path.with_name(NUMBERS))
        ids = parts.get(block.page, block.rows, block.columns)
        own = np.append(0, numbers[offsets[number] + 1 : offsets[number + 1] + 1]).astype(form.dtype)
        open_target(self.job.path.with_name("output"), form, tiff=False).put(block, own[ids])
        return checksum(own[ids])

    def merge(self, pairs: Iterable[tuple[int, list[tuple[int, NDArray[np.int64]]]]], config: ObjectsConfig) -> Parts:
        """Make objects of the parts of all blocks, keep the number of every part in a file, and return the objects.

        Args:
            pairs: blocks, and what `touching` said of each.
            config: objects that are smaller or less certain than it says are dropped.

        Raises:
            StorageError: the disk did not take it.
        """
        each = [_read(self.job, number) for number in range(len(Blocks(self.job.form)))]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in each])])
        parts = Parts(*(np.concatenate([getattr(one, name.name) for one in each]) for name in fields(Parts)))
        found = list[NDArray[np.int64]]()
        for number, borders in sorted(pairs, key=lambda pair: pair[0]):
            for other, pair in borders:
                whole = pair + [offsets[number], offsets[other]]
                found.append(whole[parts.kinds[whole[:, 0] - 1] == parts.kinds[whole[:, 1] - 1]])
        objects = joined(len(parts), found)
        merged = _merged(parts, objects[1:] - 1, int(objects.max(initial=0)))
        kept = (merged.sizes >= config.min_size) & (merged.certain >= config.min_confidence * merged.sizes)
        numbers = np.append(0, np.where(kept, np.cumsum(kept), 0))[objects]
        with atomic_path(self.job.path.with_name(NUMBERS)) as temporary, temporary.open("wb") as handle:
            np.save(handle, offsets)
            np.save(handle, numbers)
        return Parts(*(getattr(merged, name.name)[kept] for name in fields(Parts)))


@lru_cache(maxsize=1)
def _numbers(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the parts of each block begin, and the object of every part."""
    with path.open("rb") as handle:
        return np.load(handle), np.load(handle)


def forget() -> None:
    """Let go of what this process keeps of a job."""
    _numbers.cache_clear()


def _merged(parts: Parts, objects: NDArray[np.int64], count: int) -> Parts:
    """Return what is known of objects from their parts; `objects` [N] is the object of each part, from 0."""

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(objects, values, count).astype(np.float64)

    kinds = np.zeros(count, np.int64)
    kinds[objects] = parts.kinds  # one for all parts of an object
    low, high = np.full((count, 3), np.iinfo(np.int64).max), np.zeros((count, 3), np.int64)
    np.minimum.at(low, objects, parts.low)
    np.maximum.at(high, objects, parts.high)
    return Parts(
        kinds,
        summed(parts.sizes),
        summed(parts.certain),
        summed(parts.pages),
        summed(parts.rows),
        summed(parts.columns),
        low,
        high,
    )


def table_of(out: Path) -> Path:
    """Return where the table of the objects of an output is written: `cells.csv` beside `cells.ome.zarr`."""
    name = out.name.removesuffix(".zarr").removesuffix(".ome")
    folder = out.parents[2] if out.parent.name == "labels" else out.parent
    return folder / f"{name}.csv"
