"""What a stored mask value means: from grey values, class indices or colours to class indices 0 .. K-1.

Without a table, a mask with the values 0 and 255 (65535 in 16 bits) or 0 and 1 holds two classes, and any other mask
holds class indices. A value that has no meaning is refused, never rounded: grey values between two classes come from
anti-aliasing or from JPEG, and a threshold would hide that the border has moved.

Legend of shapes: C channels, H height, W width, K classes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.pages import Role
from unetkit.errors import ConfigError, DataError

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NUMBER = re.compile(r"\d{1,9}")
_WHITES = (255, 65535)


@dataclass(frozen=True, slots=True)
class MaskMap:
    """The meaning of mask values.

    Attributes:
        classes: the names of the classes, index 0 first.
        table: stored value -> class index; a colour's value is 0xRRGGBB. None: by the rules of this module.
        coloured: the keys of the table are colours.
    """

    classes: tuple[str, ...]
    table: dict[int, int] | None = None
    coloured: bool = False

    @classmethod
    def of(cls, mask_values: Mapping[str, int] | None, classes: Sequence[str]) -> "MaskMap":
        """Read the table of a configuration, such as {'0': 0, '255': 1} or {'#ff0000': 1}.

        Raises:
            ConfigError: a key that is neither a number nor a colour, both kinds mixed, or an index without a class.
        """
        if mask_values is None:
            return cls(tuple(classes))
        coloured = {_is_colour(key) for key in mask_values}
        if len(coloured) != 1:
            raise ConfigError("data.mask_values: numbers and colours are mixed, or it is empty; use one kind of key")
        for key, index in mask_values.items():
            if not 0 <= index < len(classes):
                raise ConfigError(
                    f"data.mask_values: {key} means class {index}, but there are {len(classes)} classes "
                    f"({', '.join(classes)}); name it in data.classes"
                )
        table = {int(key[1:], 16) if _is_colour(key) else int(key): index for key, index in mask_values.items()}
        return cls(tuple(classes), table, coloured.pop())

    @property
    def role(self) -> Role:
        """How a mask file has to be opened for `labels`."""
        return "colour-mask" if self.coloured else "mask"

    def labels(self, stored: NDArray[Any], source: str) -> NDArray[Any]:
        """Return class indices [H, W], uint8 (uint16 above 256 classes), of a stored mask [C, H, W].

        Raises:
            DataError: a value without a meaning; the message names the file, the values and what was expected.
        """
        values = _colour_codes(stored) if self.coloured else _whole_numbers(_grey(stored, source), source)
        present = _present(values)
        table = self.table or self._usual_table(present)
        unknown = [value for value in present if value not in table]
        if unknown:
            raise DataError(f"{source}: {self._complaint(present, unknown, source)}")
        target = np.uint8 if len(self.classes) <= 256 else np.uint16
        return _look_up(values, present, table).astype(target, copy=False)

    def _usual_table(self, present: list[int]) -> dict[int, int]:
        if len(self.classes) == 2:
            for white in _WHITES:
                if white in present:
                    return {0: 0, white: 1}
        return {index: index for index in range(len(self.classes))}

    def _complaint(self, present: list[int], unknown: list[int], source: str) -> str:
        shown = ", ".join(_shown(value, coloured=self.coloured) for value in unknown[:4])
        shown += f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
        if source.lower().endswith((".jpg", ".jpeg")):
            return f"JPEG has blurred the mask (values {shown}); masks must be stored without loss, as PNG or TIFF"
        if self.table is not None:
            return f"holds {shown}, which data.mask_values does not name; add it there, or save the mask anew"
        top = len(self.classes) - 1
        if set(present) <= {0, *_WHITES}:
            return (
                f"holds 0 and {max(present)}, but {top + 1} classes are declared, whose indices are 0 to {top}; "
                f"declare two classes, or set data.mask_values={{'0': 0, '{max(present)}': 1}}"
            )
        between = [value for value in unknown if value not in _WHITES]
        if between and (present[-1] in _WHITES or len(between) > 32):
            return (
                f"holds grey values between its classes ({shown}): anti-aliased or resized with interpolation; "
                f"save it with the values 0 and 255 or 0 to {top} alone"
            )
        return (
            f"holds the class indices {shown}, but {top + 1} classes are declared ({', '.join(self.classes)}), whose "
            f"indices are 0 to {top}; name the classes in data.classes, or map the values in data.mask_values"
        )


def _is_colour(key: str) -> bool:
    if _COLOUR.fullmatch(key):
        return True
    if _NUMBER.fullmatch(key):
        return False
    raise ConfigError(f"data.mask_values: '{key}' is neither a number such as 255 nor a colour such as #ff0000")


def _shown(value: int, *, coloured: bool) -> str:
    return f"#{value:06x}" if coloured else str(value)


def _grey(stored: NDArray[Any], source: str) -> NDArray[Any]:
    """Return [H, W] of a mask whose channels are equal."""
    if len(stored) == 1:
        return stored[0]
    if not all(np.array_equal(stored[0], channel) for channel in stored[1:]):
        raise DataError(
            f"{source}: a coloured mask ({_some_colours(stored)}); say what its colours mean in data.mask_values, "
            "such as {'#000000': 0, '#ff0000': 1}"
        )
    return stored[0]


def _some_colours(stored: NDArray[Any]) -> str:
    if stored.dtype != np.uint8:
        return str(stored.dtype)
    present = _present(_colour_codes(stored))
    return ", ".join(_shown(code, coloured=True) for code in present[:4]) + (", ..." if len(present) > 4 else "")


def _colour_codes(stored: NDArray[Any]) -> NDArray[np.int64]:
    """Return 0xRRGGBB for every pixel of [1 or 3, H, W]; a grey value is the colour of that grey."""
    red, green, blue = stored if len(stored) == 3 else (stored[0],) * 3
    return (red.astype(np.int64) << 16) | (green.astype(np.int64) << 8) | blue.astype(np.int64)


def _whole_numbers(values: NDArray[Any], source: str) -> NDArray[Any]:
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype.kind in "ui":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind != "f" or not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise DataError(
            f"{source}: a mask of type {values.dtype} with values that are no whole numbers; class indices were "
            "expected: is this a probability map?"
        )
    return np.clip(values, -1, 2**31).astype(np.int64)


def _is_small(values: NDArray[Any]) -> bool:
    """Tell whether a table of every possible value is small."""
    return values.dtype.kind == "u" and values.dtype.itemsize <= 2


def _present(values: NDArray[Any]) -> list[int]:
    if _is_small(values):
        counts = np.bincount(values.ravel(), minlength=1)
        return [int(value) for value in np.flatnonzero(counts)]
    return [int(value) for value in np.unique(values)]


def _look_up(values: NDArray[Any], present: list[int], table: Mapping[int, int]) -> NDArray[Any]:
    if _is_small(values):
        lookup = np.zeros(2 ** (8 * values.dtype.itemsize), np.uint16)
        lookup[present] = [table[value] for value in present]
        return lookup[values]
    places = np.searchsorted(np.array(present), values)
    return np.array([table[value] for value in present], np.uint16)[places]
