"""Objects: made of probabilities, taken from labelled data, drawn on their image, and outlined as polygons.

Objects are numbers in an image, and for every number a class and a confidence. Every object class is taken by itself: a
pixel of an object is of the object class that is most probable there. Regions and seeds are connected along edges; a
region without a seed is an object, too: a thin one may be all border. The same probabilities give the same objects. The
whole image is held at once; `parts` does the same by blocks.

As polygons, objects are outlined along the corners of pixels: what a polygon encloses is the object, pixel by pixel.
Points are (x, y) in pixels, (0, 0) is the upper left corner of the image. A polygon is closed by itself, its last point
is not the first again. Rings touch themselves nowhere and each other in single points at most, which GeoJSON allows.

Legend of shapes: K classes, C channels, H height, W width, N objects, P points.
"""

from collections.abc import Callable, Iterator, Sequence
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
class Evidence:
    """What objects are made of.

    Attributes:
        foreground: [H, W] float32, the probability of all that is not background.
        kinds: [H, W] index of the most probable class of objects.
        core: [H, W] float32, the probability of inside less that of border, where there is a class 'border'.
    """

    foreground: Heights
    kinds: NDArray[np.int64]
    core: Heights | None

    @classmethod
    def of(cls, probabilities: NDArray[np.float32], classes: Sequence[str]) -> "Evidence":
        """Return the evidence of probabilities [K, H, W]; some class is an object."""
        sought, border = object_classes(classes), border_index(classes)
        foreground = 1 - probabilities[0]
        if len(sought) == 1:
            kinds = np.broadcast_to(np.int64(sought[0]), foreground.shape)
        else:
            kinds = np.array(sought)[probabilities[sought].argmax(0)]  # the first of equals
        return cls(foreground, kinds, None if border is None else foreground - 2 * probabilities[border])

    @classmethod
    def stored(cls, planes: NDArray[np.float32], classes: Sequence[str]) -> "Evidence":
        """Return the evidence that `planes` gave."""
        sought, border = object_classes(classes), border_index(classes)
        kinds = np.broadcast_to(np.int64(sought[0]), planes[0].shape)
        return cls(planes[0], kinds if len(sought) == 1 else planes[-1].astype(np.int64), planes[1] if border else None)

    def planes(self, classes: Sequence[str]) -> NDArray[np.float32]:
        """Return as many planes [E, H, W] as hold it: one to three, however many classes there are."""
        several = len(object_classes(classes)) > 1
        held = [self.foreground, *([] if self.core is None else [self.core]), *([self.kinds] if several else [])]
        return np.stack(held).astype(np.float32, copy=False)


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


def grown(mask: NDArray[np.bool_], seeds: Ids, height: Heights, *, ranked: bool = False) -> Ids:
    """Return ids [H, W] of seeds grown over the mask, high places first; a region without a seed is an object, too.

    Args:
        mask: [H, W] where they may grow.
        seeds: [H, W] their numbers.
        height: [H, W].
        ranked: of seeds' pixels of one height, the first one goes first, so that a region is divided alike whatever
            lies around it; else their order depends on everything in the image, as the watershed's queue does.
    """
    # Slow to import.
    from skimage.segmentation import watershed  # pyright: ignore[reportUnknownVariableType] untyped

    whole = regions(mask)  # where a region has one seed or none, it is one object as a whole
    held = np.unique(np.stack([whole[seeds > 0], seeds[seeds > 0]]), axis=1)[0]
    contested = np.bincount(held, minlength=int(whole.max()) + 1) > 1
    disputed = contested[whole]
    starts = np.where(disputed, seeds, 0)
    depth = _ranks(disputed, starts, height) if ranked else -height
    flooded = cast(Ids, watershed(depth, starts, connectivity=1, mask=disputed))
    return np.where(disputed, flooded + whole.max(), whole)


def _ranks(mask: NDArray[np.bool_], seeds: Ids, height: Heights) -> NDArray[np.float64]:
    """Return the rank [H, W] of each pixel of a mask by its height, from the highest; of equals, seeds go first."""
    starts = np.flatnonzero(seeds)
    places = np.concatenate([starts, np.flatnonzero(mask & (seeds == 0))])
    levels = -height.ravel()[places]
    order = np.argsort(levels, kind="stable")
    alone = order < len(starts)  # every pixel of a seed has a rank of its own
    steps = np.ones(len(places), bool)
    steps[1:] = alone[1:] | alone[:-1] | (np.diff(levels[order]) != 0)
    ranks = np.zeros(mask.shape)
    ranks.ravel()[places[order]] = np.cumsum(steps)
    return ranks


def _cut(mask: NDArray[np.bool_], min_width: float) -> Ids:
    """Cut regions where they are narrow, by the smoothed distance to the region's edge.

    Every peak of the distance is a part. Two parts stay separate if their pass, the highest point on the way from one
    to the other, is below `min_width` times the lower of their peaks. A peak is half a part's width, a pass half that
    of the narrow place: the rule is the same for small and large objects.
    """
    height = smoothed(ndimage.distance_transform_edt(mask).astype(np.float32))
    parts = grown(mask, regions(peaks_of(mask, height)), height)
    peaks = np.zeros(int(parts.max()) + 1, np.float32)
    np.maximum.at(peaks, parts.ravel(), height.ravel())
    return np.array(owners(peaks, *highest_first(*contacts(parts, height)), min_width), np.int32)[parts]


def smoothed(distance: Heights) -> Heights:
    """Return distances [H, W] to the edges of regions, smoothed; pixels that are more than 4 away do not count."""
    return ndimage.gaussian_filter(distance, _SMOOTHING)


def peaks_of(mask: NDArray[np.bool_], height: Heights) -> NDArray[np.bool_]:
    """Return where the height [H, W] within a mask is that of its highest neighbour or above, corners included."""
    return mask & (height == ndimage.maximum_filter(height, footprint=_CORNERS))


def contacts(parts: Ids, height: Heights) -> tuple[NDArray[np.int64], Heights]:
    """Return the two parts [2, P], the lower number first, of neighbouring pixels [H, W], and the lower height [P]."""
    pairs, levels = list[NDArray[np.int64]](), list[Heights]()
    for here, there in NEIGHBOURS:
        touch = (parts[here] != parts[there]) & (parts[here] > 0) & (parts[there] > 0)
        pairs.append(np.sort(np.stack([parts[here][touch], parts[there][touch]]).astype(np.int64), axis=0))
        levels.append(np.minimum(height[here], height[there])[touch])
    return np.concatenate(pairs, axis=1), np.concatenate(levels)


def highest_first(pairs: NDArray[np.int64], levels: Heights) -> tuple[NDArray[np.int64], Heights]:
    """Return each pair of [2, P] once, with its highest level, from the highest down; of equals the lowest first."""
    order = np.lexsort((pairs[1], pairs[0], -levels))
    pairs, levels = pairs[:, order], levels[order]
    _, first = np.unique(pairs[0] * (pairs.max(initial=0) + 1) + pairs[1], return_index=True)
    first.sort()
    return pairs[:, first], levels[first]


def owners(peaks: Heights, pairs: NDArray[np.int64], levels: Heights, min_width: float) -> list[int]:
    """Return the part that each part is joined to, by the passes between them.

    Args:
        peaks: [N] the highest place of each part.
        pairs: [2, P] parts that touch, from the highest pass down.
        levels: [P] their passes.
        min_width: as of `ObjectsConfig`.
    """
    owner = list(range(len(peaks)))
    for first, second, level in zip(*pairs.tolist(), levels.tolist(), strict=True):
        low, high = sorted((root_of(owner, first), root_of(owner, second)), key=lambda part: peaks[part])
        if level >= min_width * peaks[low]:
            owner[low] = high
    return [root_of(owner, part) for part in range(len(peaks))]


def root_of(owner: list[int], part: int) -> int:
    """Return the part that a part belongs to in the end, and shorten the way to it."""
    while owner[part] != part:
        owner[part] = owner[owner[part]]
        part = owner[part]
    return part


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
    sought = object_classes(classes)
    method = METHODS[method_for(classes, config)]
    evidence = Evidence.of(probabilities, classes)
    foreground, kinds, core = evidence.foreground, evidence.kinds, evidence.core
    mask = foreground > config.threshold
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
        ConfigError: no class is an object, or the method needs a class 'border' that is not there.
    """
    if not object_classes(classes):
        raise ConfigError(f"of the classes {', '.join(classes)} none is an object; name one besides '{BORDER}'")
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


Points = NDArray[np.int64]
Polygon = tuple[Points, ...]
"""The outer ring [P, 2], and one for each hole."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # east, south, west, north: each is a right turn after the one before


def polygons(ids: NDArray[np.int32]) -> Iterator[tuple[Polygon, ...]]:
    """Yield the polygons of each object of an image [H, W], 1 first: one a part that is connected along edges."""
    for number, place in enumerate(ndimage.find_objects(ids), 1):
        rows, columns = place
        parts = regions(ids[rows, columns] == number)
        origin = np.array([columns.start, rows.start])
        yield tuple(_polygon(parts == part, origin) for part in range(1, int(parts.max()) + 1))


def _polygon(mask: NDArray[np.bool_], origin: NDArray[np.int64]) -> Polygon:
    """Return the outer ring and the holes of pixels that are connected along edges."""
    rings = [np.array(ring) + origin for ring in _rings(mask)]
    return tuple(sorted(rings, key=lambda ring: -_area(ring)))  # holes run the other way round: their area is negative


def _area(ring: Points) -> int:
    x, y = ring.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _rings(mask: NDArray[np.bool_]) -> Iterator[list[tuple[int, int]]]:
    """Yield the corners of every ring, the object to the right of each edge."""
    padded = np.pad(mask, 1).astype(np.int8)
    down, across = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    # Where an edge of one pixel begins, by its direction.
    starts = ((down > 0, 0, 0), (across < 0, 0, 0), (down < 0, 0, 1), (across > 0, 1, 0))
    left = [{(x + right, y + low) for y, x in np.argwhere(there).tolist()} for there, low, right in starts]
    while any(left):
        direction = next(number for number, edges in enumerate(left) if edges)
        place = start = next(iter(left[direction]))
        path = dict[tuple[int, int], None]()  # the corners, in order
        while True:
            left[direction].remove(place)
            place = place[0] + _STEPS[direction][0], place[1] + _STEPS[direction][1]
            right = (direction + 1) % 4  # first: pixels that share but a corner do not belong together
            turned = right if place in left[right] else direction if place in left[direction] else (direction + 3) % 4
            if turned != direction:
                if place in path:  # the ring touches itself: what lies between is a ring of its own
                    corners = list(path)
                    first = corners.index(place)
                    yield corners[first:]
                    path = dict.fromkeys(corners[:first])
                path[place] = None
            direction = turned
            if place == start and place not in left[direction]:
                break
        if path:
            yield list(path)
