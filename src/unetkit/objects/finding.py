"""From probabilities to objects: where they are, how they are parted, which are too small, what class each has.

Every object class is taken by itself: a pixel of an object is of the object class that is most probable there. The same
probabilities give the same objects. The whole image is held at once; does not know tiles.

Legend of shapes: K classes, H height, W width, N objects.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unetkit.config import BORDER, ObjectsConfig
from unetkit.errors import ConfigError
from unetkit.objects.labelled import NEIGHBOURS, ObjectMap, border_index, object_classes, renumbered
from unetkit.objects.parting import METHODS, Ids, Scene, regions

_NUMBERS = {
    "components": ("threshold",),
    "distance": ("threshold", "neck"),
    "borders": ("threshold", "seed_threshold", "neck"),
}
"""The keys that a method looks at, beside those that all do."""


def find_objects(probabilities: NDArray[np.float32], classes: Sequence[str], config: ObjectsConfig) -> ObjectMap:
    """Return the objects of an image.

    Args:
        probabilities: [K, H, W], summing to one over K; class 0 is the background.
        classes: the names of the classes; one named 'border' is no object: it keeps objects apart.
        config: the method and its numbers.

    Raises:
        ConfigError: no class is an object, or the method needs a class 'border' that is not there.
    """
    sought, border = object_classes(classes), border_index(classes)
    if not sought:
        raise ConfigError(f"of the classes {', '.join(classes)} none is an object; name one beside '{BORDER}'")
    part = METHODS[method_for(classes, config)]
    foreground = 1 - probabilities[0]
    core = None if border is None else foreground - 2 * probabilities[border]
    mask = foreground > config.threshold
    kinds, ids = _most_probable(probabilities, sought), np.zeros(mask.shape, np.int32)
    for kind in sought:
        own = mask if len(sought) == 1 else mask & (kinds == kind)
        if own.any():
            made = part(Scene(own, core, config))
            ids[own] = made[own] + ids.max()
    objects = _described(_filled(ids) if config.fill_holes else ids, foreground, kinds)
    return _only(objects, (objects.sizes() >= config.min_size) & (objects.confidences >= config.min_confidence))


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
            "train it with data.border_class=1, or choose distance or components"
        )
    return config.method


def describe(classes: Sequence[str], config: ObjectsConfig) -> str:
    """Say how objects are made, in one line.

    Raises:
        ConfigError: as `method_for`.
    """
    method = method_for(classes, config)
    names = [*_NUMBERS[method], "min_size", "min_confidence"]
    numbers = ", ".join(f"{name} {getattr(config, name):g}" for name in names)
    return f"{method}, {numbers}, holes {'filled' if config.fill_holes else 'left'}"


def _only(objects: ObjectMap, kept: NDArray[np.bool_]) -> ObjectMap:
    """Return some [N] of the objects; their order stays."""
    numbers = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return ObjectMap(numbers[objects.ids], objects.classes[kept], objects.confidences[kept])


def _most_probable(probabilities: NDArray[np.float32], sought: Sequence[int]) -> NDArray[np.int64]:
    """Return the object class [H, W] that is most probable at each pixel, the first of equals."""
    if len(sought) == 1:
        return np.broadcast_to(np.int64(sought[0]), probabilities.shape[1:])
    return np.array(sought)[probabilities[sought].argmax(0)]


def _described(ids: Ids, foreground: NDArray[np.float32], kinds: NDArray[np.int64]) -> ObjectMap:
    """Number the objects; their first pixels tell their classes, as they are never a hole that was filled."""
    numbered, first = renumbered(ids)
    flat = numbered.ravel()
    sums, sizes = np.bincount(flat, foreground.ravel()), np.bincount(flat)
    return ObjectMap(numbered, kinds.ravel()[first], (sums[1:] / sizes[1:]).astype(np.float32))


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
