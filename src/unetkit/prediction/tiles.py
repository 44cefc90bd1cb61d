"""Where an image is cut, what the network must see for each piece, and how pieces are joined: integers and weights.

An axis is divided into spans that meet at cuts. A span's own pixels lie between two cuts; where the network sees less
than it would like to, neighbouring spans are blended across their cut, with weights that add up to one. Cuts are
multiples of the network's pooling grid. A window is what has to be read for a span; its ends lie on the grid, or on the
border of the image, so that the network pools and pads there as it would in the whole image.

Assumes that a padded network pads below and to the right of what it is given. Does not know pixels, networks or memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetkit.models.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of an axis, in pixels.

    Attributes:
        low: first pixel of its own.
        high: the pixel after its last.
        rise: on this many pixels on either side of `low` it is blended with the span before.
        fall: on this many pixels on either side of `high` it is blended with the span after.
    """

    low: int
    high: int
    rise: int = 0
    fall: int = 0

    @property
    def begin(self) -> int:
        """The first pixel that the span has a share in."""
        return self.low - self.rise

    @property
    def end(self) -> int:
        """The pixel after the last that the span has a share in."""
        return self.high + self.fall

    def weights(self) -> NDArray[np.float32]:
        """Return its share in the pixels from `begin` to `end`: a cosine ramp across each blended cut, 1 elsewhere."""
        weights = np.ones(self.end - self.begin, np.float32)
        if self.rise:
            weights[: 2 * self.rise] = _ramp(2 * self.rise)
        if self.fall:
            weights[-2 * self.fall :] = 1 - _ramp(2 * self.fall)
        return weights


@dataclass(frozen=True, slots=True)
class Window:
    """What the network is given along one axis: pixels from `start` to `stop`, mirrored outside the image.

    The network answers for the pixels from `first` on.
    """

    start: int
    stop: int
    first: int


@dataclass(frozen=True, slots=True)
class Grid:
    """How tiles have to lie.

    Attributes:
        geometry: of the network.
        context: pixels that a tile answers for beyond its span's own, on each side; a multiple of `geometry.multiple`.
    """

    geometry: Geometry
    context: int

    def window_side(self, side: int) -> int:
        """Return the length of the window that a tile which answers for `side` pixels of an axis needs."""
        return self.geometry.fitting_input_size(side) if self.geometry.margin else side

    def answered_side(self, window: int) -> int:
        """Return for how many pixels of an axis, on the grid, a window of this length answers.

        It is never less than leaves a span pixels of its own, though a longer window may be needed for that.
        """
        multiple, offset = self.geometry.multiple, self.geometry.offset
        answered = align_down(window - offset, multiple) + offset - 2 * self.geometry.margin
        return max(align_down(answered, multiple), 2 * self.context + multiple)


def align_down(position: int, multiple: int) -> int:
    """Return the last multiple that is not after `position`."""
    return position // multiple * multiple


def align_up(position: int, multiple: int) -> int:
    """Return the first multiple that is not before `position`."""
    return -(-position // multiple) * multiple


def count_spans(length: int, *, tile: int, grid: Grid) -> int:
    """Return into how many spans an axis must be divided so that no window is longer than `tile`."""
    side = grid.answered_side(tile)
    if grid.window_side(length) <= tile or length <= side:
        return 1
    return 1 + -(-align_up(length - side, grid.geometry.multiple) // (side - 2 * grid.context))


def side_for(length: int, *, count: int, grid: Grid) -> int:
    """Return for how many pixels each of `count` equal tiles that cover an axis answers."""
    if count == 1:
        return length
    return align_up(-(-(length + 2 * (count - 1) * grid.context) // count), grid.geometry.multiple)


def divide(length: int, *, tile: int, grid: Grid, blend: bool, full: bool = False) -> tuple[Span, ...]:
    """Divide an axis of `length` pixels evenly, so that no window is longer than `tile`.

    A tile that would leave a span no pixels of its own is taken as the smallest that does. With `blend`, neighbouring
    spans share up to `grid.context` pixels on either side of their cut. With `full`, the last window ends with the
    axis and is as long as `tile`, to the grid: where every window costs as much as a whole one, none is shortened.
    """
    count = count_spans(length, tile=tile, grid=grid)
    if count == 1:
        return (Span(0, length),)
    multiple = grid.geometry.multiple
    side = grid.answered_side(tile) if full else side_for(length, count=count, grid=grid)
    last = align_up(length - side, multiple) // multiple
    starts = [multiple * (number * last // (count - 1)) for number in range(count)]
    cuts = [0, *(start + grid.context for start in starts[1:]), length]
    own = [high - low for low, high in zip(cuts, cuts[1:], strict=False)]
    reach = grid.context if blend else 0
    ramps = [0, *(min(reach, left // 2, right // 2) for left, right in zip(own, own[1:], strict=False)), 0]
    return tuple(Span(cuts[n], cuts[n + 1], ramps[n], ramps[n + 1]) for n in range(count))


def window(low: int, high: int, *, length: int, grid: Grid) -> Window:
    """Return what the network must be given to answer for the pixels from `low` to `high` of an axis."""
    geometry = grid.geometry
    first = max(0, align_down(low - grid.context, geometry.multiple))
    last = min(length, align_up(high + grid.context, geometry.multiple))
    start = first - geometry.margin
    return Window(start, start + grid.window_side(last - first), first)


def mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return the indices of the pixels from `start` to `stop`, mirrored at the borders as often as needed.

    The border pixel itself is not repeated; an axis of one pixel is that pixel everywhere.
    """
    period = max(1, 2 * (length - 1))
    folded = np.arange(start, stop, dtype=np.intp) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def _ramp(width: int) -> NDArray[np.float32]:
    """Return a rise from 0 to 1 whose reverse is what is missing to 1."""
    places = (np.arange(width) + 0.5) / width
    return ((1 - np.cos(np.pi * places)) / 2).astype(np.float32)
