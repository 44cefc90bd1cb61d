"""Where an image is cut into tiles, what the network must see for each, and how tiles are joined: integers and weights.

An axis is divided into spans that meet at cuts. A span's own pixels lie between two cuts; where the network sees less
than it would like to, neighbouring spans are blended across their cut, with weights that add up to one. Cuts are
multiples of the network's pooling grid. A window is what has to be read for a span; its ends lie on the grid, or on
the border of the image, so that the network pools and pads there as it would in the whole image.

Where the configuration names no tile, it is chosen by memory: of all grids of tiles that fit into what is allowed in
one call of the network, the one that computes the fewest pixels. Each tile sees the network's whole receptive field,
so that the result is the untiled one. A tile that is named may be too small for that: it then sees what leaves it a
quarter of its side, neighbouring tiles are blended, and the plan says so in words.

What one pixel costs in memory is found by following three small forward passes. The tensors that the network's
modules take and return are counted while they live. At every step their bytes are a quadratic function of the image's
side, whose leading coefficient three sides give exactly. What is computed outside torch's modules is not seen, nor
the scratch space of single operations, which is small for convolutions in channels-last layout.

Assumes that a padded network pads below and to the right of what it is given.

Legend of shapes: N batch, C channels, H height, W width.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from unetkit.config import PredictConfig
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


def shifted(part: slice, origin: int) -> slice:
    """Return a part of an axis as it is counted from an origin."""
    return slice(part.start - origin, part.stop - origin)


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


def _ramp(width: int) -> NDArray[np.float32]:
    """Return a rise from 0 to 1 whose reverse is what is missing to 1."""
    x = (np.arange(width) + 0.5) / width
    return ((1 - np.cos(np.pi * x)) / 2).astype(np.float32)


_CONTEXT_OF_WHOLE_IMAGE_NORMS = 64
"""Pixels over which tiles are blended where no context would make them equal to the whole."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tiles of one image.

    Attributes:
        rows: from the top.
        columns: from the left.
        grid: how their windows lie.
        note: one sentence where the result may differ from an untiled prediction; None where it does not.
        at_once: the image is finished in one part, because it is resized or its gaps are closed as a whole.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    grid: Grid
    note: str | None = None
    at_once: bool = False

    @property
    def parts(self) -> int:
        """In how many parts the prediction is finished: tiles, or rows of them where they are blended."""
        if self.at_once:
            return 1
        return len(self.rows) * (len(self.columns) if self.note is None else 1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tile may cost.

    Attributes:
        pixels: as many may be in one call of the network.
        blended_pixels: each pixel of a row of blended tiles costs as much as this many pixels in the network.
    """

    pixels: float
    blended_pixels: float = 0.0


def make_plan(height: int, width: int, *, geometry: Geometry, config: PredictConfig, allowance: Allowance) -> Plan:
    """Plan the tiles of an image of `height` x `width` pixels; `allowance` counts where `config.tile` is None."""
    grid, note = grid_of(geometry, config), difference(geometry, config)
    blend, full = note is not None, geometry.fixed is not None
    named = geometry.fixed or ((config.tile, config.tile) if config.tile else None)
    tile = named or _affordable(height, width, grid=grid, allowance=allowance, blend=blend)
    rows = divide(height, tile=tile[0], grid=grid, blend=blend, full=full)
    columns = divide(width, tile=tile[1], grid=grid, blend=blend, full=full)
    if len(rows) == len(columns) == 1:
        note = None
        if geometry.fixed is not None and not geometry.margin:
            padded = [geometry.padded_size(side) for side in (height, width, *geometry.fixed)]
            if padded[:2] != padded[2:]:
                size = " x ".join(map(str, geometry.fixed))
                note = (
                    f"the network takes {size} px only: of smaller images the last row and column are repeated, and "
                    "results near the border may differ"
                )
    return Plan(rows, columns, grid, note)


def grid_of(geometry: Geometry, config: PredictConfig) -> Grid:
    """Return how the tiles of a network have to lie."""
    return Grid(geometry, _context(geometry, config))


def difference(geometry: Geometry, config: PredictConfig) -> str | None:
    """Say in one sentence why tiles may differ from an untiled prediction; None: they do not."""
    if geometry.overlap is None:
        larger = "more predict.memory" if config.tile is None else "a larger predict.tile"
        return (
            "the network's norms average over all that it sees, or how far it sees is not known: where an image is cut "
            f"into tiles, results may differ from an untiled prediction; {larger} makes fewer of them"
        )
    context = _context(geometry, config)
    if context >= geometry.overlap:
        return None
    if geometry.fixed is not None:
        remedy = "a file of a larger size"
    elif config.overlap is not None:
        remedy = f"predict.overlap={geometry.overlap}"
    else:
        enough = -(-geometry.overlap * 8 // 3) + 2 * geometry.margin
        remedy = f"predict.tile={align_up(enough, geometry.multiple)} or more"
    return (
        f"tiles overlap by {context} px on each side, the network sees {geometry.overlap}: results may differ from an "
        f"untiled prediction near tile edges; {remedy} makes them equal"
    )


def _context(geometry: Geometry, config: PredictConfig) -> int:
    if config.overlap is not None:
        return align_up(config.overlap, geometry.multiple)
    wanted = geometry.overlap
    if wanted is None:
        wanted = align_up(_CONTEXT_OF_WHOLE_IMAGE_NORMS, geometry.multiple)
    if geometry.fixed is not None:
        return min(wanted, _most_context(Grid(geometry, 0).answered_side(min(geometry.fixed)), geometry))
    if config.tile is None:
        return wanted
    return min(wanted, max(geometry.multiple, _most_context(config.tile - 2 * geometry.margin, geometry)))


def _most_context(answered: int, geometry: Geometry) -> int:
    """Return the context that leaves a span a quarter of its tile: beyond that, tiles cost more than they are worth."""
    return align_down(answered * 3 // 8, geometry.multiple)


def _affordable(height: int, width: int, *, grid: Grid, allowance: Allowance, blend: bool) -> tuple[int, int]:
    """Return height and width of the tiles that fit the allowance and compute the fewest pixels."""
    if grid.window_side(height) * grid.window_side(width) <= allowance.pixels:
        return grid.window_side(height), grid.window_side(width)
    smallest = grid.window_side(2 * grid.context + grid.geometry.multiple)
    best, fewest = (smallest, smallest), float("inf")
    for rows in count(1):
        tall = grid.window_side(side_for(height, count=rows, grid=grid))
        left = allowance.pixels - (allowance.blended_pixels * tall * width if blend else 0)
        wide = min(int(left / tall), grid.window_side(width))
        if wide >= min(smallest, grid.window_side(width)):
            columns = count_spans(width, tile=wide, grid=grid)
            pixels = _computed(height, rows, grid) * _computed(width, columns, grid)
            if pixels < fewest:
                best, fewest = (tall, wide), pixels
        if tall <= smallest:
            break
    return best


def _computed(length: int, spans: int, grid: Grid) -> int:
    """Return the length of all windows of an axis together, roughly."""
    return length + 2 * (spans - 1) * grid.context + 2 * spans * grid.geometry.margin


def bytes_per_pixel(
    network: Callable[[Tensor], Tensor], geometry: Geometry, *, channels: int, device: torch.device
) -> float:
    """Return the bytes that a large input and the tensors made from it hold at most, for each of its pixels.

    Of a network that is not a torch module, its attribute `bytes_per_pixel` is taken, or the input counted.
    """
    if not isinstance(network, nn.Module):
        return getattr(network, "bytes_per_pixel", None) or float(channels * torch.float32.itemsize)
    step, smallest = geometry.multiple, geometry.fitting_input_size(1)
    small, middle, large = (
        _living_bytes(network, torch.zeros(1, channels, side, side, device=device))
        for side in (smallest + step, smallest + 2 * step, smallest + 3 * step)  # some norms need two pixels at least
    )
    return max(a - 2 * b + c for a, b, c in zip(small, middle, large, strict=True)) / (2 * step**2)


def _living_bytes(network: nn.Module, x_NCHW: Tensor) -> list[int]:
    """Return the bytes that are alive when the input is there, and before and after every module of the network."""
    living = _Living()
    living.add([x_NCHW])
    hooks = [hook for module in network.modules() for hook in living.follow(module)]
    try:
        with torch.inference_mode():
            network(x_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return living.history


class _Living:
    """The storages that are alive."""

    def __init__(self) -> None:
        self.history: list[int] = []
        self._alive = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def follow(self, module: nn.Module) -> Iterator[RemovableHandle]:
        yield module.register_forward_pre_hook(lambda _, given: self.add(given))
        yield module.register_forward_hook(lambda _, __, made: self.add([made]))

    def add(self, values: Iterable[object]) -> None:
        for value in values:
            if isinstance(value, Tensor) and (storage := value.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._alive += storage.nbytes()
                weakref.finalize(storage, self._drop, storage.nbytes())
        self.history.append(self._alive)

    def _drop(self, size: int) -> None:
        self._alive -= size
