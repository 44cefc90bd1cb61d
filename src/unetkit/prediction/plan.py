"""How an image is taken through the network: whole where the memory allows it, else in tiles; and how true that is.

The rule for tiles, where the configuration names none: of all grids of tiles that fit the allowed memory in one call of
the network, the one that computes the fewest pixels. Each tile sees the network's whole receptive field, so that the
result is the untiled one. A tile that is named may be too small for that: it then sees what leaves it a quarter of its
side, and neighbouring tiles are blended. The plan says so in words.

Does not know pixels or tensors.
"""

from dataclasses import dataclass
from itertools import count

from unetkit.config import PredictConfig
from unetkit.models.geometry import Geometry
from unetkit.prediction.tiles import Grid, Span, align_down, align_up, count_spans, divide, side_for

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
    grid, note = Grid(geometry, _context(geometry, config)), difference(geometry, config)
    blend, full = note is not None, geometry.fixed is not None
    tile = _named(geometry, config) or _affordable(height, width, grid=grid, allowance=allowance, blend=blend)
    rows = divide(height, tile=tile[0], grid=grid, blend=blend, full=full)
    columns = divide(width, tile=tile[1], grid=grid, blend=blend, full=full)
    if len(rows) == len(columns) == 1:
        note = _enlargement(height, width, geometry)
    return Plan(rows, columns, grid, note)


def difference(geometry: Geometry, config: PredictConfig) -> str | None:
    """Say in one sentence why tiles may differ from an untiled prediction; None: they do not."""
    if geometry.overlap is None:
        larger = "more predict.memory" if config.tile is None else "a larger predict.tile"
        return (
            "the network's norms average over all that it sees: where an image is cut into tiles, results may differ "
            f"from an untiled prediction; {larger} makes fewer of them"
        )
    context = _context(geometry, config)
    if context >= geometry.overlap:
        return None
    return (
        f"tiles overlap by {context} px on each side, the network sees {geometry.overlap}: results may differ from an "
        f"untiled prediction near tile edges; {_remedy(geometry, config)} makes them equal"
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


def _named(geometry: Geometry, config: PredictConfig) -> tuple[int, int] | None:
    """Return height and width of a tile where they are named: by a network that takes no others, or by the user."""
    return geometry.fixed or ((config.tile, config.tile) if config.tile else None)


def _enlargement(height: int, width: int, geometry: Geometry) -> str | None:
    """Say how an image differs that is smaller than the only size that goes in; None: it does not."""
    if geometry.fixed is None or geometry.margin:
        return None
    padded = [geometry.padded_size(side) for side in (height, width, *geometry.fixed)]
    if padded[:2] == padded[2:]:
        return None
    size = " x ".join(map(str, geometry.fixed))
    return (
        f"the network takes {size} px only: of smaller images the last row and column are repeated, and results near "
        "the border may differ"
    )


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


def _remedy(geometry: Geometry, config: PredictConfig) -> str:
    assert geometry.overlap is not None
    if geometry.fixed is not None:
        return "a file of a larger size"
    if config.overlap is not None:
        return f"predict.overlap={geometry.overlap}"
    enough = -(-geometry.overlap * 8 // 3) + 2 * geometry.margin
    return f"predict.tile={align_up(enough, geometry.multiple)} or more"
