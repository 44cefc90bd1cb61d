"""Objects that lie in several blocks: which parts touch, and one number for each object.

Every block numbers its own parts from 1. Parts of neighbouring blocks that touch are pairs; the union of all pairs
gives the objects, which are numbered by their lowest part, that is by the block, and in it the pixel, where they begin.
So numbers do not depend on who labelled which block, nor when. Does not know files.

Legend of shapes: H height, W width, P pairs, N parts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def touching(here: NDArray[np.integer], there: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the pairs of parts [P, 2] that lie opposite each other, each pair once, in rising order.

    Args:
        here: the numbers of parts on one side of a border, 0 for none; of any shape.
        there: the numbers on the other side.
    """
    both = (here > 0) & (there > 0)
    return np.unique(np.stack([here[both], there[both]], axis=1).astype(np.int64), axis=0)


def joined(parts: int, pairs: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the object [N + 1] of each of `parts` parts, numbered from 1 in the order of their lowest parts.

    Args:
        parts: how many there are, numbered from 1; part 0 is no object and stays so.
        pairs: of parts that touch, [P, 2] each.
    """
    found = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    edges = coo_array((np.ones(len(found), np.int8), (found[:, 0], found[:, 1])), shape=(parts + 1, parts + 1))
    count, groups = connected_components(edges, directed=False)
    first = np.empty(count, np.int64)
    first[groups[::-1]] = np.arange(parts, -1, -1)  # what is written last stays: the lowest part
    order = np.empty(count, np.int64)
    order[np.argsort(first)] = np.arange(count)  # part 0, alone in its group, is the first
    return order[groups]
