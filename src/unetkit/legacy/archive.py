"""What every reader of an older system's file gives: its tensors, still under that system's own names.

Tensors lie in the memory of the CPU, in the type and the layout of the file. Three parts:

* `Archive`, and what turns bytes into tensors and texts into messages;
* state dictionaries as PyTorch and OneFlow build them: a network's alone, or next to an optimizer's. An optimizer
  numbers its parameters in the order of the network's, and keeps for each number `exp_avg`, `exp_avg_sq` and, in
  PyTorch, its own `step`. OneFlow keeps one `step` for all;
* pickles that hold tensors, opened without running anything that they name. A pickle is a program. Before it runs,
  every instruction is read: only those that build plain values are allowed, and what would take memory or time out of
  proportion is refused. Then it runs with an inert class in place of every name; a name that the caller does not expect
  stops it. Reads of a file that is mapped into memory cannot ask for more than it holds; the caller gives such a one.
"""

import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain, islice
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
        step: updates of the weights so far, where the file has it.
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


def to_bytes(tensor: Tensor) -> bytes:
    """Return the content of a tensor, little-endian in C order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def one_line(text: object, longest: int = _LONGEST_QUOTE) -> str:
    """Return text of a damaged file in a form for a message: printable, on one line, not longer than that."""
    line = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:longest])
    return line if len(line) < longest else f"{line}..."


def whole_number(tensor: Tensor | None) -> int | None:
    """Return the value of a tensor with one element, rounded; None for any other and for what is not a number."""
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
    """Return what a saved state holds once it is unpickled; None where it holds no network."""
    top = _mapping(content)
    states = (top, *(_mapping(top.get(key)) for key in _NETWORKS))
    network = next((state for state in states if len(state) <= MOST_TENSORS and _tensors(state, resolve)), None)
    if network is None:
        return None
    tensors = _tensors(network, resolve)
    left_out = [str(name) for name in network if name not in tensors]
    if network is not top:
        left_out += [str(name) for name in top if name not in (*_NETWORKS, *_OPTIMIZERS)]

    optimizer = _mapping(next((top[key] for key in _OPTIMIZERS if key in top), None))
    state = _mapping(optimizer.get("state"))
    names = [name for name in tensors if not name.endswith(_BUFFERS)]
    params = (_list(_mapping(group).get("params")) for group in _list(optimizer.get("param_groups")))
    keys = list(islice(chain.from_iterable(params), len(names) + 1))  # groups may share one list of any length
    if len(keys) != len(names):
        return Archive(system, tensors, left_out=tuple(left_out))
    slots = {name: _mapping(state.get(key)) for key, name in zip(keys, names, strict=True) if isinstance(key, int)}
    found = (state.get("step"), *(slot.get("step") for slot in slots.values()))
    steps = (step if isinstance(step, int) else whole_number(resolve(step)) for step in found)
    first, second = (
        {name: tensor for name, slot in slots.items() if (tensor := resolve(slot.get(key))) is not None}
        for key in ("exp_avg", "exp_avg_sq")
    )
    step = next((step for step in steps if step is not None), None)
    return Archive(system, tensors, first, second, step, tuple(left_out))


def _tensors(state: Mapping[Any, Any], resolve: Resolve) -> dict[str, Tensor]:
    found = ((name, resolve(value)) for name, value in state.items() if isinstance(name, str))
    return {name: tensor for name, tensor in found if tensor is not None}


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
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_MOST_INSTRUCTIONS = 5_000_000
_LARGEST_TUPLE = 1000


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


class _OrderedDict(dict[Any, Any]):
    """Stands for an OrderedDict: takes no items when it is made, and no attributes afterwards."""

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Forget the attributes, such as the `_metadata` of a state dictionary."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, names: Set[str]) -> None:
        super().__init__(file)
        self._names = names

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name} {global_name}"
        if name == "collections OrderedDict":
            return _OrderedDict
        if name not in self._names:
            raise UnpicklingError(f"it asks for {name[:100]!r}, which no tensor needs")
        return type("Inert", (Inert,), {"name": name})


def unpickle(file: BinaryIO, names: Set[str]) -> Any:
    """Return the value of a pickle, with an `Inert` for every object of a class.

    Args:
        file: at the pickle's start; it must be able to seek.
        names: the "module name" of classes and functions that may occur; an OrderedDict always may.

    Raises:
        UnpicklingError: a forbidden instruction or name, or not a whole pickle.
    """
    start = file.tell()
    try:
        for count, (name, argument) in enumerate(instructions(file)):
            if name not in _ALLOWED:
                raise UnpicklingError(f"it holds the instruction {name}, which no tensor needs")
            # The interpreter allocates its memo up to the largest number.
            if name in _PUTS and isinstance(argument, int) and argument > count:
                raise UnpicklingError("it numbers its values beyond how many there are")
        file.seek(start)
        return _Unpickler(file, names).load()
    except UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can fail in any of the interpreter's ways
        raise UnpicklingError(f"{type(error).__name__}: {error}") from None


def instructions(file: BinaryIO | bytes) -> Iterator[tuple[str, Any]]:
    """Yield the names and arguments of a pickle's instructions, without running them.

    What they would put on the stack is followed as far as it is needed to know the size of tuples: a tuple may hold
    another one many times, and that one the next, so that a kilobyte describes a key that takes years to hash.

    Raises:
        UnpicklingError: more than 5,000,000 instructions, or a tuple of 1,000 values or more, where what is in it
            several times counts as often.
        ValueError, IndexError, KeyError: not a pickle.
    """
    sizes, marks, memo = list[int](), list[int](), dict[Any, int]()  # a size for every value on the stack
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        name, taken = opcode.name, opcode.stack_before
        if count > _MOST_INSTRUCTIONS:
            raise UnpicklingError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
        yield name, argument
        if name == "MARK":
            marks.append(len(sizes))
        elif name == "POP" and marks and marks[-1] == len(sizes):
            marks.pop()
        elif name in _PUTS or name == "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else argument] = sizes[-1]
        elif name in _GETS:
            sizes.append(memo[argument])
        else:
            below, held = len(taken), list[int]()
            if pickletools.markobject in taken:
                below, mark = taken.index(pickletools.markobject), marks.pop()
                held, sizes[mark:] = sizes[mark:], []
            if below:
                held += sizes[-below:]
                del sizes[-below:]
            size = 1 + sum(held) if "TUPLE" in name else 1
            if size > _LARGEST_TUPLE:
                raise UnpicklingError(f"a tuple in it holds {_LARGEST_TUPLE:,} values or more")
            sizes += [size] * len(opcode.stack_after)
