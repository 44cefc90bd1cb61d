"""Masks of several channels: what each channel holds, and how labels and objects are made of them.

A channel may hold a class (0 and one other value), or the ids of a class's objects; where one channel is what no other
holds, it is the background, as in one-hot masks. Two channels of the same pixels, one with ids and one with a class for
each, are objects with classes. Three channels of 8 bits and more than 0 and 1 are colours, which `kinds` reads.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError

_MOST_CLASSES = 40  # values of a channel of classes
_SAME = 0.98  # share of the pixels in which a channel is what no other holds, or two hold the same
_OVERLAP = 0.5  # share of the smaller of two channels from which they overlap much


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
