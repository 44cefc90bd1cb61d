"""The block engine: a prediction cut into blocks that any process can compute, in any order, to the same bytes.

A `Job` says all that a block depends on, and can be sent to other processes. Plain functions of a job and a block's
number make it: `read_pixels` reads what its tiles see, `predict_block` takes that through the network with the job's
number of threads, and `write_block` writes the block, which owns whole chunks of the output. Where a process has
several cores, it computes as many blocks side by side, in lanes of one thread each. Where tiles can see all
that the network would see in the whole image, they end where blocks end, and nothing is computed for two blocks; where
they cannot (norms over the whole image, files of one size), blended tiles are computed again for every block that they
have a share in.

What is held in memory is counted before the start: the process as it is, the cache of the image, the buffers of one
block, and one call of the network. Tiles are chosen so that this stays below what is allowed.

Legend of shapes: K classes or channels of a page, H height, W width.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetkit.devices import cpu_threads, free_memory
from unetkit.errors import UsageError
from unetkit.images import is_zarr
from unetkit.images.array import CACHE_BYTES
from unetkit.images.blocks import Block, Blocks, Target, checksum, open_target
from unetkit.images.image import Image
from unetkit.images.write import Form
from unetkit.machine import keep_freed_memory, release_freed_memory, resident_memory
from unetkit.prediction.crops import Crop
from unetkit.prediction.load import LoadOptions, Model, load
from unetkit.prediction.predictor import Predictor
from unetkit.prediction.sources import Region, open_fitting, open_region
from unetkit.prediction.tiling import Plan, Span, align_up, grid_of, shifted, window
from unetkit.storage import is_remote
from unetkit.storage.atomic import atomic_path

Result = Literal["masks", "probabilities", "objects", "volumes"]
"""What values are; those of volumes are objects that go through the slices."""

OBJECTS: tuple[Result, ...] = ("objects", "volumes")


class Tiles(NamedTuple):
    """How blocks are cut into tiles.

    Attributes:
        step: rows and columns of a tile's own pixels; None: tiles are planned for the whole page.
        memory: gigabytes of one call of the network, where they are.
    """

    step: tuple[int, int] | None
    memory: float


@dataclass(frozen=True, slots=True)
class Job:
    """What is predicted and how; jobs of one name are equal.

    Attributes:
        name: the checksum of all that the bytes of the output depend on.
        model: what holds the network, as every worker loads it; a predictor for this process alone.
        device: where to compute.
        options: of the network and the prediction.
        source: the image.
        path: the output that is being filled.
        form: what it holds.
        tiff: whether it is a TIFF.
        result: what the values are.
        tiles: how blocks are cut into them.
        threads: of a call of the network.
        lanes: blocks that this process computes side by side; their bytes do not depend on it.
        region: the mask of where something may be found; None: everywhere.
    """

    name: str
    model: Model = field(compare=False)
    device: str = field(compare=False)
    options: LoadOptions = field(compare=False)
    source: Path = field(compare=False)
    path: Path = field(compare=False)
    form: Form = field(compare=False)
    tiff: bool = field(compare=False)
    result: Result = field(compare=False)
    tiles: Tiles = field(compare=False)
    threads: int = field(compare=False)
    lanes: int = field(compare=False)
    region: Path | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A job in a process that works at it."""

    predictor: Predictor
    image: Image
    target: Target
    blocks: Blocks
    plan: Plan
    region: Region | None
    shape: list[int] = field(default_factory=list[int])
    """Of the last window that the network was given."""

    def parts(self, block: Block, crops: list[Crop]) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows and columns of a block, and their probabilities [K, H, W]."""
        if self.shape != [*crops[0].pixels_CHW.shape]:  # tensors of other sizes do not fit into the holes of the last
            release_freed_memory()
            self.shape[:] = crops[0].pixels_CHW.shape
        for part in self.predictor.window(crops, self.plan, block.rows, block.columns):
            p_KHW = part.probabilities_KHW
            if self.region is not None:
                p_KHW = self.region.within(p_KHW, block.page, part.rows, part.columns)
            yield shifted(part.rows, block.rows.start), shifted(part.columns, block.columns.start), p_KHW


@lru_cache(maxsize=1)  # a worker loads the network once
def opened(job: Job) -> Opened:
    """Load the network and open the image of a job.

    Raises:
        UnetkitError: as `load` and `open_image`.
    """
    predictor = job.model
    if not isinstance(predictor, Predictor):
        predictor = load(predictor, device=job.device, options=job.options).folded()
    predictor = with_gaps(with_memory(predictor, job.tiles.memory))
    keep_freed_memory()
    target = open_target(job.path, job.form, tiff=job.tiff)
    blocks = Blocks(job.form)
    plan = plan_of(predictor, job.form, job.tiles.step, side=blocks.side)
    image = open_fitting(predictor, job.source)
    return Opened(predictor, image, target, blocks, plan, open_region(job.region, image))


def read_block(job: Job, number: int) -> str:
    """Return the checksum of the values of a block that was written.

    Raises:
        ValueError, OSError: they cannot be read.
    """
    work = opened(job)
    block = work.blocks[number]
    return checksum(work.target.get(block.page, block.rows, block.columns))


def read_pixels(job: Job, number: int) -> list[Crop]:
    """Read what the network is to be given for a block.

    Raises:
        DataError: pixels that cannot be read.
    """
    work = opened(job)
    block = work.blocks[number]
    return work.predictor.crops(work.image.page(block.page), work.plan, block.rows, block.columns)


def probabilities_of(job: Job, number: int, crops: list[Crop]) -> Tensor:
    """Return the probabilities [K, H, W] of a block."""
    work = opened(job)
    block = work.blocks[number]
    height, width = (part.stop - part.start for part in (block.rows, block.columns))
    whole_KHW = torch.empty(len(work.predictor.classes), height, width)
    with cpu_threads(job.threads):
        for rows, columns, p_KHW in work.parts(block, crops):
            whole_KHW[:, rows, columns] = p_KHW
    return whole_KHW


def predict_block(job: Job, number: int, crops: list[Crop]) -> NDArray[Any]:
    """Return the values [K, H, W] of a block."""
    work = opened(job)
    block = work.blocks[number]
    height, width = (part.stop - part.start for part in (block.rows, block.columns))
    values_KHW = np.empty((job.form.planes, height, width), job.form.dtype)
    with cpu_threads(job.threads):
        for rows, columns, p_KHW in work.parts(block, crops):
            values = values_of(work.predictor, p_KHW, job.form, probabilities=job.result == "probabilities")
            values_KHW[:, rows, columns] = values
    return values_KHW


def write_block(job: Job, number: int, values_KHW: NDArray[Any]) -> str:
    """Write the values of a block; return their checksum.

    Raises:
        StorageError: the disk did not take it.
    """
    work = opened(job)
    work.target.put(work.blocks[number], values_KHW)
    return checksum(values_KHW)


def values_of(predictor: Predictor, p_KHW: Tensor, form: Form, *, probabilities: bool) -> NDArray[Any]:
    """Return what files hold [K, H, W] of probabilities of all classes: of two that of the second, else all, or masks.

    In a mask of two classes the second is 255, or 1 where the form says what labels mean.
    """
    if probabilities:
        return (p_KHW[1:] if len(predictor.classes) == 2 else p_KHW).cpu().numpy()
    labels_HW = predictor.decided(p_KHW)
    white = np.uint8(1 if form.labels else 255)
    return (labels_HW * white if len(predictor.data_classes) == 2 else labels_HW)[None]


def open_form(form: Form, channels: tuple[str, ...]) -> Form:
    """Return the form of what is kept of an image while its prediction is unfinished: float32 numbers, no labels."""
    return replace(form, dtype=np.float32, channels=channels, labels=(), card=None, version="0.5")


def keep(path: Path, *arrays: NDArray[Any]) -> None:
    """Keep arrays of an unfinished prediction in a file, one after the other.

    Raises:
        StorageError: the disk did not take it.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        for values in arrays:
            np.save(handle, values)


@lru_cache(maxsize=2)
def kept_pair(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the two arrays that were kept in a file; this process holds them until its cache is cleared."""
    with path.open("rb") as handle:
        return np.load(handle), np.load(handle)


def with_memory(predictor: Predictor, gigabytes: float) -> Predictor:
    """Return the predictor whose calls of the network take no more than this."""
    return predictor.with_card(predict=predictor.config.model_copy(update={"memory": gigabytes}))


def with_gaps(predictor: Predictor) -> Predictor:
    """Return the predictor that leaves gaps open: they are closed by blocks when all of these are predicted."""
    return predictor.with_card(predict=predictor.config.model_copy(update={"close_gaps": False}))


def reason_against(predictor: Predictor) -> str | None:
    """Say what keeps a prediction from being cut into blocks; None: nothing."""
    if predictor.config.size is not None:
        return "predict.size resizes whole images"
    return None if predictor.prepare is None else "its own pre-processing takes whole images"


def plan_of(predictor: Predictor, form: Form, step: tuple[int, int] | None, *, side: int) -> Plan:
    """Return the tiles of a page: those of the whole page, or with `step` tiles that end where blocks of `side` do."""
    if step is None:
        return predictor.plan(form.height, form.width, lanes=1)
    rows, columns = (
        tuple(
            Span(low, min(low + step, block + side, length))
            for block in range(0, length, side)
            for low in range(block, min(block + side, length), step)
        )
        for length, step in zip((form.height, form.width), step, strict=True)
    )
    return Plan(rows, columns, grid_of(predictor.geometry, predictor.config))


def _steps(predictor: Predictor, form: Form, side: int) -> Iterator[tuple[int, int] | None]:
    """Yield the ways to cut blocks into tiles, that which computes the fewest pixels first."""
    fits, grid = max(form.height, form.width) <= side, grid_of(predictor.geometry, predictor.config)
    multiple, tile = grid.geometry.multiple, predictor.config.tile
    if predictor.exactness() is not None or grid.geometry.fixed is not None or (fits and tile is not None):
        yield None
        return
    if tile is not None:
        own = min(side, grid.answered_side(tile) - 2 * grid.context)
        yield own, own
        return
    sizes = sorted({align_up(-(-side // count), multiple) for count in range(1, 17)})

    def computed(step: tuple[int, int]) -> int:
        height, width = (-(-side // one) * grid.window_side(one + 2 * grid.context) for one in step)
        return height * width

    if fits:
        yield None
    yield from sorted(product(sizes, sizes), key=lambda step: (computed(step), step[0] - step[1]))


_STARTING = 150e6
"""Bytes that a process takes in the first blocks, whatever their size: code, buffers of libraries, threads."""

_DASK = 120e6
"""Bytes that being a worker of dask takes."""

_LANE = 60e6
"""Bytes that a thread which computes beside others holds in a heap of its own, beyond what is counted."""

_DECODING = 3
"""What is decoded at once is held so often: as it is stored, as it is unpacked, and in its place."""

_AHEAD = 2
"""Besides those at work, what the network is given is held of so many blocks: of the next, and of one being read."""

_OF_OBJECTS = 80
"""Bytes of a pixel of a block while its parts are found: their numbers and classes, places and sums."""

_OF_SPLITTING = 200
"""Bytes of a pixel of a window while objects are split: distances, peaks, the queue of the watershed."""

OF_CONTOUR = 550
"""Bytes of a contour while the regions of a page are joined."""

OF_PART = 700
"""Bytes of a part of an object while those of all blocks are joined."""

_OF_CLOSING = 40
"""Bytes of a contour while the gaps of a block are closed: what it separates, its key and its strength."""

_CONTOURS = 0.0345
"""Contours in a pixel of noise; what is smooth has fewer. Noise that is smoothed by 2 pixels has 1 / (16 pi sqrt(3))
minima a pixel (Bond and Efstathiou 1987), and on a plane as many regions have up to three times as many borders."""


def allowed_memory(device: torch.device, memory: float | None, workers: int) -> float:
    """Return the bytes that a process may hold; the memory of other devices than the CPU is not bounded.

    Without `memory`, gigabytes for each process, it is half of what is free, for all workers together.
    """
    if memory is not None:
        return memory * 1e9
    return free_memory(device) / 2 / workers if device.type == "cpu" else float("inf")


def require_room(count: int, each: float, what: str, allowed: float) -> None:
    """Make sure that this process may hold `count` things of `each` bytes; `what` they are, for people.

    Raises:
        UsageError: it would hold more.
    """
    release_freed_memory()  # of the network
    needed = resident_memory() + each * count
    if needed > allowed:
        raise UsageError(
            f"{count} {what} take {needed / 1e9:.2f} GB to be joined, of {allowed / 1e9:.2f} GB that are allowed; give "
            f"--memory {needed / 1e9 + 0.05:.1f}GB --resume"
        )


def choose_tiles(
    predictor: Predictor,
    form: Form,
    image: Image,
    *,
    side: int,
    memory: float | None,
    workers: int,
    lanes: int = 1,
    objects: bool = False,
    halo: int = 0,
    closing: bool = False,
    chosen: Tiles | None = None,
) -> Tiles:
    """Choose tiles so that a process that predicts blocks stays below `memory`, its whole resident set.

    Args:
        predictor: loaded in this process, which is measured.
        form: of the output.
        image: that is read.
        side: of a block in pixels.
        memory: gigabytes that each process may take; None: half of what is free, for all of them together.
        workers: how many processes.
        lanes: blocks that each computes side by side; of several, tiles are at least half as long as a block.
        objects: whether objects are made of the probabilities.
        halo: pixels around a block that they are split by, after all blocks were predicted.
        closing: whether gaps are closed, which takes what the contours of a page take.
        chosen: these tiles and no others.

    Raises:
        UsageError: the smallest tiles need more.
    """
    allowed = allowed_memory(predictor.device, memory, workers)
    per_pixel = predictor.bytes_per_pixel * predictor.config.batch * lanes if predictor.device.type == "cpu" else 0.0
    area = min(side, form.height) * min(side, form.width)
    # Values are held while they are made, packed and written, and the index of a class as torch finds it.
    block = area * (8 + 4 * form.planes * np.dtype(form.dtype).itemsize + (_OF_OBJECTS if objects else 0)) * lanes
    start = resident_memory() + _STARTING + (_DASK if workers > 1 else 0) + _reading(image) + block
    start += _LANE * lanes if lanes > 1 else 0
    stored = image.dtype.itemsize if image.dtype.kind == "u" and image.dtype.itemsize <= 2 else 4
    seen = stored * image.channels * (8 if predictor.config.tta else 1) * (lanes + _AHEAD)
    window = math.prod(min(side + 2 * halo, length) for length in (form.height, form.width)) if halo else 0
    splitting = resident_memory() + _STARTING + (_DASK if workers > 1 else 0)
    joining = splitting + (OF_CONTOUR * _CONTOURS * form.height * form.width if closing else 0)
    splitting += window * (_OF_SPLITTING + (1 + _AHEAD) * 4 * form.planes)
    splitting += _OF_CLOSING * _CONTOURS * form.height * form.width if closing else 0
    afterwards = max(splitting, joining)
    least = float("inf")
    for step in _steps(predictor, form, side) if chosen is None else (chosen.step,):
        if lanes > 1 and step is not None and min(step) < side / 2:
            continue
        call = chosen.memory * 1e9 * lanes if chosen else min(predictor.config.memory * 1e9, max(allowed - start, 1e6))
        plan = plan_of(predictor if step else with_memory(predictor, call / lanes / 1e9), form, step, side=side)
        whole = 4 * len(predictor.classes) * area * lanes if objects or plan.note else 0
        largest, given = _pixels(plan, form, side)
        fixed, needed = start + whole + seen * given, per_pixel * largest
        least = min(least, max(fixed + needed, afterwards))
        if max(fixed + needed, afterwards) <= allowed and (
            needed <= call or chosen or step is None or predictor.config.tile
        ):
            return Tiles(step, call / lanes / 1e9)
    smallest = f"{least / 1e9 + 0.005:.2f} GB"
    if memory is None:
        raise UsageError(
            f"half of the memory that is free is {allowed / 1e9:.2f} GB for each of {workers} processes, but one needs "
            f"{smallest}; give fewer workers, or --memory {smallest.replace(' ', '')}"
        )
    if least > afterwards:
        what = f"the smallest tiles of this network need {smallest} in a process, of which {start / 1e9:.2f} GB are "
        what += "there before the network computes"
    else:
        what = f"after the network, {'closing gaps' if joining > splitting else 'finding objects'} in a page of "
        what += f"{form.width} x {form.height} pixels takes up to {smallest} in a process"
    raise UsageError(f"--memory {memory:g}GB: {what}; give --memory {smallest.replace(' ', '')}")


def _reading(image: Image) -> float:
    """Return the bytes that reading takes: of what is decoded at once, and of the cache."""
    if image.piece is None:
        return 0.0
    everything = math.prod(image.shape) * image.dtype.itemsize
    return _DECODING * image.piece.bytes + min(CACHE_BYTES, everything)


def _pixels(plan: Plan, form: Form, side: int) -> tuple[int, int]:
    """Return the pixels of the largest window of a plan, and of all windows that a block needs."""
    longest, needed = list[int](), list[int]()
    for axis, length in ((plan.rows, form.height), (plan.columns, form.width)):
        spans = {
            span: one.stop - one.start
            for span in set(axis)
            for one in [window(span.low, span.high, length=length, grid=plan.grid)]
        }
        longest.append(max(spans.values()))
        blocks = range(0, min(length, 3 * side), side)  # those in the middle are like the second
        needed.append(
            max(
                sum(size for span, size in spans.items() if span.begin < low + side and low < span.end)
                for low in blocks
            )
        )
    return math.prod(longest), math.prod(needed)


def network_checksum(predictor: Predictor, model: Model | None) -> str:
    """Return the SHA-256 of a network: of its card, and of its weights or the file that it was exported to.

    Of a function, which is in no file (`model` is None), it is that of the card.
    """
    digest = hashlib.sha256(predictor.card.model_dump_json(exclude={"predict", "objects"}).encode())
    if isinstance(predictor.network, nn.Module):
        for name, value in sorted(predictor.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(model, str | Path) and not is_remote(model):
        files = (
            [Path(model)] if Path(model).is_file() else sorted(one for one in Path(model).rglob("*") if one.is_file())
        )
        for file in files:
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def input_checksum(image: Image, source: Path) -> str:
    """Return the SHA-256 of what tells whether an image is still the same, without reading all of it.

    That is its axes, sizes, type and pixel size; of a file its length, its time of change and its first bytes; of a
    zarr on the disk its metadata.
    """
    known = [image.axes, image.shape, str(image.dtype), sorted(image.pixel_size.items())]
    digest = hashlib.sha256(repr(known).encode())
    if is_remote(source):
        return digest.hexdigest()
    if is_zarr(source):
        names = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
        for file in (place / name for place in (source, source / "0") for name in names):
            digest.update(file.read_bytes() if file.is_file() else b"-")
        return digest.hexdigest()
    file = next(place for place in (source, *source.parents, Path(str(source).rpartition(":")[0])) if place.is_file())
    digest.update(repr((file.stat().st_size, file.stat().st_mtime_ns)).encode())
    with file.open("rb") as handle:
        digest.update(handle.read(1 << 16))
    return digest.hexdigest()
