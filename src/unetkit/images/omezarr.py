"""OME-Zarr, read: versions 0.1 to 0.5 and plain zarr arrays, in a folder or in object storage.

`volume.ome.zarr` is its largest level; `volume.ome.zarr/1` is the next one, `volume.ome.zarr/labels/nuclei` the labels
of that name. A window reads the chunks that it touches; a chunk that is missing has the fill value, as zarr says.
Nothing that the metadata says leads out of the folder, and no codec that could run code is used.

Legend of shapes: C channels, H height, W width.
"""

import atexit
import posixpath
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from unetkit.errors import DataError
from unetkit.images import is_zarr
from unetkit.images.array import CachedArray, axes_by_size, image_of_array
from unetkit.images.image import Image, PixelSize, Role, decoding
from unetkit.images.zarrcodecs import bounded
from unetkit.storage import is_remote, url_of
from unetkit.storage.remote import place_of, speaking

_AXES = "tczyx"


class _Axis(BaseModel):
    name: str
    unit: str | None = None


class _Change(BaseModel):
    type: str
    scale: list[float] | None = None


class _Level(BaseModel):
    path: str
    coordinateTransformations: list[_Change] = []


class _Multiscale(BaseModel):
    """What is used of an entry of `multiscales`."""

    axes: list[_Axis] = [_Axis(name=axis) for axis in _AXES]  # versions 0.1 and 0.2 have all five
    datasets: Annotated[list[_Level], Field(min_length=1)]
    coordinateTransformations: list[_Change] = []

    @field_validator("axes", mode="before")
    @classmethod
    def _named_alone(cls, axes: list[str | dict[str, object]]) -> list[object]:
        return [{"name": axis} if isinstance(axis, str) else axis for axis in axes]  # as version 0.3 has them


Array = zarr.Array[Any]


def _metadata(array: Array) -> dict[str, Any]:
    return cast(dict[str, Any], array.metadata.to_dict())


def open_zarr(path: str | Path, role: Role = "image") -> Image:
    """Open an image of OME-Zarr, one of its levels or labels, or a plain zarr array.

    Raises:
        DataError: no image there, several and none named, or metadata that does not fit the arrays.
        RemoteError: object storage cannot be reached.
    """
    source = url_of(path)
    with decoding(source), speaking(source) if is_remote(path) else nullcontext():
        store, name = _located(path)
        node = zarr.open(store=store, path=name, mode="r")
        if isinstance(node, zarr.Group):
            array, multiscale, level = _largest(node, source)
        else:
            above = zarr.open(store=store, path=posixpath.dirname(name), mode="r") if name else None
            multiscale = _multiscale(above, source) if isinstance(above, zarr.Group) else None
            array, level = node, posixpath.basename(name)
        if np.dtype(array.dtype).kind not in "biuf":
            raise DataError(f"{source}: an array of type {array.dtype}; numbers were expected")
        axes, pixel_size = _axes(array, multiscale, level, source)
        values = dict(zip(axes, array.shape, strict=True)).get("c", 1)
        cached = CachedArray(source, _Chunks(bounded(array, source), source), array.chunks, values=values)
        return image_of_array(source, cached, axes, pixel_size=pixel_size, named=multiscale is not None)


def label_names(path: str | Path) -> tuple[str, ...]:
    """Return the names of the label images below an OME-Zarr image; none where it has none.

    Raises:
        DataError: damaged metadata.
        RemoteError: object storage cannot be reached.
    """
    source = url_of(path)
    with decoding(source), speaking(source) if is_remote(path) else nullcontext():
        store, name = _located(path)
        node = zarr.open(store=store, path=name, mode="r")
        labels = node.get("labels") if isinstance(node, zarr.Group) else None
        if not isinstance(labels, zarr.Group):
            return ()
        attributes = labels.attrs.asdict()
        found = TypeAdapter(dict[str, Any]).validate_python(attributes.get("ome") or attributes).get("labels", [])
        return tuple(TypeAdapter(list[str]).validate_python(found))


def _located(path: str | Path) -> tuple[Store, str]:
    """Return the store of the outermost group, and the name of a node below it."""
    if is_remote(path):
        parts = Path(path).parts
        root = next(number for number, part in enumerate(parts) if part.endswith(".zarr")) + 1
        place = place_of(Path(*parts[:root]), asynchronous=True)
        atexit.register(_close, place.files)  # before zarr's own: this one is registered later
        return FsspecStore(place.files, read_only=True, path=place.key), "/".join(parts[root:])
    root = Path(path)
    while is_zarr(root.parent):
        root = root.parent
    name = Path(path).relative_to(root).as_posix()
    return LocalStore(root, read_only=True), "" if name == "." else name


def _close(files: Any) -> None:
    """Close a connection, which would complain otherwise when it is dropped; the loop that it lives in is zarr's."""
    if files._s3 is not None:
        sync(files._s3.close())


def _multiscale(group: zarr.Group, source: str) -> _Multiscale | None:
    """Return the first multiscale of a group: below the key `ome` since version 0.5, at the top before."""
    attributes = group.attrs.asdict()
    found = TypeAdapter(dict[str, Any]).validate_python(attributes.get("ome") or attributes).get("multiscales")
    if found is None:
        return None
    try:
        return next(iter(TypeAdapter(list[_Multiscale]).validate_python(found)), None)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{source}: its OME-Zarr metadata is wrong at multiscales.{where}: {first['msg']}") from None


def _largest(group: zarr.Group, source: str) -> tuple[Array, _Multiscale | None, str]:
    """Return the largest level of a group, its multiscale, and the level's name."""
    multiscale = _multiscale(group, source)
    if multiscale is None:
        nodes = sorted(group.members())
        images = [node for _, node in nodes if isinstance(node, zarr.Group) and _multiscale(node, source)]
        only = images or [node for _, node in nodes if isinstance(node, zarr.Array)]
        if len(only) != 1:
            shown = ", ".join(node.basename for node in only[:6] or [node for _, node in nodes][:6]) or "nothing"
            first = _first_image(group, source)
            advice = f"name one image, as {source}/{first}" if first else "an image was expected"
            raise DataError(f"{source}: a zarr group without multiscales that holds {shown}; {advice}")
        return _largest(only[0], source) if isinstance(only[0], zarr.Group) else (only[0], None, "")
    level = multiscale.datasets[0].path
    if level.startswith("/") or ".." in level.split("/"):
        raise DataError(f"{source}: its metadata names the level {level[:60]!r}, which leads out of it")
    array = group.get(level)
    if not isinstance(array, zarr.Array):
        raise DataError(f"{source}: its metadata names the level {level[:60]!r}, but no array is there; copy it again")
    return array, multiscale, level


def _first_image(group: zarr.Group, source: str) -> str | None:
    """Return the path of the first image below a group, of a plate or a set of series; None: there is none."""
    for name, node in sorted(group.members()):
        if isinstance(node, zarr.Array) or _multiscale(node, source):
            return name
        if below := _first_image(node, source):
            return f"{name}/{below}"
    return None


def _axes(array: Array, multiscale: _Multiscale | None, level: str, source: str) -> tuple[str, dict[str, PixelSize]]:
    """Return a letter for each axis, and the steps of a level."""
    if multiscale is None:
        names = [str(name) for name in _metadata(array).get("dimension_names") or ()]
        known = len(set(names)) == array.ndim and {"y", "x"} <= set(names) <= set(_AXES)
        return "".join(names) if known else axes_by_size(array.shape), {}
    names = [axis.name for axis in multiscale.axes]
    if len(names) != array.ndim or len(set(names)) != len(names) or not {"y", "x"} <= set(names) <= set(_AXES):
        raise DataError(
            f"{source}: its metadata names the axes {', '.join(names)[:60]} of an array with {array.ndim}; one name of "
            "t, c, z, y, x for each was expected, y and x among them"
        )
    own = [change for one in multiscale.datasets if one.path == level for change in one.coordinateTransformations]
    steps = np.ones(array.ndim)
    for scale in [one.scale for one in (*multiscale.coordinateTransformations, *own) if one.scale is not None]:
        if len(scale) != array.ndim or not all(0 < step < float("inf") for step in scale):
            raise DataError(
                f"{source}: its metadata scales {array.ndim} axes by {', '.join(map(str, scale))[:60]}; a number above "
                "0 for each was expected"
            )
        steps = steps * scale
    found = zip(multiscale.axes, steps, strict=True)
    return "".join(names), {axis.name: PixelSize(float(step), axis.unit) for axis, step in found if axis.unit}


@dataclass(frozen=True, slots=True)
class _Chunks:
    """A zarr array; a chunk that cannot be read is named."""

    array: Array
    source: str

    @property
    def shape(self) -> tuple[int, ...]:
        """A length for each axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        """Decode one chunk."""
        number = "/".join(str(part.start // size) for part, size in zip(where, self.array.chunks, strict=True))
        with speaking(self.source) if is_remote(self.source) else decoding(f"{self.source}, chunk {number}"):
            return np.asarray(self.array[where])
