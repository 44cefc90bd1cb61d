"""What a network says of an image, shown in tiles while it is being computed.

The probabilities of every page go into a file as large as they are, block by block or part by part as `unetkit predict`
computes them, and each block also into smaller levels of eight bits. Labels, probabilities and uncertainty are made of
them when a tile is asked for: a threshold moves without computing anything again. What is not computed yet is
transparent. Objects are found when a page is whole, as `unetkit predict --objects` finds them, where its pixels are few
enough for the memory that is free. The uncertainty that is shown is the entropy of the answer; that of `--uncertainty`
takes eight answers.

The files that clients get are byte for byte what `unetkit predict` writes for an image of the same name, by the same
functions. What a job computed for its layers is taken where the command would compute the very same: TIFFs of masks and
probabilities, and objects of pages that one block holds; anything else is computed again.

Legend of shapes: K classes, C channels, H height, W width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from starlette.exceptions import HTTPException

from unetkit.devices import cpu_threads, free_memory
from unetkit.errors import DataError
from unetkit.images.blocks import Blocks
from unetkit.images.image import Image
from unetkit.images.omewrite import SHARD
from unetkit.images.write import Form, to_png
from unetkit.models import decide
from unetkit.objects import object_classes
from unetkit.objects.find import colour_of, outermost
from unetkit.prediction.blocks import choose_tiles, plan_of, reason_against, with_memory
from unetkit.prediction.predict import objects_to_file, predict_to_file, scored_objects
from unetkit.prediction.predictor import Predictor
from unetkit.prediction.sources import open_fitting
from unetkit.progress import Progress
from unetkit.serving.served import Output, Served
from unetkit.serving.tiles import Levels, new_array, shrink

COLUMNS = ("number", "class", "page", "x", "y", "width", "height", "area", "score")
_MOST_ROWS = 100_000
_BYTES_OF_WHOLE = 128
"""Memory that work on whole pages takes for each pixel, roughly: objects, closed gaps, uncertainty."""


def require_whole(height: int, width: int, what: str) -> None:
    """Make sure that there is memory for work on whole pages.

    Raises:
        DataError: half of what is free is not enough.
    """
    needed, free = height * width * _BYTES_OF_WHOLE / 1e9, free_memory(torch.device("cpu")) / 2e9
    if needed > free:
        raise DataError(
            f"a page of {width} x {height} pixels: {what} takes about {needed:.1f} GB here, and {free:.1f} GB may be "
            "taken: cut the image into parts, or use the command unetkit predict"
        )


@dataclass(slots=True, eq=False)
class Layers:
    """The layers of an image; tiles may be asked for by several threads while one computes.

    Attributes:
        served: the network.
        pages: of the image.
        levels: of a page.
        folder: of the files.
        rows: of the table of objects.
        count: of objects; None: none were looked for yet.
        note: why there are no objects.
    """

    served: Served
    pages: int
    levels: Levels
    folder: Path
    rows: list[list[Any]] = field(default_factory=list[list[Any]])
    count: int | None = None
    note: str | None = None
    _whole: NDArray[np.float32] = field(init=False)
    _small: dict[int, NDArray[np.uint8]] = field(init=False)
    _known: NDArray[np.bool_] = field(init=False)
    _ids: dict[int, NDArray[np.int32]] = field(default_factory=dict[int, NDArray[np.int32]])

    def __post_init__(self) -> None:
        """Make the files.

        Raises:
            StorageError: the disk has no room for them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lead, levels = (self.pages, len(self.served.predictor.classes)), self.levels
        shape = (*lead, levels.height, levels.width)
        self._whole = new_array(self.folder / "probabilities.npy", np.dtype(np.float32), shape)
        self._small = {
            level: new_array(self.folder / f"{level}.npy", np.dtype(np.uint8), (*lead, *levels.size(level)))
            for level in range(levels.count - 1)
        }
        self._known = np.zeros((self.pages, -(-levels.height // SHARD), -(-levels.width // SHARD)), bool)

    @staticmethod
    def bytes_of(classes: int, image: Image) -> int:
        """Return the bytes that the files of an image take."""
        return math.ceil(image.count * image.height * image.width * classes * (4 + 0.34))

    @property
    def names(self) -> list[str]:
        """What may be asked for."""
        if self.served.predictor.card.outputs_labels:
            return ["labels"]
        probabilities = [f"probability:{name}" for name in self.served.predictor.classes]
        return ["labels", *probabilities, "uncertainty", *(["objects"] if self._ids else [])]

    def answers(self, page: int) -> NDArray[np.float32]:
        """Return the probabilities [K, H, W] of a page."""
        return self._whole[page]

    def put(self, page: int, rows: slice, columns: slice, p_KHW: NDArray[np.float32]) -> None:
        """Take probabilities of a part of a page; they are not shown yet."""
        self._whole[page, :, rows, columns] = p_KHW

    def show(self, page: int, rows: slice, columns: slice) -> None:
        """Make the smaller levels of a block, and show it."""

        def put(level: int, top: int, left: int, values: NDArray[Any]) -> None:
            self._small[level][page, :, top : top + values.shape[-2], left : left + values.shape[-1]] = values

        block = (self._whole[page, :, rows, columns] * 255 + 0.5).astype(np.uint8)
        shrink(self.levels, rows.start, columns.start, block, put)
        self._known[page, rows.start // SHARD, columns.start // SHARD] = True
        for level in range(self.levels.count - 12, -1, -1):  # smaller than a block: a few pixels
            big = self._small[level + 1][page]
            self._small[level][page] = big[:, ::2, ::2]

    def look_for_objects(self, page: int) -> None:
        """Find the objects of a page that is whole.

        Raises:
            ConfigError: its classes and the section `objects` do not go together.
        """
        predictor = self.served.predictor
        if predictor.card.outputs_labels or not object_classes(predictor.classes):
            return
        try:
            require_whole(self.levels.height, self.levels.width, "finding objects")
        except DataError as failure:
            self.note = str(failure)
            return
        p_KHW = np.array(self._whole[page])
        objects, scores = scored_objects(predictor, p_KHW)
        sizes = objects.sizes()
        for index, (rows, columns) in enumerate(ndimage.find_objects(objects.ids)[: _MOST_ROWS - len(self.rows)]):
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            name, score = predictor.classes[int(objects.classes[index])], round(float(scores[index]), 4)
            self.rows.append([index + 1, name, page, *box, int(sizes[index]), score])
        np.save(self.folder / f"objects-{page}.npy", objects.ids)
        np.save(self.folder / f"classes-{page}.npy", np.append(0, objects.classes))
        self._ids[page] = np.load(self.folder / f"objects-{page}.npy", mmap_mode="r")
        self.count = (self.count or 0) + len(objects)

    def tile(self, layer: str, page: int, level: int, column: int, row: int, *, threshold: float | None) -> bytes:
        """Return a tile of a layer, one of `names`, as a PNG with transparency.

        Labels are decided by `threshold`; None: as the network's card says.

        Raises:
            HTTPException: 404, there is no such layer, page or tile.
        """
        if page >= self.pages or layer not in (*self.names, "objects"):
            raise HTTPException(404, f"there is no layer {layer[:50]!r} of page {page}")
        rows, columns = self.levels.window(level, column, row)
        if layer == "objects":
            return to_png(self._outlines(page, level, rows, columns))
        times = self.levels.shrunk(level)
        down_H: NDArray[np.int64] = (np.arange(int(rows.start), int(rows.stop)) << times) // SHARD
        across_W: NDArray[np.int64] = (np.arange(int(columns.start), int(columns.stop)) << times) // SHARD
        known_HW = self._known[page][down_H[:, None], across_W]
        if not known_HW.any():  # most tiles of a large image that is being computed
            return to_png(np.zeros((*known_HW.shape, 4), np.uint8))
        if times == 0:
            p_KHW = np.array(self._whole[page, :, rows, columns])
        else:
            p_KHW = self._small[level][page, :, rows, columns].astype(np.float32) / 255
        shown = self._coloured(layer, torch.from_numpy(p_KHW), threshold)
        shown[~known_HW] = 0
        return to_png(shown)

    def _coloured(self, layer: str, p_KHW: torch.Tensor, threshold: float | None) -> NDArray[np.uint8]:
        """Return red, green, blue and opacity [H, W, 4]."""
        predictor = self.served.predictor
        if layer == "labels":
            chosen = predictor.config.thresholds(predictor.data_classes)
            if threshold is not None:
                chosen = (threshold,) * (len(predictor.data_classes) - 1)
            labels_HW = decide(predictor.of_data(p_KHW)[None], chosen)[0].numpy()
            colours = [(*colour_of(index), 255) for index in range(1, len(predictor.data_classes))]
            return np.array([(0, 0, 0, 0), *colours], np.uint8)[labels_HW]
        if layer == "uncertainty":
            colour, strength = (255, 0, 255), -(p_KHW * p_KHW.clamp(1e-12, 1).log()).sum(0) / math.log(len(p_KHW))
        else:
            index = predictor.classes.index(layer.partition(":")[2])
            colour, strength = colour_of(index) if index else (255, 255, 255), p_KHW[index]
        shown = np.empty((*strength.shape, 4), np.uint8)
        shown[..., :3] = colour
        shown[..., 3] = (strength.numpy() * 255 + 0.5).clip(0, 255)
        return shown

    def _outlines(self, page: int, level: int, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Return the outermost pixels of objects in the colours of their classes, [H, W, 4]."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        shown = np.zeros((height, width, 4), np.uint8)
        if page not in self._ids:
            return shown
        step = 2 ** self.levels.shrunk(level)
        top, left = max(0, rows.start - 1), max(0, columns.start - 1)
        ids = np.array(self._ids[page][top * step : (rows.stop + 1) * step : step, left * step :: step])
        ids = ids[:, : columns.stop + 1 - left]
        border = outermost(ids)[rows.start - top :, columns.start - left :][:height, :width]
        inside = ids[rows.start - top :, columns.start - left :][:height, :width]
        classes = np.load(self.folder / f"classes-{page}.npy")
        colours = np.array([(0, 0, 0), *(colour_of(index) for index in range(1, int(classes.max()) + 1))], np.uint8)
        shown[border, :3] = colours[classes[inside[border]]]
        shown[border, 3] = 255
        return shown


def in_blocks(predictor: Predictor, image: Image) -> bool:
    """Tell whether `unetkit predict` makes a TIFF of an image in blocks."""
    return max(image.height, image.width) > SHARD and reason_against(predictor) is None


def compute(layers: Layers, image: Image, progress: Progress) -> None:
    """Fill the layers of an image, with the same probabilities as `unetkit predict --probabilities` writes into a TIFF.

    Raises:
        DataError, UsageError: as `Predictor.probabilities`, or a page that is too large to be taken whole.
        Whatever `progress` raises: it is told of every part.
    """
    predictor = layers.served.predictor
    form = Form.like(image, np.float32, predictor.classes if len(predictor.classes) != 2 else (), 1.0)
    blocks = Blocks(form)
    of_page, total, done = blocks.down * blocks.across, len(blocks), 0
    squares = in_blocks(predictor, image) and not predictor.config.close_gaps  # these are closed when all is there
    if predictor.config.close_gaps or reason_against(predictor) is not None:
        require_whole(image.height, image.width, "the way it is predicted")

    def parts() -> Iterator[None]:
        for page in range(image.count):
            for part in predictor.parts(image.page(page)):
                layers.put(page, part.rows, part.columns, part.probabilities_KHW.cpu().numpy())
                progress.update(done, total, {})
            for number in range(page * of_page, (page + 1) * of_page):
                layers.show(page, blocks[number].rows, blocks[number].columns)
                yield

    def in_squares() -> Iterator[None]:
        tiles = choose_tiles(predictor, form, image, side=SHARD, memory=None, workers=1)
        planned = with_memory(predictor, tiles.memory)
        plan = plan_of(planned, form, tiles.step, side=SHARD)
        for block in blocks:
            crops = planned.crops(image.page(block.page), plan, block.rows, block.columns)
            for part in planned.window(crops, plan, block.rows, block.columns):
                layers.put(block.page, part.rows, part.columns, part.probabilities_KHW.cpu().numpy())
                progress.update(done, total, {})  # may end the work
            layers.show(block.page, block.rows, block.columns)
            yield

    with cpu_threads(None):
        progress.update(0, total, {})
        for _ in in_squares() if squares else parts():
            done += 1
            if done % of_page == 0:
                layers.look_for_objects(done // of_page - 1)
            progress.update(done, total, {})


def require_possible(served: Served, source: Path, output: Output, suffix: str) -> Image:
    """Open an image and refuse what the command would refuse, or this machine has no memory for.

    Raises:
        DataError: an image that the network does not take, or too large for what is asked.
    """
    image = open_fitting(served.predictor, source)
    if suffix == ".png" and image.count > 1:
        raise DataError(f"{source.name}: has {image.count} pages, which are too much for a PNG; choose .tif")
    served.predictor.require_usable(image.shape[-3:])
    if output in ("objects", "uncertainty"):
        require_whole(image.height, image.width, output)
    return image


def write_result(
    served: Served, source: Path, folder: Path, output: Output, suffix: str, layers: Layers | None, progress: Progress
) -> Path:
    """Write what a client asks a network for into a new folder, and return the file's path.

    `layers` are whole, and of the same network and image.

    Raises:
        DataError, UsageError, ConfigError, StorageError: as `unetkit predict`.
    """
    predictor, out = served.predictor, folder / f"{source.stem}{suffix}"
    image = require_possible(served, source, output, suffix)
    of_pages = output == "objects" or suffix != ".tif" or predictor.config.close_gaps
    answers = None if layers is None or (of_pages and in_blocks(predictor, image)) else layers.answers
    with cpu_threads(None):
        if output == "objects":
            objects_to_file(predictor, source, out, outlines=suffix == ".png", answers=answers, progress=progress)
            return out
        uncertain = served.uncertain if output == "uncertainty" else ()
        predict_to_file(
            predictor,
            source,
            out,
            probabilities=output == "probabilities",
            uncertain=uncertain,
            answers=answers,
            progress=progress,
        )
    return out
