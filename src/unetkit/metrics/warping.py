"""The warping error of one slice: what no bending of the truth's borders can explain.

The truth is bent towards the prediction by flipping pixels whose flip changes no topology (simple points). What still
differs at the end is a topological error; splits and mergers of objects count, holes and lone objects do not.

Flipping is sequential by definition: in order of falling distance to the threshold, over and over until a round
flips nothing. Every pixel carries its eight neighbours as one byte, so that a look at a pixel is one look at a table.

Assumes binary truth. Does not know stacks or thresholds other than the one it is given.

Legend of shapes: M mismatches.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.thinning import label_components

_RADIUS = 20  # the evaluator's: half the side of the window in which a split is confirmed
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # (row, column), clockwise


def count_warping_errors(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], threshold: float
) -> tuple[int, int]:
    """Return how many pixels are splits and how many are mergers.

    Args:
        truth: [H, W], true where there is interior.
        probability: [H, W] of interior, float32 values held in float64.
        threshold: the prediction is interior where the probability is above it.

    Source: Jain et al. 2010, Boundary learning by optimization with topological constraints; the order of the flips
    and the kinds of mismatch are those of the ISBI 2012 challenge's evaluator.
    """
    if truth.all() or not truth.any():
        return 0, 0  # the evaluator cannot rescale a constant slice and then finds no object in it
    warped, left = _warp(truth, probability, threshold)
    return _classify(warped, left)


def _warp(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return the warped truth with a rim of one pixel, and the flat places in it that still differ."""
    rimmed = np.pad(truth, 1)
    places = _mismatches(truth, probability, threshold)
    left = np.array(_flip_simple_points(places, _neighbour_codes(rimmed), rimmed.shape[1]), np.intp)
    warped = rimmed.ravel()
    warped[places] ^= True
    warped[left] ^= True
    return warped.reshape(rimmed.shape), left


def _mismatches(truth: NDArray[np.bool_], probability: NDArray[np.float64], threshold: float) -> NDArray[np.intp]:
    """Return the places [M] of mismatches in the rimmed slice, the surest first, equals column by column."""
    columns, rows = np.nonzero((truth != (probability > threshold)).T)
    distance = np.abs(probability[rows, columns] - threshold).astype(np.float32)
    order = np.argsort(-distance, kind="stable")
    return (rows[order] + 1) * (truth.shape[1] + 2) + columns[order] + 1


def _neighbour_codes(rimmed: NDArray[np.bool_]) -> bytearray:
    """Return for every pixel one byte: bit k tells whether neighbour k of `_AROUND` is interior; the rim's are 0."""
    codes = np.zeros(rimmed.shape, np.uint8)
    height, width = rimmed.shape
    for bit, (down, right) in enumerate(_AROUND):
        shifted = rimmed[1 + down : height - 1 + down, 1 + right : width - 1 + right]
        codes[1:-1, 1:-1] |= shifted.astype(np.uint8) << bit
    return bytearray(codes.tobytes())


def _flip_simple_points(places: NDArray[np.intp], codes: bytearray, stride: int) -> list[int]:
    """Flip simple points in rounds over the places [M] until a round flips nothing; return the places that are left."""
    simple = _simple_codes()
    # Neighbour k sees the flipped pixel on its opposite side.
    steps = [(down * stride + right, 1 << (bit + 4) % 8) for bit, (down, right) in enumerate(_AROUND)]
    waiting: list[int] = []
    left: list[int] = places.tolist()
    while len(left) != len(waiting):
        waiting, left = left, []
        for place in waiting:
            if simple[codes[place]]:
                for step, bit in steps:
                    codes[place + step] ^= bit
            else:
                left.append(place)
    return left


@cache
def _simple_codes() -> bytes:
    """Return for each of the 256 neighbourhoods whether flipping its centre leaves the topology as it is.

    With 4-connected interior and 8-connected border that is so when Yokoi's connectivity number is 1: the sum over the
    four direct neighbours of x_k - x_k x_{k+1} x_{k+2} (Yokoi et al. 1975).
    """
    x = np.arange(256)[:, None] >> np.arange(8) & 1
    direct = np.arange(1, 8, 2)
    number = (x[:, direct] * (1 - x[:, (direct + 1) % 8] * x[:, (direct + 2) % 8])).sum(1)
    return (number == 1).astype(np.uint8).tobytes()


def _classify(warped: NDArray[np.bool_], left: NDArray[np.intp]) -> tuple[int, int]:
    """Return splits and mergers among the places `left` of the rimmed, warped truth."""
    components, _ = label_components(warped)
    components[[0, -1], :] = components[:, [0, -1]] = -1  # outside the slice there is no neighbour
    flat, interior = components.ravel(), warped.ravel()[left]
    steps = np.array([down * warped.shape[1] + right for down, right in _AROUND])
    around = np.sort(flat[left + steps[:, None]], axis=0)
    kinds = (around[0] >= 0) + ((np.diff(around, axis=0) != 0) & (around[1:] >= 0)).sum(0)
    splits = int(((kinds >= 3) & interior).sum())
    splits += sum(_splits_its_window(warped, place) for place in left[(kinds == 2) & interior])
    return splits, int(((kinds >= 3) & ~interior).sum())


def _splits_its_window(warped: NDArray[np.bool_], place: Any) -> bool:
    """Tell whether taking the pixel away leaves its neighbours in several pieces within the window round it."""
    row, column = divmod(int(place), warped.shape[1])
    height, width = warped.shape[0] - 2, warped.shape[1] - 2
    reach = max(height, width) if height < _RADIUS or width < _RADIUS else _RADIUS
    top, left = max(row - reach, 0), max(column - reach, 0)
    window = warped[top : row + reach + 1, left : column + reach + 1].copy()
    row, column = row - top, column - left
    window[row, column] = False
    components, _ = label_components(window)
    return len({int(components[row + down, column + right]) for down, right in _AROUND}) > 2
