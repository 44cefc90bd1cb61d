"""The codecs of a zarr that is read: a chunk is unpacked to no more bytes than the array's header says that it has.

zarr's own decoders unpack whatever is there, so that a chunk of a megabyte can fill the memory. Here the compressors of
an array are replaced by decoders that end where the chunk is full. Codecs that are not known here are refused.
"""

import asyncio
import bz2
import gzip
import lzma
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, ClassVar

import zarr
from imagecodecs import blosc_decode, lz4_decode, zstd_decode
from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer

from unetkit.errors import DataError

_Options = dict[str, Any]

_DECODERS: dict[str, Callable[[bytes, int, _Options], bytes | bytearray]] = {
    "gzip": lambda data, most, options: _read(gzip.GzipFile(fileobj=BytesIO(data)), most),
    "zlib": lambda data, most, options: zlib.decompressobj().decompress(data, most + 1),
    "bz2": lambda data, most, options: _read(bz2.BZ2File(BytesIO(data)), most),
    "lzma": lambda data, most, options: lzma.LZMADecompressor(
        options.get("format", lzma.FORMAT_XZ), filters=options.get("filters")
    ).decompress(data, most + 1),
    "zstd": lambda data, most, options: zstd_decode(data, out=most),
    "blosc": lambda data, most, options: blosc_decode(_promising(data, 4, most)),
    "lz4": lambda data, most, options: lz4_decode(_promising(data, 0, most), header=True),
}
"""Data, the most bytes, a codec's options -> what it unpacks to; one byte more where it would be more, or an error."""

_OF_ONE_SIZE = frozenset({"bytes", "transpose", "shuffle", "delta", "bitround"})
_CHECKSUMS = frozenset({"crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"})
_OF_OTHER_TYPES = frozenset({"astype", "fixedscaleoffset", "quantize"})
_LARGEST_TYPE = 8  # bytes of a number
_OVERHEAD = 2**16  # bytes of checksums, headers and indices around what was compressed before


def _read(file: gzip.GzipFile | bz2.BZ2File, most: int) -> bytes:
    with file:
        return file.read(most + 1)


def _promising(data: bytes, at: int, most: int) -> bytes:
    """Return data that says in 32 bits at a place what it unpacks to.

    Raises:
        ValueError: more than `most` bytes.
    """
    if (size := int.from_bytes(data[at : at + 4], "little")) > most:
        raise ValueError(f"promises {size:,} bytes, a chunk has at most {most:,}")
    return data


def _unpacked(name: str, data: bytes, most: int, options: _Options) -> bytes | bytearray:
    """Undo a compressor.

    Raises:
        ValueError: there are more bytes than a chunk has.
    """
    found = _DECODERS[name](data, most, options)
    if len(found) > most:
        raise ValueError(f"unpacks to more than the {most:,} bytes that a chunk has at most")
    return found


@dataclass(frozen=True)
class _Numcodec:
    """A compressor of a zarr of version 2, to read only."""

    codec_id: ClassVar[str] = "bounded"  # zarr asks the class for one

    name: str
    most: int
    options: _Options

    def encode(self, buf: Any) -> Any:
        raise NotImplementedError

    def decode(self, buf: Any, out: Any | None = None) -> Any:
        return _unpacked(self.name, bytes(buf), self.most, self.options)

    def get_config(self) -> Any:
        return self.options

    @classmethod
    def from_config(cls, config: Any) -> "_Numcodec":
        raise NotImplementedError


@dataclass(frozen=True)
class _Compressor(BytesBytesCodec):
    """A compressor of a zarr of version 3, to read only."""

    name: str
    most: int
    options: _Options

    is_fixed_size = False

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data = chunk_data.to_bytes()
        found = await asyncio.to_thread(_unpacked, self.name, data, self.most, self.options)
        return chunk_spec.prototype.buffer.from_bytes(found)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError


def bounded(array: zarr.Array[Any], source: str) -> zarr.Array[Any]:
    """Return an array of numbers whose chunks unpack to no more bytes than its header says.

    Args:
        array: as it was opened.
        source: the file, for messages.

    Raises:
        DataError: it has a codec that is not known here.
    """
    metadata: Any = array.metadata
    if metadata.zarr_format == 3:
        codecs = _bounded_codecs(metadata.codecs, metadata.chunk_grid.chunk_shape, array.dtype.itemsize, source)
        return zarr.Array(replace(array.async_array, metadata=replace(metadata, codecs=codecs)))
    filters = [one.codec_id for one in metadata.filters or ()]
    for name in filters:
        if name not in _OF_ONE_SIZE | _CHECKSUMS | _OF_OTHER_TYPES:
            raise _unknown(name, source)
    compressor = metadata.compressor
    if compressor is not None:
        if compressor.codec_id not in _DECODERS:
            raise _unknown(compressor.codec_id, source)
        most = _most(metadata.chunks, array.dtype.itemsize, filters)
        compressor = _Numcodec(compressor.codec_id, most, compressor.get_config())
    return zarr.Array(replace(array.async_array, metadata=replace(metadata, compressor=compressor)))


def _bounded_codecs(codecs: Iterable[Codec], shape: tuple[int, ...], itemsize: int, source: str) -> list[Codec]:
    """Return codecs of chunks of a shape, those of the chunks in a shard among them."""
    described: list[Any] = [codec.to_dict() for codec in codecs]
    names = [str(one["name"]).removeprefix("numcodecs.") for one in described]
    most, found = _most(shape, itemsize, names), list[Codec]()
    for codec, name, one in zip(codecs, names, described, strict=True):
        if isinstance(codec, ShardingCodec):
            inner = _bounded_codecs(codec.codecs, codec.chunk_shape, itemsize, source)
            found.append(replace(codec, codecs=tuple(inner)))
        elif name in _DECODERS:
            found.append(_Compressor(name, most, one.get("configuration", {})))
        elif name in _OF_ONE_SIZE | _CHECKSUMS | _OF_OTHER_TYPES:
            found.append(codec)
        else:
            raise _unknown(name, source)
    return found


def _most(shape: tuple[int, ...], itemsize: int, names: Iterable[str]) -> int:
    """Return the bytes that a chunk may unpack to before what these codecs had made of it is undone."""
    largest = itemsize if _OF_OTHER_TYPES.isdisjoint(names) else _LARGEST_TYPE
    return math.prod(shape) * largest + math.prod(shape) * largest // 16 + _OVERHEAD


def _unknown(name: str, source: str) -> DataError:
    known = ", ".join(sorted(_DECODERS))
    return DataError(f"{source}: its chunks are stored by {name[:40]!r}, which is not read; compress them by {known}")
