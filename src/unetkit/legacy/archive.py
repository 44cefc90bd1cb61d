"""What every reader of a older system's file gives: its tensors, still under that system's own names.

Tensors lie in the memory of the CPU, in the type and the layout of the file.

State dictionaries as PyTorch and OneFlow build them: a network's alone, or beside an optimizer's.

An optimizer numbers its parameters in the order of the network's, and keeps for each number `exp_avg`, `exp_avg_sq`
and, in PyTorch, its own `step`. OneFlow keeps one `step` for all.

Pickles that hold tensors, opened without running anything that they name.

A pickle is a program. Before it runs, every instruction is read: only those that build plain values are allowed, and a
memo place beyond what the pickle can fill is refused, because the interpreter would allocate up to it. Then it runs
with an inert class in place of every name; a name that the caller does not expect stops it. Reads of a file that is
mapped into memory cannot ask for more than it holds; the caller gives such a one.
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from math import isfinite, prod
from pickle import UnpicklingError
from typing import Any, BinaryIO, ClassVar, Self, cast

import torch
from torch import Tensor

MOST_TENSORS = 100_000
"""No network comes near; a damaged or hostile file may."""

LONGEST_NAME = 4096
"""In bytes; the same."""

_MOST_AXES = 16
_LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Archive:
    """The content of a checkpoint.

    Attributes:
        system: who wrote it, as it is called in messages, such as "MindSpore".
        tensors: everything that may belong to the network, by the system's name.
        first: Adam's first moments, by the name of the parameter.
        second: Adam's second moments, by the name of the parameter.
        step: updates of the weights so far, where the file says it.
        left_out: names of the values that have no place in a network.
    """

    system: str
    tensors: dict[str, Tensor]
    first: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    second: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    step: int | None = None
    left_out: tuple[str, ...] = ()


def to_tensor(content: bytes | memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor | None:
    """Return a tensor of little-endian bytes in C order, in new memory; None where sizes disagree or are 0."""
    if len(shape) > _MOST_AXES or not all(0 < side < 1 << 40 for side in shape):
        return None
    if prod(shape) * dtype.itemsize != len(content):
        return None
    return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


def one_line(text: object) -> str:
    """Return what a damaged file says of itself in a form for a message: printable, on one line, not long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:_LONGEST_QUOTE])
    return line if len(line) < _LONGEST_QUOTE else f"{line}..."


def whole_number(tensor: Tensor | None) -> int | None:
    """Return the value of a tensor with one element, rounded; None for any other and for what is no number."""
    if tensor is None or tensor.numel() != 1 or tensor.is_complex():
        return None
    number = float(tensor)
    return round(number) if isfinite(number) else None


Resolve = Callable[[Any], Tensor | None]
"""Gives the tensor that a value is or stands for, or None."""

_NETWORKS = ("net", "model", "state_dict", "model_state_dict", "network")
_OPTIMIZERS = ("opt", "optimizer", "optimizer_state_dict")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def archive_of_state(system: str, content: Any, resolve: Resolve) -> Archive | None:
    """Return what a saved state holds, or None where no network is in it.

    Args:
        system: who wrote it, for messages.
        content: the unpickled value.
        resolve: gives the tensor of a value.
    """
    top = _mapping(content)
    states = (top, *(_mapping(top.get(key)) for key in _NETWORKS))
    network = next((state for state in states if len(state) <= MOST_TENSORS and _named(state, resolve)), None)
    if network is None:
        return None
    tensors = _named(network, resolve)
    optimizer = _mapping(next((top[key] for key in _OPTIMIZERS if key in top), None))
    first, second, step = _adam(optimizer, [name for name in tensors if not name.endswith(_BUFFERS)], resolve)
    left_out = [str(name) for name in network if name not in tensors]
    if network is not top:
        left_out += [str(name) for name in top if name not in (*_NETWORKS, *_OPTIMIZERS)]
    return Archive(system, tensors, first, second, step, tuple(left_out))


def _named(state: Mapping[Any, Any], resolve: Resolve) -> dict[str, Tensor]:
    found = ((name, resolve(value)) for name, value in state.items() if isinstance(name, str))
    return {name: tensor for name, tensor in found if tensor is not None}


def _adam(
    optimizer: Mapping[Any, Any], names: list[str], resolve: Resolve
) -> tuple[dict[str, Tensor], dict[str, Tensor], int | None]:
    """Return both moments by the name of the parameter, and the step."""
    state, groups = _mapping(optimizer.get("state")), optimizer.get("param_groups")
    groups = cast("list[Any]", groups) if isinstance(groups, list) else []
    keys = [key for group in groups for key in _list(_mapping(group).get("params"))]
    if len(keys) != len(names):
        return {}, {}, None
    slots = {name: _mapping(state.get(key)) for key, name in zip(keys, names, strict=True) if isinstance(key, int)}
    first = {name: tensor for name, slot in slots.items() if (tensor := resolve(slot.get("exp_avg"))) is not None}
    second = {name: tensor for name, slot in slots.items() if (tensor := resolve(slot.get("exp_avg_sq"))) is not None}
    steps = (state.get("step"), *(slot.get("step") for slot in slots.values()))
    return first, second, next((number for step in steps if (number := _step(step, resolve)) is not None), None)


def _step(step: Any, resolve: Resolve) -> int | None:
    return step if isinstance(step, int) else whole_number(resolve(step))


def _mapping(value: Any) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


_ALLOWED = frozenset[str]().union(
    ("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    ("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    ("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
    ("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"),
)
_MOST_INSTRUCTIONS = 5_000_000
_DICTIONARY = "collections OrderedDict"


class Inert:
    """Stands for an object whose class is not there: keeps its arguments and its state, and does nothing.

    Attributes:
        name: "module name" of the class.
        arguments: what its constructor was to get.
        state: what it was to be set to.
    """

    name: ClassVar[str] = ""

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        """Keep the arguments; pickles may skip the constructor, but not this."""
        held = super().__new__(cls)
        held.arguments, held.state = arguments, None
        return held

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


def unpickle(file: BinaryIO, names: Set[str]) -> Any:
    """Return the value of a pickle, with an `Inert` for every object of a class.

    Args:
        file: at the pickle's start; it must be able to seek.
        names: the "module name" of classes and functions that may occur; an OrderedDict always may.

    Raises:
        UnpicklingError: a forbidden instruction or name, or no whole pickle.
    """
    start = file.tell()
    try:
        _check(file)
        file.seek(start)
        return _Unpickler(file, names).load()
    except UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can fail in any of the interpreter's ways
        raise UnpicklingError(f"{type(error).__name__}: {error}") from None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, names: Set[str]) -> None:
        super().__init__(file)
        self._names = names

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name} {global_name}"
        if name == _DICTIONARY:
            return OrderedDict
        if name not in self._names:
            raise UnpicklingError(f"it asks for {name[:100]!r}, which no tensor needs")
        return type("Inert", (Inert,), {"name": name})


def _check(file: BinaryIO) -> None:
    for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        if instruction.name not in _ALLOWED:
            raise UnpicklingError(f"it holds the instruction {instruction.name}, which no tensor needs")
        if instruction.name in ("BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > count:
            raise UnpicklingError("it numbers its values beyond how many there are")
        if count > _MOST_INSTRUCTIONS:
            raise UnpicklingError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
