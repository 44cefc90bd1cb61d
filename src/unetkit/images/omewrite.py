"""OME-Zarr, written: version 0.5 (zarr v3, in shards) or 0.4 (zarr v2), whole under its name or not there at all.

`ome_zarr` gives an image to be filled part by part, in any order. Its array is cut into shards of `SHARD` pixels a
side, one page deep and of all channels. A shard is written once, when all of its pixels are there: work that is divided
by whole shards never writes one file twice. The pyramid is made afterwards, each level from the one before, shard by
shard: labels by the nearest pixel, so that no label appears that was not there; all else by the mean of 2 x 2 pixels,
whose centres lie half a pixel further on. Parts of a row of shards are in memory while it is being filled.

Legend of shapes: K channels of a page, H height, W width.
"""

import asyncio
import colorsys
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import UsageError
from unetkit.images import is_zarr
from unetkit.images.write import Form, Output
from unetkit.storage import is_remote, url_of
from unetkit.storage.atomic import atomic_folder, is_taken

if TYPE_CHECKING:
    import zarr

SHARD, CHUNK = 1024, 512
"""Sides in pixels of what is written as one file, and of what is decoded at once."""

_AT_ONCE = 2
"""Shards of a smaller level that are made together; each takes the memory of four."""

_SMALLEST = 256
"""The pyramid ends with a level whose sides are at most this long."""

_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@contextmanager
def ome_zarr(path: Path, form: Form) -> Generator[Output]:
    """Give an OME-Zarr image to be filled; it is at `path` when the block ends, and nothing is when it fails.

    Below an OME-Zarr image that exists, `image.ome.zarr/labels/NAME` becomes one of its label images.

    Raises:
        UsageError: something is there already.
        StorageError: the disk did not take it.
    """
    require_new(path)
    form = form_at(path, form)
    with atomic_folder(path) as temporary:
        try:
            filling = create_zarr(temporary, form)
            yield filling
            filling.finish(path.name, in_image=image_of(path) is not None)
        except BaseException:
            _settle()
            raise
    if image_of(path) is not None:
        register(path, form.version)


def _settle() -> None:
    """Wait until zarr's own thread has written what it was given: it goes on, in a folder that is to be removed."""
    from zarr.core.sync import sync  # slow to import

    async def given() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    sync(given())


def form_at(path: Path, form: Form) -> Form:
    """Return the form that a file has at a path: labels have the version of the image that they lie in."""
    image = image_of(path)
    return form if image is None else replace(form, version="0.5" if (image / "zarr.json").is_file() else "0.4")


def require_new(path: Path) -> None:
    """Make sure that an OME-Zarr to be written is not there yet, and lies in no other zarr but as its labels.

    Raises:
        UsageError: it does not.
    """
    if not is_remote(path) and is_taken(path):
        raise UsageError(f"{path}: is there already, and nothing is overwritten; choose another --out")
    require_place(path)


def require_place(path: Path) -> None:
    """Make sure that an OME-Zarr to be written lies in no other zarr but as its labels.

    Raises:
        UsageError: it does.
    """
    if is_remote(path) and path.parent.name == "labels":
        raise UsageError(f"{url_of(path)}: labels are added to images on this machine; choose a name of its own")
    if any(above.suffix == ".zarr" for above in path.parents) and image_of(path) is None:
        raise UsageError(f"{path}: lies in a zarr; choose a name of its own, or IMAGE.ome.zarr/labels/NAME")


def image_of(path: Path) -> Path | None:
    """Return the image that a path names labels of; None: it does not lie in one."""
    return path.parents[1] if path.parent.name == "labels" and is_zarr(path.parents[1]) else None


def create_zarr(root: Path, form: Form) -> "ZarrFilling":
    """Create the group of an image in an empty folder, and its largest level.

    Raises:
        OSError: the disk did not take it.
    """
    import zarr  # slow to import

    zarr.create_group(store=root, zarr_format=3 if form.version == "0.5" else 2)
    return ZarrFilling(root, form, _create_level(root, form, 0, form.height, form.width))


def open_created(root: Path, form: Form) -> "ZarrFilling":
    """Open what `create_zarr` made, in this process or another."""
    import zarr  # slow to import

    return ZarrFilling(root, form, zarr.open_array(root / "0", mode="r+"))


@dataclass(frozen=True, slots=True)
class ZarrFilling:
    """An array that is being filled: shards of which pixels are missing are kept.

    Attributes:
        root: the folder of the image.
        form: what it will hold.
        array: the largest level.
        begun: page, row and column of a shard -> its pixels [K, H, W].
        missing: how many pixels of it are not there yet.
    """

    root: Path
    form: Form
    array: "zarr.Array[Any]"
    begun: dict[tuple[int, int, int], NDArray[Any]] = field(default_factory=dict[tuple[int, int, int], NDArray[Any]])
    missing: dict[tuple[int, int, int], int] = field(default_factory=dict[tuple[int, int, int], int])

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        """Put a part of a page to its place, and write the shards that it completes."""
        _, tall, wide = values_KHW.shape
        for row in range(top // SHARD, -(-(top + tall) // SHARD)):
            for column in range(left // SHARD, -(-(left + wide) // SHARD)):
                key, y, x = (page, row, column), row * SHARD, column * SHARD
                high, long = min(SHARD, self.form.height - y), min(SHARD, self.form.width - x)
                if key not in self.begun:
                    self.begun[key] = np.empty((self.form.planes, high, long), self.form.dtype)
                    self.missing[key] = high * long
                given_KHW = values_KHW[:, max(0, y - top) : y + high - top, max(0, x - left) : x + long - left]
                down, across = max(0, top - y), max(0, left - x)
                own = slice(down, down + given_KHW.shape[1]), slice(across, across + given_KHW.shape[2])
                self.begun[key][:, *own] = given_KHW
                self.missing[key] -= given_KHW[0].size
                if self.missing[key] == 0:
                    del self.missing[key]
                    _store(self.array, self.form, key, self.begun.pop(key))

    def get(self, page: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a window [K, rows, columns] of what is filled; 0 where nothing is yet."""
        return _load(self.array, self.form, page, rows, columns)

    def files(self, page: int, top: int, left: int) -> Iterator[Path]:
        """Yield the files that hold a shard, whose first pixel is given, as far as they are there."""
        steps = self.array.shards or self.array.chunks
        where = _where(self.form, page, slice(top, top + SHARD), slice(left, left + SHARD))
        spans = (
            range(part, part + 1)
            if isinstance(part, int)
            else range((part.start or 0) // step, -(-min(part.stop or length, length) // step))
            for part, step, length in zip(where, steps, self.array.shape, strict=True)
        )
        for number in product(*spans):
            file = self.root / "0" / self.array.metadata.encode_chunk_key(number)
            if file.exists():  # chunks of nothing but 0 are not written
                yield file

    def finish(self, name: str, *, in_image: bool) -> None:
        """Make the smaller levels, and write the metadata."""
        assert not self.begun
        levels, array = 1, self.array
        while max(array.shape[-2:]) > _SMALLEST:
            height, width = (-(-side // 2) for side in array.shape[-2:])
            smaller = _create_level(self.root, self.form, levels, height, width)
            shrink = partial(_shrink, array, smaller, self.form)
            with ThreadPoolExecutor(_AT_ONCE) as several:
                shards = product(range(self.form.pages), range(-(-height // SHARD)), range(-(-width // SHARD)))
                for _, row in groupby(shards, key=lambda key: key[:2]):
                    deque(several.map(shrink, row), maxlen=0)
            levels, array = levels + 1, smaller
        import zarr  # slow to import

        group = zarr.open_group(self.root, mode="r+")
        group.attrs.update(_metadata(name, self.form, levels, in_image=in_image))


def _create_level(root: Path, form: Form, level: int, height: int, width: int) -> "zarr.Array[Any]":
    """Create the array of a level; chunks that hold nothing but 0 are not written."""
    size = {**dict(form.page_axes), "c": form.planes, "y": height, "x": width}
    chunk, shard = {"y": CHUNK, "x": CHUNK}, {"c": form.planes, "y": SHARD, "x": SHARD}
    new = form.version == "0.5"
    import zarr  # slow to import

    return zarr.create_array(
        store=root / str(level),  # by its name in a group it would need hard links, which some file systems lack
        shape=tuple(size[axis] for axis in form.array_axes),
        dtype=np.dtype(form.dtype),
        chunks=tuple(chunk.get(axis, 1) for axis in form.array_axes),
        shards=tuple(shard.get(axis, 1) for axis in form.array_axes) if new else None,
        fill_value=0,
        overwrite=True,  # of a pyramid that was not finished
        zarr_format=3 if new else 2,
        dimension_names=list(form.array_axes) if new else None,
        chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
    )


def _where(form: Form, page: int, rows: slice, columns: slice, planes: slice = slice(None)) -> tuple[int | slice, ...]:
    """Return the index of a window of a page in the array: what it gives is [K, H, W], or [H, W] of a single plane."""
    lengths = tuple(length for _, length in form.page_axes)
    numbers = np.unravel_index(page, lengths) if lengths else ()
    where: dict[str, int | slice] = {"c": planes, "y": rows, "x": columns}
    where |= {axis: int(number) for (axis, _), number in zip(form.page_axes, numbers, strict=True)}
    return tuple(where[axis] for axis in form.array_axes)


def _store(array: "zarr.Array[Any]", form: Form, key: tuple[int, int, int], values_KHW: NDArray[Any]) -> None:
    """Write one shard, whole."""
    page, row, column = key
    _, tall, wide = values_KHW.shape
    rows, columns = slice(row * SHARD, row * SHARD + tall), slice(column * SHARD, column * SHARD + wide)
    array[_where(form, page, rows, columns)] = values_KHW if form.planes > 1 else values_KHW[0]


def _load(
    array: "zarr.Array[Any]", form: Form, page: int, rows: slice, columns: slice, planes: slice = slice(None)
) -> NDArray[Any]:
    values = np.asarray(array[_where(form, page, rows, columns, planes)])
    return values if form.planes > 1 else values[None]


def _shrink(array: "zarr.Array[Any]", smaller: "zarr.Array[Any]", form: Form, key: tuple[int, int, int]) -> None:
    """Write a shard of a smaller level from the four of the larger one that it covers."""
    rows, columns = (slice(2 * SHARD * number, 2 * SHARD * (number + 1)) for number in key[1:])
    planes = (  # one after the other: all of them may be much
        _load(array, form, key[0], rows, columns, slice(plane, plane + 1)) for plane in range(form.planes)
    )
    halved = [_halved(values_1HW, nearest=bool(form.labels)) for values_1HW in planes]
    _store(smaller, form, key, np.concatenate(halved))


def _halved(values_KHW: NDArray[Any], *, nearest: bool) -> NDArray[Any]:
    """Return every second pixel, or the mean of 2 x 2, where an odd last row or column counts twice."""
    if nearest:
        return values_KHW[:, ::2, ::2]
    _, height, width = values_KHW.shape
    even = np.pad(values_KHW, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    wide = even if even.dtype.kind == "f" else even.astype(np.float64)
    mean = (wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]) / 4
    return mean.astype(values_KHW.dtype) if even.dtype.kind == "f" else np.rint(mean).astype(values_KHW.dtype)


def _metadata(name: str, form: Form, levels: int, *, in_image: bool) -> dict[str, Any]:
    """Return the attributes of the image's group."""
    axes = [{"name": axis, "type": _KINDS[axis]} for axis in form.array_axes]
    for axis in axes:
        if axis["name"] in form.pixel_size:
            axis["unit"] = form.pixel_size[axis["name"]].unit
    steps = [form.pixel_size[axis].size if axis in form.pixel_size else 1.0 for axis in form.array_axes]
    datasets: list[dict[str, Any]] = []
    for level in range(levels):
        factors = [2.0**level if axis in "yx" else 1.0 for axis in form.array_axes]
        scale = [step * factor for step, factor in zip(steps, factors, strict=True)]
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if level and not form.labels:
            shift = [step * (factor - 1) / 2 for step, factor in zip(steps, factors, strict=True)]
            changes.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": changes})
    kind = "nearest" if form.labels else "mean"
    ome: dict[str, Any] = {"multiscales": [{"name": name, "axes": axes, "datasets": datasets, "type": kind}]}
    if form.labels:
        ome["image-label"] = _image_label(form, in_image=in_image)
    elif form.channels:
        ome["omero"] = {"channels": [_channel(number, form) for number in range(form.planes)]}
    if form.version == "0.5":
        ome = {"ome": {"version": "0.5", **ome}}
    else:
        ome["multiscales"][0]["version"] = "0.4"
    return ome | ({"unetkit": form.card} if form.card else {})


def _image_label(form: Form, *, in_image: bool) -> dict[str, Any]:
    """Return a colour and the name of each class; the background has none."""
    found: dict[str, Any] = {
        "colors": [
            {"label-value": value, "rgba": [*_colour(value), 255 if value else 0]} for value in range(len(form.labels))
        ],
        "properties": [{"label-value": value, "class": name} for value, name in enumerate(form.labels)],
    }
    if in_image:
        found["source"] = {"image": "../../"}
    return found if form.version == "0.5" else {"version": "0.4", **found}


def _channel(number: int, form: Form) -> dict[str, Any]:
    dtype = np.dtype(form.dtype)
    top = form.white or (float(np.iinfo(dtype.str).max) if dtype.kind in "iu" else 1.0)
    return {
        "label": form.channels[number],
        "color": "{:02X}{:02X}{:02X}".format(*_colour(number)),
        "window": {"min": 0.0, "max": top, "start": 0.0, "end": top},
        "active": True,
    }


def _colour(number: int) -> tuple[int, int, int]:
    """Return a colour that differs from those of the numbers before: its hue is the golden angle further."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def register(path: Path, version: str) -> None:
    """Name a label image in the list that its image keeps."""
    import zarr  # slow to import

    group = zarr.open_group(path.parent, mode="a", zarr_format=3 if version == "0.5" else 2)
    attributes = group.attrs.asdict()
    known = cast(dict[str, Any], attributes.get("ome", {}) if version == "0.5" else attributes)
    names = [*(name for name in known.get("labels", ()) if name != path.name), path.name]
    group.attrs.update({"ome": {"version": "0.5", "labels": names}} if version == "0.5" else {"labels": names})
