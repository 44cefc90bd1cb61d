"""The noun of this folder: an image that lies somewhere, with its axes, and a way to any window of its pixels.

Every file, of whatever format, is brought to pages of [C, H, W]: axes that are neither rows, columns nor channels, such
as time and depth, count pages. Nothing is decoded before `read`, and nothing that a header promises is believed without
the bounds of `unetkit.limits`. Uncompressed pages are bounded by the file itself.

Legend of shapes: C channels, H height, W width.
"""

import logging
import math
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.display import thumbnail
from unetkit.errors import DataError, UnetkitError
from unetkit.limits import MOST_BYTES, MOST_PIXELS

Role = Literal["image", "mask", "colour-mask"]
"""What a file is read as: the colours of a palette belong to an image and to a mask that is described by colours; in
other masks a palette's numbers are the values, unless the palette is a ramp of greys."""

ALL = slice(None)
_SHOWN = 512  # rows and columns in a notebook


@dataclass(frozen=True, slots=True)
class File:
    """Where the bytes of an image are.

    Attributes:
        source: names it in messages.
        open: gives the content from its start, each time anew.
        path: of a file on the disk; None for one in memory.
        inside: the name of an array in the file, such as "volumes/raw"; "" where none is named.
        companions: other files of its own folder that it takes pages from are opened, too.
    """

    source: str
    open: Callable[[], BinaryIO]
    path: Path | None = None
    inside: str = ""
    companions: bool = False


Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""


class PixelSize(NamedTuple):
    """The step along an axis, and its unit: "micrometer", "second"; "" where the file does not say it."""

    size: float
    unit: str


class Piece(NamedTuple):
    """What is decoded at once, however small the window: a chunk, a strip or a tile, or a whole file.

    Attributes:
        bytes: of its pixels.
        pages: how many it has a share in.
    """

    bytes: int
    pages: int


@dataclass(frozen=True, slots=True)
class Image:
    """Pages of one size, wherever they lie.

    Attributes:
        source: the file, for messages.
        axes: the names of the axes, those that count pages first, and always "cyx" at the end: "cyx", "zcyx", "tzcyx".
        shape: a length for each axis.
        dtype: of the pixels as they are stored.
        decode: page, rows, columns -> [C, rows, columns]; the slices have a start and a stop in the page. May be called
            by several threads, and may give a view of what must not be written to.
        pixel_size: of the axes whose step the file tells.
        named: whether the file itself names the axes that count pages; they are otherwise taken for slices.
        piece: what is decoded at once; None: the window alone is read.
        colours: red, green and blue that each channel is shown in, where the file says so; else empty.
    """

    source: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: Callable[[int, slice, slice], NDArray[Any]] = field(repr=False)
    pixel_size: dict[str, PixelSize]
    named: bool = True
    piece: Piece | None = None
    colours: tuple[Colour, ...] = ()

    @property
    def count(self) -> int:
        """The number of pages."""
        return math.prod(self.shape[:-3])

    @property
    def times(self) -> int:
        """The number of times; 1 where there is no such axis."""
        return dict(zip(self.axes, self.shape, strict=True)).get("t", 1)

    @property
    def channels(self) -> int:
        """The number of channels; alpha is dropped and does not count."""
        return self.shape[-3]

    @property
    def height(self) -> int:
        """Rows of a page, in pixels."""
        return self.shape[-2]

    @property
    def width(self) -> int:
        """Columns of a page, in pixels."""
        return self.shape[-1]

    def read(self, page: int = 0, rows: slice = ALL, columns: slice = ALL) -> NDArray[Any]:
        """Return a window of a page, [C, rows, columns] in the type that is stored; nothing else is decoded.

        Raises:
            DataError: damaged, or a compressed window that is larger than is decoded.
        """
        assert 0 <= page < self.count
        window = (slice(*part.indices(size)[:2]) for part, size in zip((rows, columns), self.shape[-2:], strict=True))
        with decoding(self.source):
            return self.decode(page, *window)

    def __getitem__(self, window: tuple[int, slice, slice]) -> NDArray[Any]:
        """Return the window `image[page, rows, columns]`, as `read`."""
        return self.read(*window)

    def _repr_png_(self) -> bytes:
        # The middle of the middle page, so that a volume of any size can be looked at.
        rows, columns = (
            slice(max(0, (side - _SHOWN) // 2), (side + min(side, _SHOWN)) // 2) for side in self.shape[-2:]
        )
        return thumbnail(as_pixels(self.read(self.count // 2, rows, columns), self.source), _SHOWN)

    def page(self, number: int) -> "Page":
        """Return a page as an array that is read by windows."""
        return Page(self, number)

    @property
    def stacks(self) -> NDArray[np.intp]:
        """The numbers of the pages of each stack, [stacks, depth]: neighbours along z, or along the last other axis."""
        numbers = np.arange(self.count).reshape(self.shape[:-3] or (1,))
        along = self.axes[:-3].find("z")  # -1 where there is none: the last
        return np.moveaxis(numbers, along, -1).reshape(-1, numbers.shape[along])

    def with_context(self, context: int) -> "Image":
        """Return the image whose pages have the channels of the slices around them, as `neighbours` orders them.

        Args:
            context: slices on each side; 0: the image as it is.

        Raises:
            DataError: a single slice.
        """
        if not context:
            return self
        if self.stacks.shape[1] == 1:
            raise DataError(
                f"{self.source}: is a single slice, but the network sees each slice with its neighbours "
                f"(model.context={context}); give the stack that it belongs to"
            )
        return self._joining(neighbours(self.stacks, context), self.axes, self.shape[:-3])

    def _joining(self, numbers: NDArray[np.intp], axes: str, pages: tuple[int, ...]) -> "Image":
        """Return the image whose pages have the channels of several pages, one page after the other.

        Args:
            numbers: [N, S] the pages that each of its pages is made of.
            axes: of the image.
            pages: lengths of the axes that count its N pages.
        """

        def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
            wanted: list[int] = numbers[page].tolist()
            read = {number: self.decode(number, rows, columns) for number in set(wanted)}
            return np.concatenate([read[number] for number in wanted])

        shape = (*pages, numbers.shape[1] * self.channels, *self.shape[-2:])
        return replace(self, axes=axes, shape=shape, decode=decode)

    def part(self, rows: slice, columns: slice) -> "Image":
        """Return the image of a window of every page; the slices have a start and a stop in the page."""

        def decode(page: int, down: slice, across: slice) -> NDArray[Any]:
            inside = slice(rows.start + down.start, rows.start + down.stop)
            return self.decode(page, inside, slice(columns.start + across.start, columns.start + across.stop))

        size = rows.stop - rows.start, columns.stop - columns.start
        return replace(self, shape=(*self.shape[:-2], *size), decode=decode)

    def pages_as_channels(self) -> "Image":
        """Return the one page whose channels are the pages of this image, which have one channel each."""
        assert self.channels == 1
        return self._joining(np.arange(self.count)[None], "cyx", ())

    def times_as_channels(self) -> "Image":
        """Return the image whose axis of times is that of channels, as of a NIfTI of several contrasts."""
        assert self.channels == 1
        axis, lengths = self.axes.index("t"), self.shape[:-3]
        numbers = np.moveaxis(np.arange(self.count).reshape(lengths), axis, -1).reshape(-1, lengths[axis])
        return self._joining(numbers, self.axes.replace("t", ""), (*lengths[:axis], *lengths[axis + 1 :]))

    def with_channels(self, channels: tuple[int, ...]) -> "Image":
        """Return the image with some of its channels, counted from 0, in this order.

        Raises:
            DataError: it has fewer.
        """
        if max(channels) >= self.channels:
            raise DataError(
                f"{self.source}: has {self.channels} channels (numbered from 0), but data.channels names channel "
                f"{max(channels)}; name channels below {self.channels}"
            )
        chosen = list(channels)

        def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
            return self.decode(page, rows, columns)[chosen]

        return replace(self, shape=(*self.shape[:-3], len(chosen), *self.shape[-2:]), decode=decode)


class Pixels(Protocol):
    """Pixels [C, H, W] as a `Sample` has them: an array, or a page that is read by windows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows, columns."""
        ...

    def __getitem__(self, where: tuple[slice, slice, slice], /) -> NDArray[Any]:
        """The pixels of channels, rows and columns."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an image as `Pixels`: a slice reads that window alone."""

    image: Image
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows, columns."""
        return self.image.shape[-3:]

    def __getitem__(self, where: tuple[slice, slice, slice], /) -> NDArray[Any]:
        """Read the pixels of channels, rows and columns.

        Raises:
            DataError: as `Image.read` and `as_pixels`.
        """
        channels, rows, columns = where
        stored = self.image.read(self.number, rows, columns)[channels]
        return as_pixels(stored, f"{self.image.source}, page {self.number}")


def joined(images: Sequence[Image]) -> Image:
    """Return the page whose channels are those of images of one page and one size, one image after the other.

    Its source is that of the one in the middle.
    """

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        return np.concatenate([image.decode(page, rows, columns) for image in images])

    middle = images[len(images) // 2]
    channels = sum(image.channels for image in images)
    return replace(middle, shape=(*middle.shape[:-3], channels, *middle.shape[-2:]), decode=decode)


def united(images: Sequence[Image]) -> Image:
    """Return the image of the largest value of each pixel in images of one shape, such as masks of one object each.

    Raises:
        DataError: images of other shapes.
    """
    for image in images:
        if image.shape != images[0].shape:
            here, there = (" x ".join(map(str, one.shape)) for one in (image, images[0]))
            raise DataError(f"{image.source}: is {here}, but {images[0].source} {there}; masks of one image are alike")

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        return np.maximum.reduce([image.decode(page, rows, columns) for image in images])

    return replace(images[0], decode=decode)


def stacked(images: Sequence[Image]) -> Image:
    """Return the stack whose slices are images of one page, one after the other; of two values, they are 0 and 255.

    Raises:
        DataError: images of several pages, or of other sizes, channels or types than the first one.
    """
    forms = [(image.shape, np.dtype(np.uint8) if image.dtype == np.bool_ else image.dtype) for image in images]
    for image, form in zip(images, forms, strict=True):
        if image.count > 1 or form != forms[0]:
            here, there = (f"{' x '.join(map(str, shape))} ({dtype})" for shape, dtype in (form, forms[0]))
            raise DataError(
                f"{image.source}: is {here}, {images[0].source} is {there}; sections of a stack are single images of "
                "one size and type"
            )

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        stored = images[page].decode(0, rows, columns)
        return stored * np.uint8(255) if stored.dtype == np.bool_ else stored

    shape, dtype = forms[0]
    return replace(images[0], axes="zcyx", shape=(len(images), *shape[-3:]), dtype=dtype, decode=decode, named=False)


def blank(image: Image) -> Image:
    """Return an image of one channel as large as another, and 0 everywhere."""

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        return np.zeros((1, rows.stop - rows.start, columns.stop - columns.start), np.uint8)

    return replace(image, shape=(*image.shape[:-3], 1, *image.shape[-2:]), dtype=np.dtype(np.uint8), decode=decode)


def neighbours(stacks: Iterable[NDArray[np.intp]], context: int) -> NDArray[np.intp]:
    """Return the numbers [N, 2 * context + 1] of the slices that each of N slices is seen with.

    They are in the order of the stack, the slice itself in the middle, and mirrored at the ends of its own stack.

    Args:
        stacks: the numbers of the slices of each stack, in its order; together 0 to N - 1.
        context: slices on each side.
    """
    stacks = list(stacks)
    around = np.empty((sum(map(len, stacks)), 2 * context + 1), np.intp)
    for stack in stacks:
        beyond = stack[mirrored(-context, len(stack) + context, len(stack))]
        around[stack] = np.lib.stride_tricks.sliding_window_view(beyond, 2 * context + 1)
    return around


def mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return the indices from `start` to `stop` on an axis, mirrored at its ends as often as needed.

    The first and the last one are not repeated; an axis of one is that one everywhere.
    """
    period = max(1, 2 * (length - 1))
    folded = np.arange(start, stop, dtype=np.intp) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def as_pixels(stored: NDArray[Any], source: str) -> NDArray[Any]:
    """Return pixels as a `Sample` keeps them: uint8, uint16 or float32, contiguous and in this machine's byte order.

    Two-valued pixels become 0 and 255; other integers and floats become float32.

    Raises:
        DataError: NaN or infinite pixels, or a type that is not an image's.
    """
    if stored.dtype == np.bool_:
        return stored.astype(np.uint8) * np.uint8(255)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
    if stored.dtype.kind not in "iuf":
        raise DataError(f"{source}: pixels of type {stored.dtype}; 8 or 16 bits or float were expected")
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.ascontiguousarray(stored, dtype=np.float32)
    broken = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
    if broken:
        raise DataError(f"{source}: {broken} pixels are NaN or infinite; every pixel must be a finite number")
    return pixels


def require_bounded(source: str, pixels: int, size: int) -> None:
    """Refuse to decode more compressed pixels at once than are allowed.

    Args:
        source: the file, for messages.
        pixels: of the piece.
        size: of the piece in bytes.

    Raises:
        DataError: more than `limits.MOST_PIXELS` or `limits.MOST_BYTES`.
    """
    for found, what, limit in ((pixels, "pixels", MOST_PIXELS), (size, "bytes", MOST_BYTES)):
        if found > limit.value:
            raise DataError(
                f"{source}: its header promises {found:,} {what} in one piece; of compressed pixels at most "
                f"{limit.value:,} {what} are decoded at once: store it as a tiled or an uncompressed TIFF, "
                f"or {limit.more}"
            )


@contextmanager
def decoding(source: str) -> Generator[None]:
    """Turn whatever a decoder raises into one `DataError`, and keep its warnings from the terminal."""
    logger, silence = logging.getLogger("tifffile"), _Silence()
    logger.addFilter(silence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnetkitError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{source}: there is no such file") from error
    except PermissionError as error:
        raise DataError(f"{source}: cannot be read: permission denied") from error
    except IsADirectoryError as error:
        raise DataError(f"{source}: is a folder; an image file was expected") from error
    except MemoryError as error:
        raise DataError(f"{source}: does not fit into the memory of this machine; cut it into parts") from error
    except Exception as error:  # decoders fail on broken files in ways that they do not document
        text = f": {' '.join(str(error).split())[:120]}" if str(error).strip() else ""
        kind = type(error).__name__
        raise DataError(f"{source}: truncated, damaged or not an image ({kind}{text}); write it again") from error
    finally:
        logger.removeFilter(silence)


class _Silence(logging.Filter):
    """Drop every record: what a reader logs about a file becomes a message of ours or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False
