"""Where one object ends and the next begins: the methods, from what an image shows to ids of objects.

Regions and seeds are connected along edges. A region without a seed is an object, too: a thin one may be all border.
Does not know classes, sizes or holes.

Legend of shapes: H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed  # pyright: ignore[reportUnknownVariableType] untyped

from unetkit.config import ObjectsConfig
from unetkit.objects.labelled import NEIGHBOURS

Ids = NDArray[np.int32]
Heights = NDArray[np.float32]

_CORNERS = np.ones((3, 3), bool)
_SMOOTHING = 1.0  # pixels: without it the distance to a ragged edge has peaks of its own at every step


@dataclass(frozen=True, slots=True)
class Scene:
    """What objects are parted by.

    Attributes:
        mask: [H, W] bool, where objects are.
        core: [H, W] probability of inside less that of border, where there is a class 'border'.
        config: the numbers.
    """

    mask: NDArray[np.bool_]
    core: Heights | None
    config: ObjectsConfig


def by_components(scene: Scene) -> Ids:
    """Return the connected regions."""
    return regions(scene.mask)


def by_distance(scene: Scene) -> Ids:
    """Return the connected regions, cut at their necks."""
    return _cut(scene.mask, scene.config.neck)


def by_borders(scene: Scene) -> Ids:
    """Return seeds, cut at their necks and grown from inside towards border, until they meet or the region ends."""
    assert scene.core is not None
    seeds = scene.mask & (scene.core > scene.config.seed_threshold)
    return grown(scene.mask, _cut(seeds, scene.config.neck), scene.core)


METHODS: dict[str, Callable[[Scene], Ids]] = {
    "components": by_components,
    "distance": by_distance,
    "borders": by_borders,
}


def grown(mask: NDArray[np.bool_], seeds: Ids, height: Heights) -> Ids:
    """Return ids [H, W] of seeds grown over the mask, high places first; a region without a seed is an object, too."""
    whole = regions(mask)  # where a region has one seed or none, it is one object as a whole
    held = np.unique(np.stack([whole[seeds > 0], seeds[seeds > 0]]), axis=1)[0]
    contested = np.bincount(held, minlength=int(whole.max()) + 1) > 1
    disputed = contested[whole]
    flooded = cast(Ids, watershed(-height, np.where(disputed, seeds, 0), connectivity=1, mask=disputed))
    return np.where(disputed, flooded + whole.max(), whole)


def _cut(mask: NDArray[np.bool_], neck: float) -> Ids:
    """Cut regions at their necks, found in the smoothed distance to the region's edge.

    Every peak of the distance is a part. Two parts stay apart if their pass, the highest point on the way from one to
    the other, is below `neck` times the lower of their peaks. A peak is half a part's width, a pass half a neck's: the
    rule is the same for small and large objects.
    """
    height = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), _SMOOTHING)
    peaks = mask & (height == ndimage.maximum_filter(height, footprint=_CORNERS))
    return _joined(grown(mask, regions(peaks), height), height, neck)


def regions(mask: NDArray[np.bool_], *, corners: bool = False) -> Ids:
    """Return ids [H, W] of the connected regions, connected along edges, or along corners, too."""
    found: Any = ndimage.label(mask, _CORNERS if corners else None)
    return found[0]


def _joined(parts: Ids, height: Heights, neck: float) -> Ids:
    """Join the parts that no neck parts, the highest pass first."""
    peak = np.zeros(int(parts.max()) + 1, np.float32)
    np.maximum.at(peak, parts.ravel(), height.ravel())
    owner = list(range(len(peak)))

    def owner_of(part: int) -> int:
        while owner[part] != part:
            owner[part] = owner[owner[part]]
            part = owner[part]
        return part

    for first, second, height_of_pass in _passes(parts, height):
        low, high = sorted((owner_of(first), owner_of(second)), key=lambda part: peak[part])
        if height_of_pass >= neck * peak[low]:
            owner[low] = high
    return np.array([owner_of(part) for part in range(len(peak))], np.int32)[parts]


def _passes(parts: Ids, height: Heights) -> list[tuple[int, int, float]]:
    """Return every two parts that touch, with the highest point where they do; the highest first."""
    found: list[NDArray[Any]] = []
    for here, there in NEIGHBOURS:
        touch = (parts[here] != parts[there]) & (parts[here] > 0) & (parts[there] > 0)
        pair = np.sort(np.stack([parts[here][touch], parts[there][touch]]), axis=0)
        found.append(np.vstack([pair, np.minimum(height[here], height[there])[touch]]))
    first, second, level = np.concatenate(found, axis=1)
    order = np.lexsort((second, first, -level))
    _, highest = np.unique(np.stack([first, second])[:, order], axis=1, return_index=True)
    return [(int(first[place]), int(second[place]), float(level[place])) for place in order[np.sort(highest)]]
