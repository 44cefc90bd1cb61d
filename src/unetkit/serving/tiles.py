"""Images of any size as small PNG tiles for the eye, level by level, as Deep Zoom counts them.

Level 0 is one pixel, the last level the image itself; tiles have 256 pixels a side without overlap. The first tile of a
page makes the page's smaller levels, block by block, and keeps them as files; the image itself is read by windows, but
for formats that decode a page whole: of these the page is kept, too. Pages that nobody looks at make room for others.
Three channels are shown in colour, of any other number one in grey, between two values that are black and white.

Does not know what the image is for. Legend of shapes: C channels, H height, W width.
"""

import math
import os
import shutil
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from unetkit.images.image import ALL, Image
from unetkit.images.write import to_png
from unetkit.machine import available_cores
from unetkit.storage.atomic import not_written

TILE = 256
_ROWS, _COLUMNS = 1024, 4096
"""Of a block that is made smaller at once: multiples of 2 ** `_IN_BLOCKS`."""

_IN_BLOCKS = 10
_SMALL = 2**22
"""Pixels of a page that is kept as it is, so that no tile decodes anything."""

_LOOKED_AT = 2**20
_PERCENTILES = (0.2, 99.8)
KEPT_BYTES = 8 * 2**30
"""Of the levels of one image's pages on the disk."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of a page.

    Attributes:
        height: of the page in pixels.
        width: of the page in pixels.
    """

    height: int
    width: int

    @property
    def count(self) -> int:
        """The number of levels; the last one is the page."""
        return math.ceil(math.log2(max(self.height, self.width))) + 1

    def shrunk(self, level: int) -> int:
        """Return how often a level is halved."""
        return self.count - 1 - level

    def size(self, level: int) -> tuple[int, int]:
        """Return height and width of a level."""
        step = 2 ** self.shrunk(level)
        return -(-self.height // step), -(-self.width // step)

    def window(self, level: int, column: int, row: int) -> tuple[slice, slice]:
        """Return rows and columns of a tile in its level.

        Raises:
            HTTPException: 404, there is no such tile.
        """
        if level < self.count:
            height, width = self.size(level)
            top, left = row * TILE, column * TILE
            if top < height and left < width:
                return slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))
        raise HTTPException(404, f"there is no tile {column}_{row} in level {level}")


def halved(values: NDArray[Any]) -> NDArray[Any]:
    """Return the means [..., (H + 1) // 2, (W + 1) // 2] of every two by two pixels, in their type."""
    height, width = values.shape[-2:]
    if height % 2 or width % 2:
        edges = [(0, 0)] * (values.ndim - 2) + [(0, height % 2), (0, width % 2)]
        values = np.pad(values, edges, "edge")
    wide = {"u1": np.uint16, "u2": np.uint32, "f4": np.float32}[values.dtype.str[1:]]
    rows = np.add(values[..., ::2, :], values[..., 1::2, :], dtype=wide)
    total = rows[..., ::2] + rows[..., 1::2]
    return total / 4 if values.dtype.kind == "f" else ((total + 2) >> 2).astype(values.dtype)


def shrink(
    levels: Levels, top: int, left: int, block: NDArray[Any], put: Callable[[int, int, int, NDArray[Any]], None]
) -> None:
    """Put a block of the page, made smaller, to its place in the levels that it is whole in.

    Args:
        levels: of the page.
        top: of the block in the page, a multiple of 1024.
        left: of the block, likewise.
        block: [..., H, W], whose sides are multiples of 1024, but for those that end where the page does.
        put: takes level, top, left and values.
    """
    for times in range(1, min(_IN_BLOCKS, levels.count - 1) + 1):
        block = halved(block)
        put(levels.count - 1 - times, top >> times, left >> times, block)


def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Make a file of zeros that is used as an array; its room on the disk is taken at once.

    Without that, a disk that is full would end the process where a value is written.

    Raises:
        StorageError: the disk has no room for it.
    """
    try:
        made = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if sys.platform == "linux":  # elsewhere a full disk is told by the write itself
            with path.open("r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    except OSError as failure:
        raise not_written(path, failure) from failure
    return made


@dataclass(frozen=True, slots=True, eq=False)
class ImageTiles:
    """An image that is shown in tiles; its methods may be called by several threads.

    Attributes:
        image: whose pages are shown.
        folder: of its levels, made and removed as they are needed.
        building: is held while a page's levels are made, so that memory is that of a few blocks or one page.
    """

    image: Image
    folder: Path
    building: threading.Lock = field(default_factory=threading.Lock)
    _made: OrderedDict[tuple[int, tuple[int, ...]], Path] = field(
        default_factory=OrderedDict[tuple[int, tuple[int, ...]], Path]
    )

    @property
    def levels(self) -> Levels:
        """Of every page."""
        return Levels(self.image.height, self.image.width)

    def range(self, page: int = 0) -> tuple[float, float]:
        """Return the values of a page that are shown black and white: nearly its lowest and highest.

        Raises:
            DataError: it cannot be read.
        """
        low, high = (float(value) for value in np.percentile(self._made_of(page, None, "some"), _PERCENTILES))
        return (low, high) if high > low else (low, low + 1)

    def tile(
        self, page: int, level: int, column: int, row: int, *, low: float, high: float, channel: int | None = None
    ) -> bytes:
        """Return a tile as a PNG, from the value `low`, which is black, to `high`, which is white.

        A `channel` is shown in grey; None: three in colour, of any other number the first.

        Raises:
            HTTPException: 404, there is no such tile.
            DataError: the page cannot be read.
        """
        if page >= self.image.count:
            raise HTTPException(404, f"there is no page {page}; the image has {self.image.count}, from 0")
        channels, (rows, columns) = self._channels(channel), self.levels.window(level, column, row)
        last = level == self.levels.count - 1
        if last and not self._kept:
            values_CHW = self.image.page(page)[ALL, rows, columns][[*channels]]
        else:
            values_CHW = self._made_of(page, channel, str(level))[:, rows, columns]
        scale = 255 / (high - low) if high > low else 0.0
        shown = ((values_CHW.astype(np.float32) - low) * scale + 0.5).clip(0, 255).astype(np.uint8)
        return to_png(np.moveaxis(shown, 0, -1) if len(shown) == 3 else shown[0])

    def _channels(self, channel: int | None) -> tuple[int, ...]:
        if channel is not None and channel >= self.image.channels:
            raise HTTPException(404, f"there is no channel {channel}; the image has {self.image.channels}, from 0")
        every = tuple(range(3)) if self.image.channels == 3 else (0,)
        return every if channel is None else (channel,)

    @property
    def _kept(self) -> bool:
        """Whether the page itself is written too: it is small, or decoded as a whole for every window."""
        image = self.image
        page_bytes = math.prod(image.shape[-3:]) * image.dtype.itemsize
        decoded_whole = image.piece is not None and image.piece.bytes >= page_bytes
        return decoded_whole or image.height * image.width <= _SMALL

    def _made_of(self, page: int, channel: int | None, name: str) -> NDArray[Any]:
        """Return a level [C, H, W] of a page, or `some` of its pixels; the first call makes all of them."""
        with self.building:
            key = (page, channels := self._channels(channel))
            if key not in self._made:
                self._make_room()
                self._made[key] = self._build(page, channels)
            self._made.move_to_end(key)
            return np.load(self._made[key] / f"{name}.npy", mmap_mode="r")

    def _make_room(self) -> None:
        page_bytes = self.image.height * self.image.width * self.image.dtype.itemsize * 4
        while self._made and (len(self._made) + 1) * page_bytes > KEPT_BYTES:
            shutil.rmtree(self._made.popitem(last=False)[1], ignore_errors=True)

    def _build(self, page: int, channels: tuple[int, ...]) -> Path:
        """Write the levels of a page, the page itself if it is kept, and some of its pixels; return their folder."""
        levels, folder = self.levels, self.folder / f"{page}-{'-'.join(map(str, channels))}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels, (height, width) = self.image.page(page), (self.image.height, self.image.width)
        source = pixels[ALL, ALL, ALL][[*channels]] if self._kept else None
        if source is not None:
            new_array(folder / f"{levels.count - 1}.npy", source.dtype, source.shape)[:] = source
        first = pixels[ALL, slice(0, 1), slice(0, 1)] if source is None else source
        made = {
            level: new_array(folder / f"{level}.npy", first.dtype, (len(channels), *levels.size(level)))
            for level in range(levels.count - 1)
        }

        every = math.ceil(math.sqrt(height * width / _LOOKED_AT))
        some = new_array(folder / "some.npy", first.dtype, (len(channels), -(-height // every), -(-width // every)))

        def put(level: int, top: int, left: int, values_CHW: NDArray[Any]) -> None:
            made[level][:, top : top + values_CHW.shape[1], left : left + values_CHW.shape[2]] = values_CHW

        def make(corner: tuple[int, int]) -> None:
            top, left = corner
            rows, columns = slice(top, min(top + _ROWS, height)), slice(left, min(left + _COLUMNS, width))
            read = pixels[ALL, rows, columns][[*channels]] if source is None else source[:, rows, columns]
            shrink(levels, top, left, read, put)
            few = read[:, -top % every :: every, -left % every :: every]
            down, across = -(-top // every), -(-left // every)
            some[:, down : down + few.shape[1], across : across + few.shape[2]] = few

        with ThreadPoolExecutor(min(4, available_cores())) as threads:
            for _ in threads.map(make, product(range(0, height, _ROWS), range(0, width, _COLUMNS))):
                pass
        for level in range(levels.count - 2 - _IN_BLOCKS, -1, -1):
            made[level][:] = halved(made[level + 1])
        return folder


async def tile_answer(request: Request, tiles: ImageTiles, threads: CapacityLimiter) -> Response:
    """Answer `.../{page:int}/{level:int}/{column:int}_{row:int}.png?low=&high=&channel=`.

    Raises:
        HTTPException: 404, there is no such tile; 400, values that are no numbers.
        DataError: the page cannot be read.
        StorageError: the disk has no room for its levels.
    """
    place = {name: int(request.path_params[name]) for name in ("page", "level", "column", "row")}
    asked = request.query_params
    try:
        channel = int(asked["channel"]) if "channel" in asked else None
        given = [float(asked[name]) if name in asked else None for name in ("low", "high")]
    except ValueError:
        raise HTTPException(400, "low, high and channel are numbers; one of them is not") from None

    def made() -> bytes:
        low, high = given
        if low is None or high is None:
            lowest, highest = tiles.range()
            low, high = lowest if low is None else low, highest if high is None else high
        return tiles.tile(**place, low=low, high=high, channel=channel)

    if not all(value is None or math.isfinite(value) for value in given) or (channel or 0) < 0:
        raise HTTPException(400, "low, high and channel are numbers; one of them is not")
    content = await anyio.to_thread.run_sync(made, limiter=threads)
    return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})
