"""Objects by blocks: the parts of each, by a window around it, and one number for each object that parts make up.

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

Every block numbers its own parts from 1. The union of parts that are one gives the objects, which are numbered by their
lowest part, that is by the block, and in it the pixel, where they begin. So numbers do not depend on who labelled which
block, nor when. Parts that were split are joined by the passes between them, in the order of their peaks on the page,
as in an image that is held as a whole.

Does not know files.

Legend of shapes: H, W a window, h, w its block, L pixels of a border, N parts, P pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    owners,
    peaks_of,
    regions,
    renumbered,
    root_of,
    smoothed,
)

Pairs = NDArray[np.int64]

MARGIN = 13
"""Pixels around a region that its division depends on."""

_SEEN = 8
"""Pixels around a block in which heights count: of neighbours, of those that smoothing mixes in, of their peaks."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What is known of the parts of a block, to join them to others; they are numbered from 1.

    Attributes:
        kinds: [N] class index; 0 for a region of background, which may be a hole.
        places: [N] the first pixel of the part's peak, counted over all pages; -1: known to this block alone.
        peaks: [N] the highest place in the block.
        loose: [N] whether what is seen around the block shows neither a peak nor the whole of it.
        outer: [N] whether a region of background reaches the page's edge.
        passes: [2, P] parts that touch inside the block and may be one.
        levels: [P] the passes between them.
        around: [2, P] regions of background, and parts that touch them.
    """

    kinds: NDArray[np.int64]
    places: NDArray[np.int64]
    peaks: Heights
    loose: NDArray[np.bool_]
    outer: NDArray[np.bool_]
    passes: Pairs
    levels: Heights
    around: Pairs

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self.kinds)


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
    """Return the parts of a block by the evidence of its window, or by its own for connected regions (`needs_halo`)."""
    mask, own, split = evidence.foreground > config.threshold, view.own, needs_halo(classes, config)
    bordered = method_for(classes, config) == "borders"
    whole = _Divided(
        np.zeros(mask.shape, np.int32),
        np.zeros(mask.shape, np.bool_),
        np.zeros(mask.shape, np.bool_),
        np.zeros(mask.shape, np.float32),
        np.zeros(mask.shape, np.float32),
    )
    for kind in object_classes(classes):
        here = mask & (evidence.kinds == kind)
        if not here[own].any():
            continue
        if split:
            core = evidence.core if bordered else None
            assert core is not None or not bordered
            seeds = here if core is None else here & (core > config.seed_threshold)
            height = _height(seeds, view.rim(), view.halo - _SEEN)
            peaks = peaks_of(seeds, height)
            found = grown(seeds, regions(peaks), height, ranked=True)
            found = found if core is None else grown(here, found, core, ranked=True)
            whole.seeds[here], whole.peaks[here], whole.height[here] = seeds[here], peaks[here], height[here]
            whole.growth[here] = (height if core is None else core)[here]
        else:
            found = regions(here)
        whole.parts[here] = found[here] + whole.parts.max()
    return _numbered(whole, evidence, view, split=split, holes=config.fill_holes)


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


class Contact(NamedTuple):
    """What touches across a border of a block.

    Attributes:
        other: the block behind it.
        pairs: [2, P] the parts here and there.
        levels: [2, P] their passes, and the heights that they grow by, -inf for none; None: what touches is one.
        edge: whether they touch along edges; else at corners, which counts for background alone.
    """

    other: int
    pairs: Pairs
    levels: Heights | None
    edge: bool


def touching(here: NDArray[np.integer], there: NDArray[np.integer]) -> Pairs:
    """Return the pairs of parts [2, P] that lie opposite each other, each pair once, in rising order; 0 is no part."""
    both, width = (here > 0) & (there > 0), int(there.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(here[both].astype(np.int64) * width + there[both]), width))


def across(
    other: int, here: NDArray[np.integer], there: NDArray[np.integer], levels: Heights | None
) -> Iterator[Contact]:
    """Yield what touches across a border: parts [L] here and there, levels [2, L] at each pixel, as in `Contact`."""
    pairs, highest = touching(here, there), None
    if levels is not None:
        both, width = (here > 0) & (there > 0), int(there.max(initial=0)) + 1
        index = np.searchsorted(pairs[0] * width + pairs[1], here[both].astype(np.int64) * width + there[both])
        highest = np.full(pairs.shape, -np.inf, np.float32)
        for own, level in zip(highest, levels, strict=True):
            np.maximum.at(own, index, level[both])
    yield Contact(other, pairs, highest, edge=True)
    for one, two in ((here[:-1], there[1:]), (here[1:], there[:-1])):
        yield Contact(other, touching(one, two), None, edge=False)


def joined(parts: int, pairs: Sequence[Pairs]) -> NDArray[np.int64]:
    """Return the object [N + 1] of each of `parts` parts, numbered from 1 in the order of their lowest parts.

    Pairs [2, P] are parts that are one; part 0 is no object and stays so.
    """
    ones, others = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    edges = coo_array((np.ones(len(ones), np.int8), (ones, others)), shape=(parts + 1, parts + 1))
    count, groups = connected_components(edges, directed=False)
    first = np.empty(count, np.int64)
    first[groups[::-1]] = np.arange(parts, -1, -1)  # what is written last stays: the lowest part
    order = np.empty(count, np.int64)
    order[np.argsort(first)] = np.arange(count)  # part 0, alone in its group, is the first
    return order[groups]


def united(
    graphs: Sequence[Graph], contacts: Iterable[tuple[int, Sequence[Contact]]], min_width: float
) -> NDArray[np.int64]:
    """Return the object [N + 1] of each part of all blocks, numbered as `joined` does.

    Blocks come with what touches across their borders, in any order. A hole is of the object around it. Background that
    is no hole has numbers, too.
    """
    offsets = np.cumsum([0, *map(len, graphs)])
    kinds = np.concatenate([one.kinds for one in graphs])
    links = _Links([], [], [], [], [], [])
    for one, offset in zip(graphs, offsets.tolist(), strict=False):
        links.passes.append(one.passes + offset)
        links.levels.append(one.levels)
        links.around.append(one.around + offset)
    for number, found in sorted(contacts, key=lambda one: one[0]):
        for contact in found:
            links.add(contact, contact.pairs + offsets[[number, contact.other]][:, None], kinds)
    same = [*links.same, _split(graphs, links, min_width)]
    objects = joined(len(kinds), same)
    around = np.concatenate(links.around, axis=1)
    of_hole, by = objects[around]
    lowest, highest = np.full(len(kinds) + 1, len(kinds) + 1), np.zeros(len(kinds) + 1, np.int64)
    np.minimum.at(lowest, of_hole, by)
    np.maximum.at(highest, of_hole, by)
    enclosed = lowest == highest
    enclosed[objects[1:][np.concatenate([one.outer for one in graphs])]] = False
    return joined(len(kinds), [*same, around[:, enclosed[of_hole]]])


@dataclass(frozen=True, slots=True)
class _Links:
    """What touches in all blocks and across their borders.

    Attributes:
        same: [2, P] each: parts that are one because they touch.
        passes: [2, P] each: parts that may be one.
        levels: [P] each: the passes between them.
        sides: [2, P] each: parts on both sides of a border, of which one may be loose.
        heights: [P] each: that they grow by where they touch.
        around: [2, P] each: regions of background, and parts that touch them.
    """

    same: list[Pairs]
    passes: list[Pairs]
    levels: list[Heights]
    sides: list[Pairs]
    heights: list[Heights]
    around: list[Pairs]

    def add(self, contact: Contact, pairs: Pairs, kinds: NDArray[np.int64]) -> None:
        """Add what touches across a border; `pairs` [2, P] are numbers among all parts, of these classes."""
        here, there = kinds[pairs - 1]
        alike, levels = here == there, contact.levels
        self.same.append(pairs[:, alike & ((here == 0) | (contact.edge and levels is None))])
        if contact.edge:
            self.around.extend((pairs[:, (here == 0) & (there > 0)], pairs[::-1, (there == 0) & (here > 0)]))
        if levels is not None:
            may_pass, may_grow = alike & (here > 0) & (levels > -np.inf)
            self.passes.append(pairs[:, may_pass])
            self.levels.append(levels[0, may_pass])
            self.sides.append(pairs[:, may_grow])
            self.heights.append(levels[1, may_grow])


def _split(graphs: Sequence[Graph], links: _Links, min_width: float) -> Pairs:
    """Return parts of all blocks and the parts that they are joined to, [2, N]: by their peaks, and by passes."""
    places, peaks, loose = (
        np.concatenate([getattr(one, name) for one in graphs]) for name in ("places", "peaks", "loose")
    )
    # What several blocks see of a part is one node; nodes are in the order of their peaks.
    own = np.iinfo(np.int64).max - len(places) + np.arange(len(places))
    _, first, node = np.unique(np.where(places < 0, own, places), return_index=True, return_inverse=True)
    highest, firm = np.zeros(len(first), np.float32), np.zeros(len(first), bool)
    np.maximum.at(highest, node, peaks)
    np.logical_or.at(firm, node, ~loose)

    def between(pairs: list[Pairs], levels: list[Heights]) -> tuple[Pairs, Heights]:
        ends = np.sort(node[np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1) - 1], axis=0)
        apart = ends[0] != ends[1]
        return highest_first(ends[:, apart], np.concatenate([np.zeros(0, np.float32), *levels])[apart])

    passes, levels = between(links.passes, links.levels)
    sides, _ = between(links.sides, links.heights)
    sides = sides[:, ~firm[sides].all(0)]
    busy = np.unique(np.concatenate([passes, sides], axis=1))
    owner = owners(highest[busy], np.searchsorted(busy, passes), levels, min_width)
    held = firm[busy].tolist()
    for part, by in enumerate(owner):
        held[by] = held[by] or held[part]
    for ends in np.searchsorted(busy, sides).T.tolist():
        one, other = (root_of(owner, end) for end in ends)
        if one != other and not (held[one] and held[other]):
            owner[one], held[other] = other, held[one] or held[other]
    roots = np.arange(len(first))
    roots[busy] = busy[[root_of(owner, part) for part in range(len(busy))]]
    return np.stack([np.arange(len(places)), first[roots[node]]]) + 1
