"""Masks as files store them: what their values and their channels mean.

A `MaskMap` holds for all masks of a set; `kinds` finds it. Without a table, a mask with the values 0 and 255 (65535 in
16 bits) or 0 and 1 holds two classes, and any other mask holds class indices. A value that has no meaning is refused
unless a threshold was asked for: grey values between two classes come from anti-aliasing or from JPEG, and a threshold
would hide that the border has moved.

A channel of a mask may hold a class (0 and one other value), or the ids of a class's objects; where one channel is what
no other holds, it is the background, as in one-hot masks. Two channels of the same pixels, one with ids and one with a
class for each, are objects with classes. Three channels of 8 bits and more than 0 and 1 are colours: see `kinds`.

Legend of shapes: C channels, H height, W width, K classes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.config import MaskKind
from unetkit.errors import ConfigError, DataError, listed
from unetkit.images.image import Role

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NUMBER = re.compile(r"\d{1,9}")
_WHITES = (255, 65535)
_MOST_CLASSES = 40  # values of a channel of classes
_SAME = 0.98  # share of the pixels in which a channel is what no other holds, or two hold the same
_OVERLAP = 0.5  # share of the smaller of two channels from which they overlap much


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the masks of an image say; where a pixel does not count its class and id are 0.

    Attributes:
        labels: class indices [H, W] uint8 or uint16.
        instances: object ids [H, W] int32; None where the masks hold none.
        valid: the pixels that count [H, W] bool; None: all.
    """

    labels: NDArray[Any]
    instances: NDArray[np.int32] | None = None
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class MaskMap:
    """The meaning of mask values.

    Attributes:
        classes: the names of the classes, index 0 first.
        table: stored value -> class index; a colour's value is 0xRRGGBB. None: by the rules of this module.
        coloured: the masks are colours, and so are the keys of the table.
        kind: classes: values are classes; instances: every value or colour but 0 is an object, whose class a second
            channel may hold; binary: values from half of white on are the second class, others the first; channels: the
            keys of the table are channels, each of a class.
        objects: of channels: they hold ids.
        ignored: stored values that do not count.
        layers: the meaning of each mask where an image has several, one for each class but the first.
        words: what the values are taken for, for people.
        unsure: what else they could be; empty where that is plain.
    """

    classes: tuple[str, ...]
    table: dict[int, int] | None = None
    coloured: bool = False
    kind: MaskKind = "classes"
    ignored: frozenset[int] = frozenset()
    layers: "tuple[MaskMap, ...]" = ()
    words: str = ""
    unsure: str = ""
    objects: bool = False

    @classmethod
    def of(cls, mask_values: Mapping[str, int | Literal["ignore"]] | None, classes: Sequence[str]) -> "MaskMap":
        """Read the table of a configuration, such as {'0': 0, '255': 1} or {'#ff0000': 1, '#ffffff': 'ignore'}.

        Raises:
            ConfigError: a key that is neither a number nor a colour, both kinds mixed, or an index without a class.
        """
        if mask_values is None:
            return cls(tuple(classes))
        coloured = {_is_colour(key) for key in mask_values}
        if len(coloured) != 1:
            raise ConfigError("data.mask_values: numbers and colours are mixed, or it is empty; use one kind of key")
        for key, index in mask_values.items():
            if index != "ignore" and not 0 <= index < len(classes):
                raise ConfigError(
                    f"data.mask_values: {key} means class {index}, but there are {len(classes)} classes "
                    f"({', '.join(classes)}); name it in data.classes"
                )
        code_of = {key: int(key[1:], 16) if _is_colour(key) else int(key) for key in mask_values}
        table = {code_of[key]: index for key, index in mask_values.items() if index != "ignore"}
        ignored = frozenset(code_of[key] for key, index in mask_values.items() if index == "ignore")
        return cls(tuple(classes), table or None, coloured.pop(), ignored=ignored)

    @property
    def role(self) -> Role:
        """How a mask file has to be opened for `labels`."""
        return "colour-mask" if self.coloured else "mask"

    def mask_values(self) -> dict[str, int | Literal["ignore"]] | None:
        """Return the table as a configuration has it; None where there is none."""
        if self.table is None:
            return None
        found = {_shown(value, coloured=self.coloured): index for value, index in self.table.items()}
        return {**found, **{_shown(value, coloured=self.coloured): "ignore" for value in sorted(self.ignored)}}

    def decode(self, masks: Sequence[tuple[NDArray[Any], str]]) -> Decoded:
        """Return what the masks of an image say: one mask [C, H, W] and its source, or one for each of `layers`.

        Raises:
            DataError: as `labels`, or masks of different sizes.
        """
        if self.layers:
            labels = np.zeros(masks[0][0].shape[1:], np.uint8)
            for index, (layer, (stored, source)) in enumerate(zip(self.layers, masks, strict=True), 1):
                inside = layer.labels(stored, source) > 0
                if inside.shape != labels.shape:
                    raise DataError(f"{source}: is not as large as {masks[0][1]}; masks of an image must be")
                labels[inside] = index
            return Decoded(labels)
        ((stored, source),) = masks
        if self.kind == "channels" and self.table is not None:
            labels, instances = draw_channels(stored, self.table, objects=self.objects, source=source)
            return Decoded(labels, instances)
        valid: NDArray[np.bool_] | None = None
        if self.ignored:
            values = colour_codes(stored) if self.coloured else index_values(stored, source)
            valid = ~np.isin(values, list(self.ignored))
        if self.kind != "instances":
            labels = self.labels(stored, source)
            return Decoded(labels, valid=valid) if valid is None else Decoded(labels * valid, valid=valid)
        if len(self.classes) > 2:
            return self._with_classes(stored, source)
        values = colour_codes(stored) if self.coloured else index_values(stored, source)
        values = values if valid is None else values * valid
        if values.size and values.max() >= 2**31:
            values = np.unique(values, return_inverse=True)[1].reshape(values.shape)
        instances = values.astype(np.int32)
        return Decoded((instances > 0).astype(np.uint8), instances, valid)

    def _with_classes(self, stored: NDArray[Any], source: str) -> Decoded:
        """Return objects of a mask with ids in its first channel and their classes in the second."""
        if len(stored) != 2:
            raise DataError(f"{source}: a mask of {len(stored)} channels; ids and their classes, two, were expected")
        classes = index_values(stored[1:], source)
        if classes.max() >= len(self.classes):
            raise DataError(
                f"{source}: holds the class index {int(classes.max())}, but {len(self.classes)} classes are declared "
                f"({', '.join(self.classes)}); name it in data.classes"
            )
        return Decoded(classes.astype(np.uint8), index_values(stored[:1], source).astype(np.int32))

    def labels(self, stored: NDArray[Any], source: str) -> NDArray[Any]:
        """Return class indices [H, W], uint8 (uint16 above 256 classes), of a stored mask [C, H, W].

        Raises:
            DataError: a value without a meaning; the message names the file, the values and what was expected.
        """
        values = colour_codes(stored) if self.coloured else index_values(stored, source)
        if self.kind == "binary":
            return (values >= half_white(values)).astype(np.uint8)
        present = present_values(values)
        table = self.table
        if table is None:
            white = next((white for white in _WHITES if white in present and len(self.classes) == 2), 1)
            white = 1 if white in self.ignored else white
            table = {0: 0, white: 1} if white > 1 else {index: index for index in range(len(self.classes))}
        table = {**table, **dict.fromkeys(self.ignored, 0)}
        unknown = [value for value in present if value not in table]
        if unknown:
            raise DataError(f"{source}: {self._complaint(present, unknown, source)}")
        target = np.uint8 if len(self.classes) <= 256 else np.uint16
        indices = np.array([table[value] for value in present], np.uint16)
        if not is_small(values):
            return indices[np.searchsorted(np.array(present), values)].astype(target, copy=False)
        lookup = np.zeros(2 ** (8 * values.dtype.itemsize), np.uint16)
        lookup[present] = indices
        return lookup[values].astype(target, copy=False)

    def _complaint(self, present: list[int], unknown: list[int], source: str) -> str:
        shown = listed([_shown(value, coloured=self.coloured) for value in unknown], 4)
        if source.lower().endswith((".jpg", ".jpeg")):
            return (
                f"JPEG has blurred the mask (values {shown}); masks must be stored without loss, as PNG or TIFF: take "
                "the originals, or set data.mask_kind=binary if a border that is a pixel off does no harm"
            )
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
                f"save it with the values 0 and 255 or 0 to {top} alone, or set data.mask_kind=binary if a border that "
                "is a pixel off does no harm"
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


def half_white(values: NDArray[Any]) -> int:
    """Return the value from which on a mask is white: half of 255 or 65535, or 1 where it holds 0 and 1 alone."""
    highest = int(values.max()) if values.size else 0
    return 1 if highest <= 1 else 128 if highest <= 255 else 32768


def index_values(stored: NDArray[Any], source: str) -> NDArray[Any]:
    """Return the whole numbers [H, W] of a mask whose channels are equal."""
    values = stored[0]
    if not all(np.array_equal(values, channel) for channel in stored[1:]):
        if len(stored) != 3:
            raise DataError(
                f"{source}: a mask of {len(stored)} different channels; one value for each pixel was expected, as in "
                "the other masks; if all masks have a channel for each class, set data.mask_kind=channels"
            )
        found = str(stored.dtype)
        if stored.dtype == np.uint8:
            present = present_values(colour_codes(stored))
            found = ", ".join(_shown(code, coloured=True) for code in present[:4]) + (", ..." * (len(present) > 4))
        raise DataError(
            f"{source}: a coloured mask ({found}); say what its colours mean in data.mask_values, such as "
            "{'#000000': 0, '#ff0000': 1}"
        )
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype.kind in "ui":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind != "f" or not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise DataError(
            f"{source}: a mask of type {values.dtype} with values that are not whole numbers; class indices were "
            "expected: is this a probability map?"
        )
    return np.clip(values, -1, 2**31).astype(np.int64)


def colour_codes(stored: NDArray[Any]) -> NDArray[np.int64]:
    """Return 0xRRGGBB for every pixel of [1 or 3, H, W]; a grey value is the colour of that grey."""
    red, green, blue = stored if len(stored) == 3 else (stored[0],) * 3
    return (red.astype(np.int64) << 16) | (green.astype(np.int64) << 8) | blue.astype(np.int64)


def is_small(values: NDArray[Any]) -> bool:
    """Tell whether a table of every possible value is small."""
    return values.dtype.kind == "u" and values.dtype.itemsize <= 2


def present_values(values: NDArray[Any]) -> list[int]:
    """Return the values that occur, rising."""
    if is_small(values):
        counts = np.bincount(values.ravel(), minlength=1)
        return [int(value) for value in np.flatnonzero(counts)]
    return [int(value) for value in np.unique(values)]


@dataclass(frozen=True, slots=True)
class Channels:
    """What the channels of masks hold.

    Attributes:
        table: channel -> class index; empty where the first holds ids and the second the class of each.
        objects: channels hold ids.
        overlap: channels that share much of their pixels.
    """

    table: Mapping[int, int]
    objects: bool
    overlap: tuple[int, int] | None = None


def are_channels(stored: NDArray[Any]) -> bool:
    """Tell whether a mask [C, H, W] has channels of their own meaning: not one, not equal ones, no colours."""
    if len(stored) < 2 or all(np.array_equal(stored[0], channel) for channel in stored[1:]):
        return False
    return len(stored) != 3 or stored.dtype != np.uint8 or int(stored.max()) <= 1


def look_at_channels(masks: Sequence[NDArray[Any]]) -> Channels:
    """Tell what the channels of a sample of masks [C, H, W] hold.

    Raises:
        DataError: different numbers of channels.
    """
    count = len(masks[0])
    if any(len(mask) != count for mask in masks):
        raise DataError(f"masks of {sorted({len(mask) for mask in masks})} channels; one number was expected")
    inside = [mask != 0 for mask in masks]
    single = [all(len(np.unique(mask[channel])) <= 2 for mask in masks) for channel in range(count)]
    if count == 2 and _are_ids_and_classes(masks):
        return Channels({}, objects=True)
    area = [sum(int(mask[channel].sum()) for mask in inside) for channel in range(count)]
    rest = [channel for channel in range(count) if single[channel] and _is_rest(inside, channel)]
    background = max(
        (channel for channel in rest if channel in (0, count - 1)), key=lambda one: area[one], default=None
    )
    classes = [channel for channel in range(count) if channel != background]
    table = {channel: index for index, channel in enumerate(classes, 1)}
    table |= {} if background is None else {background: 0}
    shared = {
        pair: sum(int((mask[pair[0]] & mask[pair[1]]).sum()) for mask in inside)
        / max(1, min(area[one] for one in pair))
        for pair in combinations(classes, 2)
    }
    overlap = next((pair for pair, share in shared.items() if share > _OVERLAP), None)
    return Channels(table, not all(single[channel] for channel in classes), overlap=overlap)


def _is_rest(inside: Sequence[NDArray[np.bool_]], channel: int) -> bool:
    """Tell whether a channel holds nearly exactly what no other one does."""
    same = [float((mask[channel] != np.delete(mask, channel, 0).any(axis=0)).mean()) for mask in inside]
    return min(same) >= _SAME


def _are_ids_and_classes(masks: Sequence[NDArray[Any]]) -> bool:
    """Tell whether the second channel holds a small value for each of the more numbers in the first."""
    several = False
    for ids, classes in masks:
        inside = ids != 0
        pairs = np.unique(np.stack([ids, classes], -1)[inside].reshape(-1, 2), axis=0)
        one_each = len(pairs) == len(np.unique(pairs[:, 0])) and classes.max() <= _MOST_CLASSES
        if not one_each or float((inside == (classes != 0)).mean()) < _SAME:
            return False
        several |= len(pairs) > len(np.unique(pairs[:, 1]))
    return several


def draw_channels(
    stored: NDArray[Any], table: Mapping[int, int], *, objects: bool, source: str
) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """Return class indices [H, W] and object ids [H, W] of a mask [C, H, W]; where channels overlap the later counts.

    Args:
        stored: the mask.
        table: channel -> class index; channels that it does not name are left out.
        objects: whether channels hold ids, which count on from one channel to the next; else there are none.
        source: names the mask in messages.

    Raises:
        DataError: it has not the channels of the table.
    """
    if max(table) >= len(stored):
        raise DataError(
            f"{source}: a mask of {len(stored)} channels (numbered from 0), but channel {max(table)} is named"
        )
    labels, instances = np.zeros(stored.shape[1:], np.uint8), np.zeros(stored.shape[1:], np.int32)
    last = 0
    for channel, index in table.items():
        inside = stored[channel] != 0
        if index == 0 or not inside.any():
            continue
        labels[inside] = index
        ids = np.unique(stored[channel][inside], return_inverse=True)[1].reshape(-1) + 1
        instances[inside] = last + ids
        last += int(ids.max())
    return labels, instances if objects else None
