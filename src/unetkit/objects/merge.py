"""Objects that lie in several blocks: which parts touch, and one number for each object.

Every block numbers its own parts from 1. The union of parts that are one gives the objects, which are numbered by their
lowest part, that is by the block, and in it the pixel, where they begin. So numbers do not depend on who labelled which
block, nor when. Parts that were split (`windows`) are joined by the passes between them, in the order of their peaks on
the page, as in an image that is held as a whole. Does not know files.

Legend of shapes: L pixels of a border, P pairs, N parts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unetkit.objects.find import Heights, highest_first, owners, root_of

Pairs = NDArray[np.int64]


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
    """Return the pairs of parts [2, P] that lie opposite each other, each pair once, in rising order.

    Args:
        here: the numbers of parts on one side of a border, 0 for none; of any shape.
        there: the numbers on the other side.
    """
    both, width = (here > 0) & (there > 0), int(there.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(here[both].astype(np.int64) * width + there[both]), width))


def across(
    other: int, here: NDArray[np.integer], there: NDArray[np.integer], levels: Heights | None
) -> Iterator[Contact]:
    """Yield what touches across a border.

    Args:
        other: the block behind it.
        here: [L] the parts on this side.
        there: [L] those on the other.
        levels: [2, L] at each pixel, as in `Contact`.
    """
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

    Args:
        parts: how many there are, numbered from 1; part 0 is no object and stays so.
        pairs: of parts that are one, [2, P] each.
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

    A hole is of the object around it. Background that is no hole has numbers, too.

    Args:
        graphs: of each block.
        contacts: numbers of blocks, and what touches across their borders; in any order.
        min_width: as of `ObjectsConfig`.
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
