"""Pickles that hold tensors, opened without running anything that they name.

A pickle is a program. Before it runs, every instruction is read: only those that build plain values are allowed, and a
memo place beyond what the pickle can fill is refused, because the interpreter would allocate up to it. Then it runs
with an inert class in place of every name; a name that the caller does not expect stops it. Reads of a file that is
mapped into memory cannot ask for more than it holds; the caller gives such a one.
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Set
from pickle import UnpicklingError
from typing import Any, BinaryIO, ClassVar, Self

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
