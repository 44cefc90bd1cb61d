"""Arrays in files: npy and npz of numpy, HDF5, MATLAB, NIfTI, and microscopes' own files (CZI, ND2, LIF).

What an array's axes are is taken from the file where it says so (NIfTI; HDF5 with `axistags` as ilastik writes, or
dimension labels) and by `axes_by_size` elsewhere. Of npz, HDF5 and MATLAB files with several arrays one is named after
the file: `file.h5/volumes/raw` or `file.h5:volumes/raw`. No file can run code: arrays of Python objects are refused.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.array import CachedArray, MappedArray, axes_by_size, image_of_array
from unetkit.images.image import File, Image, PixelSize, Role, decoding
from unetkit.limits import MOST_BYTES
from unetkit.storage.tree import ZARR_FILES


def open_npy(file: File, role: Role) -> Image:
    """Map a file of one array into memory; in an archive, read it.

    Raises:
        DataError: damaged, truncated, or no image's axes.
    """
    if file.path is not None:
        found = np.load(file.path, mmap_mode="r", allow_pickle=False)
        array = MappedArray(file.path, found.dtype, found.offset, found.shape, not found.flags.c_contiguous)
    else:
        with file.open() as handle:
            array = np.load(handle, allow_pickle=False)
    return image_of_array(file.source, array, axes_by_size(array.shape), named=False)


def open_npz(file: File, role: Role) -> Image:
    """Read the header of an array in a file of several; its pixels are read whole, at the first window.

    Raises:
        DataError: damaged, several arrays and none named, or larger than is decoded.
    """
    with file.open() as handle, zipfile.ZipFile(handle) as archive:
        if not ZARR_FILES.isdisjoint(name.rpartition("/")[2] for name in archive.namelist()):
            raise DataError(f"{file.source}: is a packed zarr; unpack it and give its folder")
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
        name = _named(file, list(sizes))
        _require_bounded(f"{file.source}: {name}", sizes[name], ".npy")
        shape, dtype = _npz_header(archive, f"{name}.npy")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > sizes[name]:
            raise DataError(f"{file.source}: {name} promises more pixels {shape} than it holds; write it again")

    @cache
    def whole() -> NDArray[Any]:
        with file.open() as handle, np.load(handle, allow_pickle=False) as arrays:
            return arrays[name]

    return image_of_array(file.source, _Later(shape, dtype, whole), axes_by_size(shape), named=False, decoded="whole")


def _npz_header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(member) as handle:
        version = np.lib.format.read_magic(handle)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[version](handle)
    return shape, dtype


def open_hdf5(file: File, role: Role, *, columns_first: bool = False) -> Image:
    """Read the header of an array in an HDF5 file; windows decode the chunks that they touch.

    Args:
        file: of one or more arrays.
        role: what it is read as.
        columns_first: axes that the file does not name are those of MATLAB, the last one first.

    Raises:
        DataError: damaged, several arrays and none named, or chunks larger than are decoded.
    """
    h5py = _package("h5py")
    with file.open() as handle, h5py.File(handle, "r") as tree:
        dataset = tree[_named(file, [name for name, shape in _hdf5_arrays(tree) if len(shape) > 1])]
        if dataset.external is not None or dataset.is_virtual:
            raise DataError(f"{file.source}: {dataset.name} takes its pixels from other files; copy it into this one")
        tags = dataset.attrs.get("axistags")
        labels = "".join(dimension.label for dimension in dataset.dims).lower()
        if tags is not None:
            labels = "".join(str(axis["key"]) for axis in json.loads(tags)["axes"]).lower()
        named = len(labels) == dataset.ndim == len(set(labels)) and {"y", "x"} <= set(labels)
        by_size = _matlab_axes(dataset.shape[::-1])[::-1] if columns_first else axes_by_size(dataset.shape)
        axes = labels if named else by_size
        size = dict(zip(axes, dataset.shape, strict=True))
        array = _Dataset(file, dataset.name, dataset.shape, dataset.dtype)
        # What is not chunked has no filters: its bytes are in the file, and a window of them is bounded by it.
        chunks = dataset.chunks or tuple(1 if axis not in "csyx" else size[axis] for axis in axes)
        values = None if dataset.chunks is None or dataset.id.get_create_plist().get_nfilters() == 0 else 1
    cached = CachedArray(file.source, array, chunks, values=values and size.get("c", 1)) if values else array
    return image_of_array(file.source, cached, axes, named=named)


def _hdf5_arrays(tree: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of the arrays of numbers in an open HDF5 file; MATLAB's own are left out."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str, node: Any) -> None:
        if hasattr(node, "shape") and node.shape and node.dtype.kind in "biuf" and not name.startswith("#"):
            found.append((name, tuple(node.shape)))

    tree.visititems(note)
    return found


_HDF5_MATLAB = b"MATLAB 7.3"
_MOST_CHANNELS = 4
_MATLAB_TYPES = {"double": "float64", "single": "float32", "logical": "uint8"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""What MATLAB calls numbers, and their types."""


def open_matlab(file: File, role: Role) -> Image:
    """Read the header of an array in a MATLAB file; its pixels are read whole, or as of HDF5 from version 7.3 on.

    Raises:
        DataError: damaged, several arrays and none named, or larger than is decoded.
    """
    with file.open() as handle:
        if handle.read(len(_HDF5_MATLAB)) == _HDF5_MATLAB:
            return open_hdf5(file, role, columns_first=True)
        handle.seek(0)
        arrays = _matlab_arrays(handle)
    name = _named(file, list(arrays))
    shape, kind = arrays[name]
    dtype = np.dtype(_MATLAB_TYPES[kind])
    _require_bounded(f"{file.source}: {name}", int(np.prod(shape, dtype=object)) * dtype.itemsize, ".npy")

    @cache
    def whole() -> NDArray[Any]:
        with file.open() as handle:
            found = _package("scipy.io").loadmat(handle, variable_names=[name])[name]
            return np.asarray(found).astype(dtype, copy=False)

    return image_of_array(file.source, _Later(shape, dtype, whole), _matlab_axes(shape), named=False, decoded="whole")


def _matlab_axes(shape: tuple[int, ...]) -> str:
    """Name the axes of an array: MATLAB's habit is rows, columns, and then channels and slices."""
    by_size = axes_by_size(shape)
    if by_size == "zyx" and shape[2] < shape[0]:
        return "yxz"
    return "yxcz" if by_size == "tzyx" and shape[2] <= _MOST_CHANNELS < min(shape[:2]) else by_size


def _matlab_arrays(handle: BinaryIO) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and the class of every array of numbers in a MATLAB file below version 7.3."""
    _require_unpacked(handle)
    found = _package("scipy.io").whosmat(handle)
    return {name: (tuple(shape), kind) for name, shape, kind in found if kind in _MATLAB_TYPES}


_MAT_HEADER, _MAT_COMPRESSED = 128, 15


def _require_unpacked(handle: BinaryIO) -> None:
    """Require that no variable of a MATLAB file from version 5 on unpacks to more bytes than are allowed.

    Raises:
        ValueError: one does.
    """
    order = {b"IM": "<", b"MI": ">"}.get(handle.read(_MAT_HEADER)[-2:])
    while order and len(tag := handle.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind == _MAT_COMPRESSED and size * _RATIOS[_DEFLATE] > MOST_BYTES.value:
            if not _inflates_to(handle.read(size), MOST_BYTES.value):
                raise ValueError(f"a variable unpacks to more than {MOST_BYTES.value:,} bytes")
        else:
            handle.seek(size, 1)
    handle.seek(0)


def _inflates_to(data: bytes, most: int) -> bool:
    """Tell whether data of zlib become no more than so many bytes; they are not kept."""
    stream, count = zlib.decompressobj(), 0
    for start in range(0, len(data), 2**14):  # a piece becomes 17 MB at most
        count += len(stream.decompress(data[start : start + 2**14]))
        if count > most:
            return False
    return True


_SMALLEST = 8  # rows and columns


def arrays_in(path: Path) -> tuple[str, ...]:
    """Return the names of the images in a file of several arrays; none for other files, or what cannot be read.

    Rows and columns of an image are at least 8.
    """
    try:
        with decoding(str(path)), path.open("rb") as handle:
            head = handle.read(len(_HDF5_MATLAB))
            handle.seek(0)
            if head.startswith(b"\x89HDF") or head == _HDF5_MATLAB:
                with _package("h5py").File(handle, "r") as tree:
                    shapes = dict(_hdf5_arrays(tree))
            elif head.startswith(b"MATLAB"):
                shapes = {name: shape for name, (shape, _) in _matlab_arrays(handle).items()}
            elif head.startswith(b"PK"):
                with zipfile.ZipFile(handle) as archive:
                    names = [name for name in archive.namelist() if name.endswith(".npy")]
                    shapes = {name.removesuffix(".npy"): _npz_header(archive, name)[0] for name in names}
            else:
                return ()
    except (DataError, ImportError):
        return ()
    images = [name for name, shape in shapes.items() if sum(side >= _SMALLEST for side in shape) > 1]
    return tuple(images) if len(shapes) > 1 else ()


_UNITS = {"mm": "millimeter", "micron": "micrometer", "meter": "meter", "sec": "second", "msec": "millisecond"}
"""What NIfTI calls its units."""


def open_nifti(file: File, role: Role) -> Image:
    """Read the header of a NIfTI volume: its third axis and those after it count pages.

    Raises:
        DataError: damaged, or compressed and larger than is decoded.
    """
    if file.path is None:
        raise DataError(f"{file.source}: NIfTI is read from files of their own; unpack the archive")
    header = _package("nibabel").load(file.path)
    packed = file.path.suffix.lower() == ".gz"
    shape: tuple[int, ...] = header.shape
    dtype = np.dtype(header.dataobj[(slice(0, 1),) * len(shape)].dtype)
    if packed:
        _require_bounded(file.source, int(np.prod(shape, dtype=object)) * dtype.itemsize, ".nii")
    whole = cache(lambda: np.asarray(header.dataobj))
    array = _Later(shape, dtype, whole) if packed else header.dataobj
    axes = "xyztc"[: len(shape)]
    units = dict(
        zip("xyzt", [*[header.header.get_xyzt_units()[0]] * 3, header.header.get_xyzt_units()[1]], strict=True)
    )
    steps = zip("xyzt", header.header.get_zooms(), strict=False)
    known = {axis: PixelSize(float(step), _UNITS[units[axis]]) for axis, step in steps if units[axis] in _UNITS}
    return image_of_array(file.source, array, axes, pixel_size=known, decoded="whole" if packed else None)


def open_bioio(file: File, role: Role, plugin: str) -> Image:
    """Read the header of a microscope's own file through bioio; windows decode the planes that they touch.

    Raises:
        DataError: damaged, or several scenes and none named.
    """
    if file.path is None:
        raise DataError(f"{file.source}: microscopes' own files are read from the disk; unpack the archive")
    opened = _package("bioio").BioImage(file.path, reader=_package(plugin).Reader)
    opened.set_scene(_named(file, list(opened.scenes), "scene"))
    array = opened.dask_data
    steps = zip("zyx", opened.physical_pixel_sizes, strict=True)
    known = {axis: PixelSize(float(step), "micrometer") for axis, step in steps if step}
    axes = str(opened.dims.order).lower()
    return image_of_array(file.source, _Dask(array, array.shape, array.dtype), axes, pixel_size=known, decoded="pages")


def _require_bounded(source: str, size: int, plain: str) -> None:
    """Refuse a compressed array that is decoded as a whole and has more bytes than are allowed."""
    if size > MOST_BYTES.value:
        raise DataError(
            f"{source}: its header promises {size:,} bytes; of a compressed array at most {MOST_BYTES.value:,} are "
            f"decoded: save it as {plain}, or {MOST_BYTES.more}"
        )


@dataclass(frozen=True, slots=True)
class _Later:
    """An array that is decoded as a whole when its first window is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    whole: Callable[[], NDArray[Any]]

    def __getitem__(self, where: Any) -> NDArray[Any]:
        """Return the values at slices."""
        return self.whole()[where]


@dataclass(frozen=True, slots=True)
class _Dataset:
    """An array in an HDF5 file, which is opened for every window."""

    file: File
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, where: Any) -> NDArray[Any]:
        """Read the values at slices."""
        with self.file.open() as handle, _package("h5py").File(handle, "r") as tree:
            dataset = tree[self.name]
            if dataset.id.get_create_plist().get_nfilters() > 0:
                _require_chunk(dataset, tuple(part.start for part in where), self.file.source)
            return dataset[where]


_DEFLATE, _FLETCHER32, _SZIP, _NBIT, _SCALEOFFSET, _LZF = 1, 3, 4, 5, 6, 32000
_RATIOS = {_DEFLATE: 1032, _LZF: 90, _SZIP: 2**32}
"""How many bytes a byte unpacks to at most. Other filters than HDF5's own need plugins that the user has installed."""

_UNSEEN = 2**28
"""Bytes that a chunk may unpack to without being looked at before."""

_OVERHEAD = 2**10  # bytes of a filter's own


def _require_chunk(dataset: Any, at: tuple[int, ...], source: str) -> None:
    """Require that a chunk unpacks to as many bytes as it has: HDF5 itself unpacks whatever is there.

    Raises:
        DataError: it unpacks to more.
    """
    stored = dataset.id.get_chunk_info_by_coord(at)
    if stored.byte_offset is None:  # it is not there
        return
    most = math.prod(dataset.chunks) * dataset.dtype.itemsize + _OVERHEAD
    properties = dataset.id.get_create_plist()
    used = [number for number in range(properties.get_nfilters()) if not stored.filter_mask >> number & 1]
    filters = [properties.get_filter(number)[::2] for number in used]  # code and values
    packers = [code for code, _ in filters if code in _RATIOS]
    promised = [math.prod(values[2:5:2]) for code, values in filters if code in (_NBIT, _SCALEOFFSET)]
    fits = len(packers) < 2 and max(promised, default=0) <= most
    if fits and packers and stored.size * _RATIOS[packers[0]] > max(most, _UNSEEN):
        data = dataset.id.read_direct_chunk(at)[1]
        fits = _unpacks_to(packers[0], data[:-4] if filters[-1][0] == _FLETCHER32 else data, most)
    if not fits:
        raise DataError(
            f"{source}: a chunk of {dataset.name} unpacks to more bytes than it has, or is damaged; write it again"
        )


def _unpacks_to(packer: int, data: bytes, most: int) -> bool:
    """Tell whether a compressed chunk becomes no more than so many bytes."""
    if packer == _SZIP:
        return int.from_bytes(data[:4], "little") <= most
    if packer == _DEFLATE:
        return _inflates_to(data, most)
    codecs = _package("imagecodecs")
    try:
        codecs.lzf_decode(data, out=most)
    except codecs.LzfError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Dask:
    """An array of dask, computed in this thread."""

    array: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, where: Any) -> NDArray[Any]:
        """Compute the values at slices."""
        return self.array[where].compute(scheduler="synchronous")


def _package(name: str) -> Any:
    """Return a module that is slow to import or has no types; `Format` has made sure that it is installed."""
    return import_module(name)


def _named(file: File, arrays: list[str], what: str = "array") -> str:
    """Return the array or scene that is named after the file, or the only one."""
    if file.inside in arrays or (not file.inside and len(arrays) == 1):
        return file.inside or arrays[0]
    if not arrays:
        raise DataError(
            f"{file.source}: holds no {what} of numbers (structures and links are not read); save the pixels as one"
        )
    shown = ", ".join(sorted(arrays)[:6]) + (", ..." if len(arrays) > 6 else "")
    asked = f"no {what} {file.inside}" if file.inside else f"{len(arrays)} {what}s"
    raise DataError(f"{file.source}: holds {asked} ({shown}); name one {what} after the file: FILE/NAME")
