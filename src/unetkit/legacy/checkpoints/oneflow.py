"""OneFlow's checkpoints: a folder with one folder a tensor, in two generations, and the single file of release 1.0.

    2021-11 to 0.9      `pickled_data`, a pickle in which tensors are names of folders, `tensor_<n>/{meta,out}`
    before 2021-11      `snapshot_done`, `<name>/{meta,out}`
    from 1.0            one pickle with the tensors as NumPy arrays in it

`meta` is a text with shape and type, `out` the content, little-endian in C order. Nothing named in a pickle is run,
and only regular files are read: a link to a device has no end.
"""

import mmap
import re
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from unetkit.errors import ModelFileError
from unetkit.legacy.archive import (
    MOST_TENSORS,
    Archive,
    Inert,
    Resolve,
    archive_of_state,
    one_line,
    to_tensor,
    unpickle,
)

SYSTEM = "OneFlow"

TYPES: dict[str, torch.dtype] = {
    "kBool": torch.bool,
    "kChar": torch.int8,
    "kInt8": torch.int8,
    "kUInt8": torch.uint8,
    "kInt16": torch.int16,
    "kUInt16": torch.uint16,
    "kInt32": torch.int32,
    "kUInt32": torch.uint32,
    "kInt64": torch.int64,
    "kUInt64": torch.uint64,
    "kFloat16": torch.float16,
    "kBFloat16": torch.bfloat16,
    "kFloat": torch.float32,
    "kDouble": torch.float64,
}
_ARRAY_TYPES: dict[str, torch.dtype] = {
    "b1": torch.bool,
    "i1": torch.int8,
    "u1": torch.uint8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
}

_HELD = frozenset({"oneflow Tensor", "oneflow.nn Parameter", "oneflow._oneflow_internal Tensor"})
_NAMES = _HELD | {
    "oneflow._oneflow_internal dtype",
    "numpy dtype",
    "numpy ndarray",
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy.core.numeric _frombuffer",
    "numpy._core.numeric _frombuffer",
}

_PICKLE, _DONE, _PARTS = "pickled_data", "snapshot_done", ("meta", "out")
_LARGEST_META = 4096
_META = re.compile(r"(?:shape\s*\{(?P<dims>[\sdim:0-9]*)\}\s*)?data_type:\s*(?P<type>\w+)\s*")


def read(path: Path) -> Archive | None:
    """Read a checkpoint; None for what is not OneFlow's.

    Raises:
        ModelFileError: cut short, or with tensors that contradict themselves, or a pickle that wants to run something.
    """
    if path.is_file() and path.name != _PICKLE:
        with path.open("rb") as file:
            head = file.read(4096)
        if not head.startswith(b"\x80") or b"protocol_version" not in head:
            return None
        return _archive(path, _unpickle(path), lambda value: array_of(path, value))
    folder = path.parent if path.is_file() else path
    pickled = folder / _PICKLE
    if pickled.is_file():
        cache: dict[str, Tensor] = {}

        def resolve(value: Any) -> Tensor | None:
            if not isinstance(value, Inert) or value.name not in _HELD:
                return None
            name = cast("dict[Any, Any]", value.state).get("path") if isinstance(value.state, dict) else None
            if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
                shown = repr(name[:100]) if isinstance(name, str) else f"a {type(name).__name__}"
                raise _unreadable(pickled, f"a tensor lies at {shown}, which is not a folder next to it")
            if name not in cache:
                cache[name] = read_tensor(folder / name)
            return cache[name]

        return _archive(folder, _unpickle(pickled), resolve)
    if not (folder / _DONE).exists():
        return None
    names = [place.name for place in sorted(folder.iterdir()) if all((place / part).is_file() for part in _PARTS)]
    if len(names) > MOST_TENSORS:
        raise _unreadable(folder, f"it holds more than {MOST_TENSORS:,} tensors")
    return _archive(folder, {name: read_tensor(folder / name) for name in names}, lambda value: value)


def _archive(path: Path, state: Any, resolve: Resolve) -> Archive:
    archive = archive_of_state(SYSTEM, state, resolve)
    if archive is None:
        raise _unreadable(path, "it holds no network")
    return archive


def _unpickle(path: Path) -> Any:
    """Return what flow.save was given, with an `Inert` for every tensor."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            envelope = unpickle(cast("BinaryIO", content), _NAMES)
    except (UnpicklingError, OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(envelope, dict) or "protocol_version" not in envelope or "data" not in envelope:
        raise _unreadable(path, "it is not what flow.save writes")
    return cast("dict[str, Any]", envelope)["data"]


def read_tensor(folder: Path) -> Tensor:
    """Read one tensor of a folder.

    Raises:
        ModelFileError: a file of it is missing, is not a regular one, or contradicts the other.
    """
    meta, out = (folder / part for part in _PARTS)
    try:
        sizes = [file.stat().st_size for file in (meta, out)]
        if not (meta.is_file() and out.is_file()):
            raise _unreadable(folder, "it holds a link to something that is not a file")
        match = _META.fullmatch(meta.read_bytes().decode(errors="replace") if sizes[0] <= _LARGEST_META else "")
        if match is None or match["type"] not in TYPES:
            raise _unreadable(meta, "it does not say a shape and a type")
        dtype, shape = TYPES[match["type"]], tuple(int(side) for side in re.findall(r"\d+", match["dims"] or ""))
        content = out.read_bytes() if sizes[1] == prod(shape) * dtype.itemsize else b""
    except OSError as error:
        raise _unreadable(folder, f"{error.strerror or error}") from None
    tensor = to_tensor(content, dtype, shape)
    if tensor is None:
        raise _unreadable(out, f"its {sizes[1]:,} bytes do not fill the shape {shape}")
    return tensor


def array_of(path: Path, value: Any) -> Tensor | None:
    """Return the tensor whose content is a NumPy array in the pickle; None for what is not a tensor of OneFlow's.

    Raises:
        ModelFileError: its array is missing, has a type that no network has, or contradicts its shape.
    """
    if not isinstance(value, Inert) or value.name not in _HELD:
        return None
    match value.state:
        case {"data": Inert(arguments=[_, _, _], state=[_, shape, Inert() as kind, fortran, content])}:
            order = "F" if fortran else "C"
        case {"data": Inert(arguments=[content, Inert() as kind, shape, order])}:
            pass
        case _:
            raise _unreadable(path, "a tensor without an array")
    name = kind.arguments[0] if kind.arguments else None
    state = cast("tuple[Any, ...]", kind.state) if isinstance(kind.state, tuple) else ()
    endian = state[1] if len(state) > 1 else "|"
    dtype = _ARRAY_TYPES.get(name) if isinstance(name, str) and endian in ("<", "|") else None
    sides: list[Any] = list(cast("tuple[Any, ...]", shape)) if isinstance(shape, tuple) else [None]
    if dtype is None or not isinstance(content, bytes | bytearray) or not all(isinstance(n, int) for n in sides):
        raise _unreadable(path, "a tensor of a type that no network has")
    tensor = to_tensor(bytes(content), dtype, tuple(sides if order == "C" else reversed(sides)))
    if tensor is None:
        raise _unreadable(path, f"a tensor of shape {tuple(sides)} has {len(content):,} bytes")
    return tensor if order == "C" else tensor.permute(tuple(reversed(range(len(sides)))))


def _unreadable(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"{path}: a OneFlow checkpoint that cannot be read: {one_line(reason)}; copy the checkpoint again"
    )
