"""Arrays in files: npy and npz of numpy, HDF5, MATLAB, NIfTI, MetaImage, NRRD, and microscopes' own.

What an array's axes are is taken from the file where it says so (NIfTI, MetaImage, NRRD, HDF5 with the `axistags` of
ilastik or dimension labels) and by `axes_by_size` elsewhere. Of npz, HDF5 and MATLAB files with several arrays one is
named after the file: `file.h5/volumes/raw` or `file.h5:volumes/raw`. No file can run code: arrays of Python objects are
refused. The headers of MetaImage and NRRD are lines of text and are read here: ITK's own reader damages its memory on
some broken ones.
"""

import json
import math
import re
import struct
import zipfile
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import SEEK_END
from pathlib import Path
from typing import IO, Any, BinaryIO
from zlib import decompressobj

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.array import ArrayLike, CachedArray, MappedArray, axes_by_size, image_of_array
from unetkit.images.image import File, Image, PixelSize, Role, decoding
from unetkit.limits import MOST_BYTES
from unetkit.storage.tree import ZARR_FILES


def open_npy(file: File, role: Role) -> Image:
    """Map a file of one array into memory; in an archive, read it.

    Raises:
        DataError: damaged, truncated, or no image's axes.
    """
    with file.open() as handle:
        _require_numbers(file.source, _npy_header(handle)[1])
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
        with archive.open(f"{name}.npy") as member:
            shape, dtype = _npy_header(member)
        _require_numbers(file.source, dtype)
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > sizes[name]:
            raise DataError(f"{file.source}: {name} promises more pixels {shape} than it holds; write it again")

    @cache
    def whole() -> NDArray[Any]:
        with file.open() as handle, np.load(handle, allow_pickle=False) as arrays:
            return arrays[name]

    return image_of_array(file.source, _Later(shape, dtype, whole), axes_by_size(shape), named=False, decoded="whole")


def _npy_header(handle: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(handle)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = headers[version](handle)
    return shape, dtype


def _require_numbers(source: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise DataError(
            f"{source}: holds Python objects, which may run code and are not read; save its pixels, or its masks, as "
            "an array of numbers or as TIFF"
        )


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
                    shapes = {name.removesuffix(".npy"): _npy_header(archive.open(name))[0] for name in names}
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


_LONGEST_LINE, _MOST_LINES = 4096, 1000  # of a header
_FIELD = re.compile(rb"([\w ]+?)\s*(?:=|:=?)\s*(.*?)\s*")


def _by_name(names_of: dict[str, str]) -> dict[str, str]:
    return {name: kind for kind, names in names_of.items() for name in names.split(", ")}


_META_TYPES = _by_name(
    {
        "i1": "CHAR",
        "u1": "UCHAR",
        "i2": "SHORT",
        "u2": "USHORT",
        "i4": "INT, LONG",
        "u4": "UINT, ULONG",
        "i8": "LONG_LONG",
        "u8": "ULONG_LONG",
        "f4": "FLOAT",
        "f8": "DOUBLE",
    }
)
_NRRD_TYPES = _by_name(
    {
        "i1": "signed char, int8, int8_t, char",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }
)
"""The types of pixels by the names that headers give them."""

_NO_CHANNELS = ("domain", "space", "time", "none", "???")
"""Kinds of the axes of an NRRD file that are no channels."""


def open_metaimage(file: File, role: Role) -> Image:
    """Read the header of a MetaImage: axes beyond columns and rows count pages; pixels as `_pixels`.

    Raises:
        DataError: damaged, pixels written as text, or as `_pixels`.
    """
    fields, offset = _fields(file, "dimsize", "elementtype", "elementdatafile")
    kind = fields["elementtype"].removeprefix("MET_")
    if kind not in _META_TYPES or fields.get("binarydata", "True").lower() != "true":
        raise DataError(f"{file.source}: pixels of the type {kind[:40]!r}, or as text; save binary numbers")
    msb = fields.get("binarydatabyteordermsb") or fields.get("elementbyteordermsb") or "False"
    dtype = np.dtype(f"{'>' if msb.lower() == 'true' else '<'}{_META_TYPES[kind]}")
    sizes, samples = [int(word) for word in fields["dimsize"].split()], int(fields.get("elementnumberofchannels", 1))
    packed = fields.get("compresseddata", "False").lower() == "true"
    data, skipped = fields["elementdatafile"], int(fields.get("headersize", 0))
    shape = (*sizes[::-1], *([samples] if samples > 1 else []))
    array = _pixels(
        file, "" if data.upper() == "LOCAL" else data, "gzip" if packed else "raw", offset, skipped, shape, dtype
    )
    steps = (fields.get("elementspacing") or fields.get("elementsize") or "").split()
    known = {axis: PixelSize(float(step), "millimeter") for axis, step in zip("xyz", steps, strict=False)}
    axes = "xyzt"[: len(sizes)][::-1] + "c" * (samples > 1)
    return image_of_array(file.source, array, axes, pixel_size=known, decoded="whole" if packed else None)


def open_nrrd(file: File, role: Role) -> Image:
    """Read the header of an NRRD file: axes beyond columns and rows count pages, but for one of colours or layers.

    Raises:
        DataError: damaged, several axes that are no places, or as `_pixels`.
    """
    fields, offset = _fields(file, "sizes", "type", "encoding")
    if fields["type"] not in _NRRD_TYPES:
        raise DataError(f"{file.source}: pixels of the type {fields['type'][:40]!r}; save whole numbers or floats")
    dtype = np.dtype(f"{'>' if fields.get('endian') == 'big' else '<'}{_NRRD_TYPES[fields['type']]}")
    sizes = [int(word) for word in fields["sizes"].split()]
    steps = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    kinds = fields.get("kinds", "").split() or ["list" if step == "none" else "space" for step in steps]
    kinds = kinds if len(kinds) == len(sizes) else ["space"] * len(sizes)
    places = iter("xyzt")
    axes = "".join(next(places) if kind.lower() in _NO_CHANNELS else "c" for kind in kinds)
    if axes.count("c") > 1:
        raise DataError(f"{file.source}: several axes that are no places ({' '.join(kinds)}); one at most is read")
    encoding = {"gz": "gzip", "bz2": "bzip2"}.get(fields["encoding"], fields["encoding"])
    data = fields.get("data file") or fields.get("datafile") or ""
    skipped = int(fields.get("byte skip") or fields.get("byteskip") or 0)
    array = _pixels(file, data, encoding, offset, skipped, (*sizes[::-1],), dtype)
    lengths = {
        axis: float(np.linalg.norm([float(word) for word in step.strip("()").split(",")]))
        for axis, step in zip(axes, steps, strict=False)
        if step != "none" and axis in "xyz"
    }
    known = {axis: PixelSize(step, "millimeter") for axis, step in lengths.items()}
    return image_of_array(
        file.source, array, axes[::-1], pixel_size=known, decoded=None if encoding == "raw" else "whole"
    )


def _fields(file: File, *needed: str) -> tuple[dict[str, str], int]:
    """Return the fields of a header of lines `Name = value` or `name: value`, in lower case, and where it ends.

    It ends with an empty line, or the line that names the file of a MetaImage's pixels.

    Raises:
        DataError: a field that is needed is missing.
    """
    fields: dict[str, str] = {}
    with file.open() as handle:
        for _ in range(_MOST_LINES):
            line = handle.readline(_LONGEST_LINE)
            found = _FIELD.fullmatch(line)
            if found:
                fields[found[1].decode("latin-1").lower()] = found[2].decode("utf-8", "replace")
            if not line.strip() or "elementdatafile" in fields:
                break
        offset = handle.tell()
    missing = next((name for name in needed if not fields.get(name)), None)
    if missing is not None:
        raise DataError(f"{file.source}: damaged: its header does not say '{missing}'; write it again")
    return fields, offset


def _pixels(
    file: File, data: str, encoding: str, offset: int, skipped: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> ArrayLike:
    """Return the pixels that follow a header, or lie in one file next to it: mapped, or unpacked at the first window.

    Args:
        file: of the header.
        data: the name of the file of the pixels; "" where they follow the header.
        encoding: raw, gzip (or zlib), or bzip2.
        offset: where the header ends.
        skipped: bytes before the pixels; -1: the pixels are the last bytes.
        shape: of the array.
        dtype: of the values.

    Raises:
        DataError: in another folder or in several files, packed otherwise, fewer than the header promises, or more than
            is decoded.
    """
    if data and (Path(data).name != data or "%" in data or data.split()[0].upper() == "LIST"):
        raise DataError(f"{file.source}: takes its pixels from {data[:60]!r}; keep them in one file, next to it")
    if data and file.path is None:
        raise DataError(f"{file.source}: its pixels lie in another file, {data[:60]!r}; unpack the archive")
    if data and file.path and not file.path.with_name(data).is_file():
        raise DataError(f"{file.source}: its pixels are missing: {data} should lie next to it")
    if encoding not in ("raw", "gzip", "bzip2") or (encoding != "raw" and skipped):
        raise DataError(f"{file.source}: pixels encoded as {encoding[:60]!r}; save them raw, or packed by gzip")
    if min(shape) < 1:
        raise DataError(f"{file.source}: has no pixels (sizes {shape})")
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    path = file.path.with_name(data) if data and file.path else file.path
    start = 0 if data else offset
    few = f"{file.source}: holds fewer pixels than its header promises; write it again"
    if encoding == "raw":
        with path.open("rb") if path else file.open() as handle:
            end = handle.seek(0, SEEK_END)
            begin = end - needed if skipped < 0 else start + skipped
            if begin < start or begin + needed > end:
                raise DataError(few)
            if path is not None:
                return MappedArray(path, dtype, begin, shape)
            handle.seek(begin)
            return np.frombuffer(handle.read(needed), dtype).reshape(shape)
    _require_bounded(file.source, needed, "raw")
    native = dtype.newbyteorder("=")

    @cache
    def whole() -> NDArray[Any]:
        with path.open("rb") if path else file.open() as handle:
            handle.seek(start)
            packed = handle.read()
        unpacker = BZ2Decompressor() if encoding == "bzip2" else decompressobj(_GZIP_OR_ZLIB)
        content = unpacker.decompress(packed, needed)
        if len(content) < needed:
            raise DataError(few)
        return np.frombuffer(content, dtype).reshape(shape).astype(native, copy=False)

    return _Later(shape, native, whole)


_GZIP_OR_ZLIB = 47  # what zlib calls to take either


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
