"""Images of arrays: anything with a shape and slices, from a mapped file to chunks that are decoded one by one.

`image_of_array` brings the axes of an array to those of an `Image` and reads no more than the window. `CachedArray`
stands before arrays that are stored in chunks: a window decodes only the chunks that it touches, and chunks that were
decoded last are kept, so that neighbouring windows do not decode them again. `MappedArray` is one that lies in a file
uncompressed.

Legend of shapes: C channels, H height, W width.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from threading import RLock
from typing import Any, Literal, Protocol
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.image import ALL, Image, Piece, PixelSize, require_bounded

CACHE_BYTES = 2**27
"""Bytes of decoded chunks that all open images keep together."""

_MOST_LAST, _MOST_SECOND = 8, 4
"""The longest axes without a name that are taken for channels."""


class ArrayLike(Protocol):
    """What numpy, h5py, zarr and nibabel have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """A length for each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """The type of the values."""
        ...

    def __getitem__(self, where: Any, /) -> Any:
        """The values at a whole number or a slice for each axis."""
        ...


@dataclass(frozen=True, slots=True)
class MappedArray:
    """An array that lies in a file as it is; the file is mapped while a window of it is read.

    So images hold no files open, of which a process may have a thousand, and a file does not stay in memory.

    Attributes:
        path: the file.
        dtype: of the values.
        offset: the byte at which they begin.
        shape: a length for each axis.
        columns_first: they lie in Fortran's order.
    """

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    columns_first: bool = False

    def __getitem__(self, where: tuple[int | slice, ...]) -> NDArray[Any]:
        """Return a window: a copy, or of a large one a view that holds the file."""
        order = "F" if self.columns_first else "C"
        found = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)[where]
        return np.array(found) if found.nbytes <= CACHE_BYTES else found


class CachedArray:
    """An array whose chunks are decoded when a window touches them, and kept in a bounded cache.

    Attributes:
        shape: of the array.
        dtype: of the array.
    """

    def __init__(self, source: str, array: ArrayLike, chunks: Sequence[int], *, values: int | None = 1) -> None:
        """Stand before an array.

        Args:
            source: the file, for messages.
            array: reads one chunk at a time; each slice that it is asked for is a chunk's, cut at the array's end.
            chunks: the lengths of a chunk.
            values: of a pixel; a chunk or a window may then have `limits.MOST_PIXELS` pixels, of up to four values
                each.
                None: what is stored is not compressed, and its size is bounded by the file's.

        Raises:
            DataError: a chunk that is larger than is decoded.
        """
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self._source, self._array, self._values = source, array, values
        self._chunks = tuple(min(chunk, max(1, size)) for chunk, size in zip(chunks, self.shape, strict=True))
        self._require_bounded(math.prod(self._chunks))
        self._own = next(_NUMBERS)
        finalize(self, _DECODED.forget, self._own)

    def piece(self, paged: Sequence[int]) -> Piece:
        """Return what is decoded at once; `paged` are the numbers of the axes that count pages."""
        return Piece(math.prod(self._chunks) * self.dtype.itemsize, math.prod(self._chunks[axis] for axis in paged))

    def __getitem__(self, where: tuple[int | slice, ...]) -> NDArray[Any]:
        """Return the values at a whole number or a slice for each axis."""
        spans = [
            (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]
            for part, size in zip(where, self.shape, strict=True)
        ]
        self._require_bounded(math.prod(high - low for low, high in spans))
        found = np.empty([high - low for low, high in spans], self.dtype)
        touched = (range(low // size, -(-high // size)) for (low, high), size in zip(spans, self._chunks, strict=True))
        for number in product(*touched):
            corner = [index * chunk for index, chunk in zip(number, self._chunks, strict=True)]
            values = self._chunk(number)
            into, out_of = list[slice](), list[slice]()
            for start, length, (low, high) in zip(corner, values.shape, spans, strict=True):
                begin, end = max(start, low), min(start + length, high)
                into.append(slice(begin - low, end - low))
                out_of.append(slice(begin - start, end - start))
            found[tuple(into)] = values[tuple(out_of)]
        return found[tuple(0 if isinstance(part, int) else ALL for part in where)]

    def _require_bounded(self, count: int) -> None:
        if self._values is not None:
            require_bounded(self._source, count // min(self._values, 4), count * self.dtype.itemsize)

    def _chunk(self, number: tuple[int, ...]) -> NDArray[Any]:
        found = _DECODED.get((self._own, number))
        if found is None:
            starts = [index * chunk for index, chunk in zip(number, self._chunks, strict=True)]
            ends = (min(at + chunk, size) for at, chunk, size in zip(starts, self._chunks, self.shape, strict=True))
            found = np.asarray(self._array[tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))])
            _DECODED.keep((self._own, number), found)
        return found


class _Decoded:
    """The chunks of all open images that were decoded last, up to `CACHE_BYTES` together, and the last one always."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = RLock()  # an image may be collected while a chunk is kept

    def get(self, key: tuple[int, tuple[int, ...]]) -> NDArray[Any] | None:
        """Return a chunk that is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: tuple[int, tuple[int, ...]], values: NDArray[Any]) -> None:
        """Keep a chunk, and let go of the oldest."""
        with self._lock:  # two threads may have decoded the same chunk: one of the two equal arrays stays
            self._bytes += values.nbytes - (self._kept[key].nbytes if key in self._kept else 0)
            self._kept[key] = values
            while self._bytes > CACHE_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def forget(self, own: int) -> None:
        """Let go of the chunks of an image that is gone."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == own]:
                self._bytes -= self._kept.pop(key).nbytes


_DECODED = _Decoded()
_NUMBERS = count()


def image_of_array(
    source: str,
    array: ArrayLike,
    axes: str,
    *,
    samples: int | None = None,
    pixel_size: dict[str, PixelSize] | None = None,
    named: bool = True,
    decoded: Literal["pages", "whole"] | None = None,
) -> Image:
    """Return the image of an array with named axes: y rows, x columns, c and s channels, all others count pages.

    Args:
        source: the file, for messages.
        array: is sliced by one page, its rows and its columns at a time.
        axes: a letter for each axis; s are the samples of a pixel, such as red, green and blue.
        samples: how many of the samples are no alpha; None: all.
        pixel_size: of the axes whose step is known.
        named: whether the axes that count pages were named by the file.
        decoded: whether windows decode whole pages, or everything; None: what they touch, or as a `CachedArray` says.

    Raises:
        DataError: no rows or columns, or an empty array.
    """
    shape = tuple(array.shape)
    if "y" not in axes or "x" not in axes or 0 in shape:
        raise DataError(f"{source}: has no pixels (axes {axes.upper()}, sizes {shape})")
    size = dict(zip(axes, shape, strict=True))
    paged = [axis for axis in axes if axis not in "csyx"]
    left = [axis for axis in axes if axis in "csyx"]
    order = [left.index(axis) for axis in "csyx" if axis in left]
    kept = size.get("s", 1) if samples is None else samples
    channels = size.get("c", 1) * kept

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        numbers = np.unravel_index(page, tuple(size[axis] for axis in paged)) if paged else ()
        where: dict[str, int | slice] = {"c": ALL, "s": slice(0, kept), "y": rows, "x": columns}
        where |= {axis: int(number) for axis, number in zip(paged, numbers, strict=True)}
        found = np.asarray(array[tuple(where[axis] for axis in axes)]).transpose(order)
        return found.reshape(channels, *found.shape[-2:])

    lengths = (*(size[axis] for axis in paged), channels, size["y"], size["x"])
    dtype = np.dtype(array.dtype)
    pages = math.prod(lengths[:-3])
    piece = array.piece([axes.index(axis) for axis in paged]) if isinstance(array, CachedArray) else None
    if decoded is not None:
        piece = Piece(math.prod(shape) * dtype.itemsize // (pages if decoded == "pages" else 1), pages)
    return Image(source, "".join([*paged, *"cyx"]), lengths, dtype, decode, pixel_size or {}, named, piece=piece)


def axes_by_size(shape: Sequence[int]) -> str:
    """Name the axes of an array that nothing is known of, by this rule.

    A last axis of at most 8, a quarter of the two before it or less, is channels: [..., H, W, C]. Otherwise the last
    two are rows and columns, and of four axes a second one of at most 4 is channels: [N, C, H, W]. What is left in
    front counts slices, or times and slices; five axes are [T, C, Z, H, W].

    Raises:
        ValueError: fewer than two axes, or more than five.
    """
    if not 2 <= len(shape) <= 5:
        raise ValueError(f"an array of {len(shape)} axes, {tuple(shape)}; an image has 2 to 5")
    if len(shape) > 2 and shape[-1] <= _MOST_LAST and 4 * shape[-1] <= min(shape[-3:-1]):
        return {3: "yxc", 4: "zyxc", 5: "tzyxc"}[len(shape)]
    if len(shape) == 4 and shape[1] <= _MOST_SECOND < min(shape[-2:]):
        return "zcyx"
    return {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}[len(shape)]
