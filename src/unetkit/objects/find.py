"""Objects: made of probabilities, taken from labelled data, and drawn on their image.

Objects are numbers in an image, and for every number a class and a confidence. Every object class is taken by itself: a
pixel of an object is of the object class that is most probable there. Regions and seeds are connected along edges; a
region without a seed is an object, too: a thin one may be all border. The same probabilities give the same objects. The
whole image is held at once; does not know tiles.

Legend of shapes: K classes, C channels, H height, W width, N objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import BORDER, ObjectsConfig
from unetkit.errors import ConfigError

NEIGHBOURS = ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1]))
"""The pixels [H, W] that have a neighbour to the left, and those neighbours; and the same upwards."""


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """The objects of one image; they do not overlap.

    Attributes:
        ids: [H, W] int32, 0 outside; the objects are 1 to N, in the order of their first pixels, row by row.
        classes: [N] class index of each object.
        confidences: [N] float32, the mean probability over its pixels that they are not background; 1 for true ones.
    """

    ids: NDArray[np.int32]
    classes: NDArray[np.int64]
    confidences: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of objects."""
        return len(self.classes)

    def sizes(self, within: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return the pixels of each object, [N], or only those within a mask [H, W]."""
        return np.bincount(self.ids.ravel() if within is None else self.ids[within], minlength=len(self) + 1)[1:]


def object_classes(classes: Sequence[str]) -> list[int]:
    """Return the indices of the classes that are objects: all but class 0, the background, and 'border'."""
    return [index for index, name in enumerate(classes) if index > 0 and name != BORDER]


def border_index(classes: Sequence[str]) -> int | None:
    """Return the index of the class 'border', if there is one."""
    return classes.index(BORDER) if BORDER in classes[1:] else None


def renumbered(ids: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number objects [H, W] by their first pixels, from 1; return them and the flat places [N] of those pixels."""
    flat = ids.ravel()
    first = np.full(int(flat.max(initial=0)) + 1, flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # what is written last stays: the first pixel
    first[0] = flat.size
    order = np.argsort(first, kind="stable")[: int((first < flat.size).sum())]
    numbers = np.zeros(len(first), np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[ids], first[order]


Ids = NDArray[np.int32]
Heights = NDArray[np.float32]

_CORNERS = np.ones((3, 3), bool)
_SMOOTHING = 1.0  # pixels: without it the distance to a ragged edge has peaks of its own at every step


@dataclass(frozen=True, slots=True)
class Scene:
    """What objects are separated by.

    Attributes:
        mask: [H, W] bool, where objects are.
        core: [H, W] probability of inside less that of border, where there is a class 'border'.
        config: the numbers.
    """

    mask: NDArray[np.bool_]
    core: Heights | None
    config: ObjectsConfig


def by_distance(scene: Scene) -> Ids:
    """Return the connected regions, cut where they are narrow."""
    return _cut(scene.mask, scene.config.min_width)


def by_borders(scene: Scene) -> Ids:
    """Return seeds, cut where narrow and grown from inside towards border, until they meet or the region ends."""
    assert scene.core is not None
    seeds = scene.mask & (scene.core > scene.config.seed_threshold)
    return grown(scene.mask, _cut(seeds, scene.config.min_width), scene.core)


METHODS: dict[str, Callable[[Scene], Ids]] = {
    "components": lambda scene: regions(scene.mask),
    "distance": by_distance,
    "borders": by_borders,
}


def grown(mask: NDArray[np.bool_], seeds: Ids, height: Heights) -> Ids:
    """Return ids [H, W] of seeds grown over the mask, high places first; a region without a seed is an object, too."""
    # Slow to import.
    from skimage.segmentation import watershed  # pyright: ignore[reportUnknownVariableType] untyped

    whole = regions(mask)  # where a region has one seed or none, it is one object as a whole
    held = np.unique(np.stack([whole[seeds > 0], seeds[seeds > 0]]), axis=1)[0]
    contested = np.bincount(held, minlength=int(whole.max()) + 1) > 1
    disputed = contested[whole]
    flooded = cast(Ids, watershed(-height, np.where(disputed, seeds, 0), connectivity=1, mask=disputed))
    return np.where(disputed, flooded + whole.max(), whole)


def _cut(mask: NDArray[np.bool_], min_width: float) -> Ids:
    """Cut regions where they are narrow, by the smoothed distance to the region's edge.

    Every peak of the distance is a part. Two parts stay separate if their pass, the highest point on the way from one
    to the other, is below `min_width` times the lower of their peaks. A peak is half a part's width, a pass half that
    of the narrow place: the rule is the same for small and large objects.
    """
    height = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), _SMOOTHING)
    peaks = mask & (height == ndimage.maximum_filter(height, footprint=_CORNERS))
    parts = grown(mask, regions(peaks), height)
    # Every two parts that touch, with the highest point where they do; the highest first.
    found: list[NDArray[Any]] = []
    for here, there in NEIGHBOURS:
        touch = (parts[here] != parts[there]) & (parts[here] > 0) & (parts[there] > 0)
        pair = np.sort(np.stack([parts[here][touch], parts[there][touch]]), axis=0)
        found.append(np.vstack([pair, np.minimum(height[here], height[there])[touch]]))
    first, second, level = np.concatenate(found, axis=1)
    order = np.lexsort((second, first, -level))
    _, highest = np.unique(np.stack([first, second])[:, order], axis=1, return_index=True)

    peak = np.zeros(int(parts.max()) + 1, np.float32)
    np.maximum.at(peak, parts.ravel(), height.ravel())
    owner = list(range(len(peak)))

    def owner_of(part: int) -> int:
        while owner[part] != part:
            owner[part] = owner[owner[part]]
            part = owner[part]
        return part

    for place in order[np.sort(highest)]:
        touching = (owner_of(int(first[place])), owner_of(int(second[place])))
        low, high = sorted(touching, key=lambda part: peak[part])
        if float(level[place]) >= min_width * peak[low]:
            owner[low] = high
    return np.array([owner_of(part) for part in range(len(peak))], np.int32)[parts]


def regions(mask: NDArray[np.bool_], *, corners: bool = False) -> Ids:
    """Return ids [H, W] of the connected regions, connected along edges, or along corners, too."""
    found: Any = ndimage.label(mask, _CORNERS if corners else None)
    return found[0]


_KEYS = {
    "components": ("threshold",),
    "distance": ("threshold", "min_width"),
    "borders": ("threshold", "seed_threshold", "min_width"),
}
"""The keys that a method looks at, besides those that all do."""


def find_objects(probabilities: NDArray[np.float32], classes: Sequence[str], config: ObjectsConfig) -> ObjectMap:
    """Return the objects of an image.

    Args:
        probabilities: [K, H, W], summing to one over K; class 0 is the background.
        classes: the names of the classes; one named 'border' is not an object: it separates objects.
        config: the method and its numbers.

    Raises:
        ConfigError: no class is an object, or the method needs a class 'border' that is not there.
    """
    sought, border = object_classes(classes), border_index(classes)
    if not sought:
        raise ConfigError(f"of the classes {', '.join(classes)} none is an object; name one besides '{BORDER}'")
    method = METHODS[method_for(classes, config)]
    foreground = 1 - probabilities[0]
    core = None if border is None else foreground - 2 * probabilities[border]
    mask = foreground > config.threshold
    if len(sought) == 1:
        kinds = np.broadcast_to(np.int64(sought[0]), mask.shape)
    else:
        kinds = np.array(sought)[probabilities[sought].argmax(0)]  # the first of equals
    ids = np.zeros(mask.shape, np.int32)
    for kind in sought:
        own = mask if len(sought) == 1 else mask & (kinds == kind)
        if own.any():
            made = method(Scene(own, core, config))
            ids[own] = made[own] + ids.max()
    numbered, first = renumbered(_filled(ids) if config.fill_holes else ids)
    of_object = kinds.ravel()[first]  # a first pixel is never in a hole that was filled
    sizes = np.bincount(numbered.ravel())
    confidences = (np.bincount(numbered.ravel(), foreground.ravel())[1:] / sizes[1:]).astype(np.float32)
    kept = (sizes[1:] >= config.min_size) & (confidences >= config.min_confidence)
    numbers = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return ObjectMap(numbers[numbered], of_object[kept], confidences[kept])


def method_for(classes: Sequence[str], config: ObjectsConfig) -> str:
    """Return the method that is used for a network of these classes.

    Raises:
        ConfigError: it needs a class 'border' that is not there.
    """
    bordered = border_index(classes) is not None
    if config.method == "auto":
        return "borders" if bordered else "distance"
    if config.method == "borders" and not bordered:
        raise ConfigError(
            f"objects.method=borders needs a class named '{BORDER}', but the network has {', '.join(classes)}; "
            "train it with data.border_width=1, or choose distance or components"
        )
    return config.method


def describe(classes: Sequence[str], config: ObjectsConfig) -> str:
    """Say how objects are made, in one line.

    Raises:
        ConfigError: as `method_for`.
    """
    method = method_for(classes, config)
    names = [*_KEYS[method], "min_size", "min_confidence"]
    numbers = ", ".join(f"{name} {getattr(config, name):g}" for name in names)
    return f"{method}, {numbers}, holes {'filled' if config.fill_holes else 'left'}"


def _filled(ids: Ids) -> Ids:
    """Give every hole to the object around it, if a single object is; holes are connected along corners."""
    holes = regions(ids == 0, corners=True)
    lowest = np.full(int(holes.max()) + 1, np.iinfo(np.int32).max)
    highest = np.zeros_like(lowest)
    for one, other in NEIGHBOURS:
        for here, there in ((one, other), (other, one)):
            edge = (holes[here] > 0) & (ids[there] > 0)
            np.minimum.at(lowest, holes[here][edge], ids[there][edge])
            np.maximum.at(highest, holes[here][edge], ids[there][edge])
    enclosed = lowest == highest
    enclosed[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
    enclosed[0] = False
    return np.where(enclosed[holes], highest[holes], ids)


def true_objects(labels: NDArray[Any], instances: NDArray[np.int32] | None, classes: Sequence[str]) -> ObjectMap:
    """Return the objects of labelled data.

    Args:
        labels: class indices [H, W].
        instances: object ids [H, W], 0 for none; None: the connected regions (sharing an edge) of each class, and
            where there is a class 'border', the border is divided among them.
        classes: names of the classes, index 0 first.
    """
    sought = object_classes(classes)
    if instances is None:
        instances, border = np.zeros(labels.shape, np.int32), border_index(classes)
        for index in sought:
            found = regions(labels == index)
            instances[found > 0] = found[found > 0] + instances.max()
        if border is not None:
            instances = grown(labels > 0, instances, (labels != border).astype(np.float32))
    numbered, first = renumbered(instances)
    count = len(first)
    kinds = np.full(count, sought[0] if sought else 0, np.int64)
    if len(sought) > 1:
        shares = [np.bincount(numbered[labels == index], minlength=count + 1)[1:] for index in sought]
        kinds = np.array(sought)[np.argmax(shares, axis=0)]
    return ObjectMap(numbered, kinds, np.ones(count, np.float32))


_PERCENTILES = (0.5, 99.5)
_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    np.uint8,
)
"""Okabe and Ito's, which colour-blind readers tell apart; class 1 has the first, class 8 again."""


def colour_of(kind: int) -> tuple[int, int, int]:
    """Return red, green and blue, up to 255, of a class of objects by its index."""
    red, green, blue = _COLOURS[(kind - 1) % len(_COLOURS)].tolist()
    return red, green, blue


def outlined(pixels: NDArray[Any], objects: ObjectMap) -> NDArray[np.uint8]:
    """Return `as_picture` of pixels [C, H, W] with each object's outermost pixels in the colour of its class."""
    picture = as_picture(pixels)
    border = outermost(objects.ids)
    picture[border] = _COLOURS[(objects.classes[objects.ids[border] - 1] - 1) % len(_COLOURS)]
    return picture


def tinted(pixels: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return `as_picture` of pixels [C, H, W], half in the colour of its class wherever a label [H, W] is not 0."""
    picture, inside = as_picture(pixels), labels > 0
    picture[inside] = picture[inside] // 2 + _COLOURS[(labels[inside].astype(np.int64) - 1) % len(_COLOURS)] // 2
    return picture


def as_picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels [C, H, W] as a picture [H, W, 3] of the same size.

    Three channels are shown in colour, of any other number the first in grey, from the 0.5th percentile to the 99.5th.
    """
    shown = (pixels if len(pixels) == 3 else pixels[:1]).astype(np.float32)
    low, high = np.percentile(shown, _PERCENTILES)
    grey = np.full_like(shown, 0.5) if high <= low else ((shown - low) / (high - low)).clip(0, 1)
    return np.broadcast_to(np.moveaxis((grey * 255 + 0.5).astype(np.uint8), 0, -1), (*pixels.shape[1:], 3)).copy()


def outermost(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return [H, W] where the outermost pixels of objects are, those that have a neighbour outside along an edge."""
    border = np.zeros(ids.shape, bool)
    for one, other in NEIGHBOURS:
        differs = ids[one] != ids[other]
        border[one] |= differs
        border[other] |= differs
    return border & (ids > 0)
