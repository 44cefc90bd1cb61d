"""Parts of objects in a block of an image, by a window around it; `merge` makes objects of the parts of all blocks.

What can be seen in a window is computed there: the distance to the edge of regions, its peaks, and which of them every
pixel of the block belongs to. These are the parts, one for each peak. Which parts stay separate, how wide the place
between them is, and which region of background is a hole, is decided for the whole image, on the graph of parts that
touch. So nothing is cut because a block ends there: a cut along its border stays only where the rule of `find` asks for
one, where both sides are wider than that border.

A part is known in every window by the first pixel of its peak. A connected region is *complete* in a window if it keeps
`MARGIN` pixels away from where the window is cut off. All that its parts depend on is then in the window: the nearest
background of a pixel touches the pixel's own region; smoothing and the search for peaks look 5 pixels further, where
pixels of other regions are less than 8 from their background; and a watershed goes no further than its region. So a
region that is complete in the windows of all blocks that it reaches into is divided as in the whole image, pixel by
pixel. One thing is decided here by itself: of seeds that are exactly equally high the first one grows first, which in
an image held as a whole depends on everything else in it (`find.grown`).

In larger regions, too, distances and peaks in a block are those of the whole image, but that distances end at `halo`
less 8: what is wider counts as so wide. Passes between parts are exact with them. What is not exact is the line between
two parts where one of them goes on beyond the window. A part of which the window shows no peak is taken in by the
neighbour across a border that it touches at the highest place.

Does not know files, nor other blocks.

Legend of shapes: H, W a window, h, w its block, N parts, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import ObjectsConfig
from unetkit.objects.find import (
    NEIGHBOURS,
    Evidence,
    Heights,
    Ids,
    contacts,
    grown,
    highest_first,
    method_for,
    object_classes,
    peaks_of,
    regions,
    renumbered,
    smoothed,
)
from unetkit.objects.merge import Graph

MARGIN = 13
"""Pixels around a region that its division depends on."""

_SEEN = 8
"""Pixels around a block in which heights count: of neighbours, of those that smoothing mixes in, of their peaks."""


@dataclass(frozen=True, slots=True)
class View:
    """A block, and the window around it that it is seen through.

    Attributes:
        page: number of the page.
        rows: of the block on the page, with a start and a stop.
        columns: of the block on the page.
        size: height and width of the page.
        halo: pixels that the window reaches around the block, as far as the page goes.
    """

    page: int
    rows: slice
    columns: slice
    size: tuple[int, int]
    halo: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the window on the page."""
        rows, columns = (
            slice(max(0, part.start - self.halo), min(part.stop + self.halo, length))
            for part, length in zip((self.rows, self.columns), self.size, strict=True)
        )
        return rows, columns

    @property
    def own(self) -> tuple[slice, slice]:
        """The rows and columns of the block in the window."""
        rows, columns = (
            slice(part.start - seen.start, part.stop - seen.start)
            for part, seen in zip((self.rows, self.columns), self.window, strict=True)
        )
        return rows, columns

    def rim(self) -> NDArray[np.bool_]:
        """Return where the window [H, W] is cut off, and `MARGIN` pixels around that; the page's edge cuts nothing."""
        seen = self.window
        inner = tuple(
            slice(MARGIN if part.start else 0, part.stop - part.start - (MARGIN if part.stop < length else 0))
            for part, length in zip(seen, self.size, strict=True)
        )
        rim = np.ones([part.stop - part.start for part in seen], bool)
        rim[inner] = False
        return rim

    def edge(self) -> NDArray[np.bool_]:
        """Return where the block [h, w] ends with the page."""
        edge = np.zeros([part.stop - part.start for part in (self.rows, self.columns)], bool)
        edge[0] |= self.rows.start == 0
        edge[-1] |= self.rows.stop == self.size[0]
        edge[:, 0] |= self.columns.start == 0
        edge[:, -1] |= self.columns.stop == self.size[1]
        return edge

    def on_page(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return flat places in the window as places among the pixels of all pages, row by row."""
        rows, columns = self.window
        down, across = np.divmod(places, columns.stop - columns.start)
        return (self.page * self.size[0] + rows.start + down) * self.size[1] + columns.start + across


@dataclass(frozen=True, slots=True)
class Pieces:
    """The parts of a block; those of background follow those of objects.

    Attributes:
        ids: [h, w] int32, from 1 in the order of their first pixels; 0 for background that nobody asks for.
        graph: what is known of them.
        right: [2, h] at each pixel where the block ends, its pass to the next one, and the height that parts grow by;
            -inf where they do not touch.
        below: [2, w] likewise.
    """

    ids: Ids
    graph: Graph
    right: Heights
    below: Heights


@dataclass(frozen=True, slots=True)
class _Divided:
    """What a window shows, [H, W] each.

    Attributes:
        parts: numbers, 0 outside.
        seeds: where parts are seen by their peaks.
        peaks: the peaks.
        height: the smoothed distance that parts are cut by.
        growth: what they grow by.
    """

    parts: Ids
    seeds: NDArray[np.bool_]
    peaks: NDArray[np.bool_]
    height: Heights
    growth: Heights


def pieces_of(evidence: Evidence, view: View, classes: Sequence[str], config: ObjectsConfig) -> Pieces:
    """Return the parts of a block by what its window shows.

    Args:
        evidence: of the window; of the block alone where parts are connected regions (`needs_halo`).
        view: the block.
        classes: names of the classes.
        config: the method and its numbers.
    """
    mask, own = evidence.foreground > config.threshold, view.own
    if not needs_halo(classes, config):
        parts, count, flat = np.zeros(mask.shape, np.int32), 0, np.zeros(mask.shape, np.float32)
        for kind in object_classes(classes):
            found = regions(mask & (evidence.kinds == kind))
            parts[found > 0] = found[found > 0] + count
            count += int(found.max(initial=0))
        none = np.zeros(mask.shape, bool)
        return _numbered(_Divided(parts, none, none, flat, flat), evidence, view, split=False, holes=config.fill_holes)
    whole = _Divided(
        np.zeros(mask.shape, np.int32),
        np.zeros(mask.shape, bool),
        np.zeros(mask.shape, bool),
        np.zeros(mask.shape, np.float32),
        np.zeros(mask.shape, np.float32),
    )
    rim, bordered = view.rim(), method_for(classes, config) == "borders"
    for kind in object_classes(classes):
        here = mask & (evidence.kinds == kind)
        if not here[own].any():
            continue
        assert evidence.core is not None or not bordered
        seeds = here & (evidence.core > config.seed_threshold) if bordered and evidence.core is not None else here
        height = _height(seeds, rim, view.halo - _SEEN)
        peaks = peaks_of(seeds, height)
        parts = grown(seeds, regions(peaks), height, ranked=True)
        if bordered and evidence.core is not None:
            parts = grown(here, parts, evidence.core, ranked=True)
        whole.parts[here] = parts[here] + whole.parts.max()
        whole.seeds[here], whole.peaks[here], whole.height[here] = seeds[here], peaks[here], height[here]
        whole.growth[here] = (evidence.core if bordered and evidence.core is not None else height)[here]
    return _numbered(whole, evidence, view, split=True, holes=config.fill_holes)


def needs_halo(classes: Sequence[str], config: ObjectsConfig) -> bool:
    """Return whether parts depend on what lies around a block: connected regions do not.

    Raises:
        ConfigError: as `method_for`.
    """
    return method_for(classes, config) != "components"


def _height(mask: NDArray[np.bool_], rim: NDArray[np.bool_], most: int) -> Heights:
    """Return the smoothed distance to the edge of regions, which ends at `most` in those that the window cuts off."""
    whole = regions(mask)
    cut = np.zeros(int(whole.max()) + 1, bool)
    cut[whole[rim & mask]] = True
    if cut.any() and mask.all():  # there is no edge to be measured from
        return np.full(mask.shape, most, np.float32)
    distance = ndimage.distance_transform_edt(mask).astype(np.float32)
    return smoothed(np.where(cut[whole], np.minimum(distance, np.float32(most)), distance))


def _numbered(divided: _Divided, evidence: Evidence, view: View, *, split: bool, holes: bool) -> Pieces:
    """Number the parts of a block, and take what is needed to join them to others from its window."""
    own, every = view.own, divided.parts
    places, seen, cut = (np.full(int(every.max()) + 1, start) for start in (-1, False, False))
    if split:
        for marked in (every > 0, divided.seeds, divided.peaks):  # what is written last stays
            spots = np.flatnonzero(marked)[::-1]
            places[every.ravel()[spots]] = spots
        seen[every[divided.peaks]] = True
        cut[every[view.rim()]] = True
    ids, first = renumbered(every[own])
    of_part, count = every[own].ravel()[first], len(first)
    kinds = evidence.kinds[own].ravel()[first].astype(np.int64)
    seeds, height, peaks = divided.seeds[own], divided.height[own], np.zeros(count + 1, np.float32)
    np.maximum.at(peaks, ids[seeds], height[seeds])
    passes, levels = highest_first(*contacts(np.where(seeds, ids, 0), height))
    alike = kinds[passes[0] - 1] == kinds[passes[1] - 1]
    background = regions(ids == 0, corners=True) if holes else np.zeros_like(ids)
    more = int(background.max(initial=0))
    outer = np.zeros(more + 1, bool)
    outer[background[view.edge()]] = True
    numbers = np.where(background > 0, background + count, ids)
    graph = Graph(
        np.append(kinds, np.zeros(more, np.int64)),
        np.append(np.where(places[of_part] < 0, -1, view.on_page(places[of_part])), np.full(more, -1)),
        np.append(peaks[1:], np.zeros(more, np.float32)),
        np.append((cut & ~seen)[of_part], np.zeros(more, bool)),
        np.append(np.zeros(count, bool), outer[1:]),
        passes[:, alike],
        levels[alike],
        _around(numbers, count),
    )
    return Pieces(numbers, graph, *(_border(divided, evidence.kinds, view, axis) for axis in (1, 0)))


def _around(ids: Ids, parts: int) -> NDArray[np.int64]:
    """Return regions of background, which are those above `parts`, and parts next to them, [2, P]."""
    found = list[NDArray[np.int64]]()
    for one, other in NEIGHBOURS:
        for here, there in ((one, other), (other, one)):
            edge = (ids[here] > parts) & (ids[there] > 0) & (ids[there] <= parts)
            found.append(np.unique(ids[here][edge].astype(np.int64) * (parts + 1) + ids[there][edge]))
    return np.stack(np.divmod(np.unique(np.concatenate(found)), parts + 1))


def _border(divided: _Divided, kinds: NDArray[np.integer], view: View, axis: int) -> Heights:
    """Return the passes and heights to the next block: to the right with axis 1, below with axis 0."""
    part, across = view.own[axis], view.own[1 - axis]
    if part.stop == divided.parts.shape[axis]:
        return np.zeros((2, across.stop - across.start), np.float32)
    here, there = ((slice(place, place + 1), across)[:: 1 if axis == 0 else -1] for place in (part.stop - 1, part.stop))
    touch = (divided.parts[here] > 0) & (divided.parts[there] > 0) & (kinds[here] == kinds[there])
    found = [
        np.where(where, np.minimum(values[here], values[there]), -np.inf)
        for where, values in (
            (touch & divided.seeds[here] & divided.seeds[there], divided.height),
            (touch, divided.growth),
        )
    ]
    return np.stack(found).reshape(2, -1).astype(np.float32)
