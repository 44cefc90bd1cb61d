"""What labelled data says of its objects.

Legend of shapes: H height, W width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.objects.labelled import ObjectMap, border_index, object_classes, renumbered
from unetkit.objects.parting import Ids, grown, regions


def true_objects(labels: NDArray[Any], instances: NDArray[np.int32] | None, classes: Sequence[str]) -> ObjectMap:
    """Return the objects of labelled data.

    Args:
        labels: class indices [H, W].
        instances: object ids [H, W], 0 for none; None: the connected regions (sharing an edge) of each class, and
            where there is a class 'border', the border is shared out among them.
        classes: names of the classes, index 0 first.
    """
    sought = object_classes(classes)
    ids = _regions(labels, classes) if instances is None else instances
    numbered, first = renumbered(ids)
    count = len(first)
    kinds = np.full(count, sought[0] if sought else 0, np.int64)
    if len(sought) > 1:
        shares = [np.bincount(numbered[labels == index], minlength=count + 1)[1:] for index in sought]
        kinds = np.array(sought)[np.argmax(shares, axis=0)]
    return ObjectMap(numbered, kinds, np.ones(count, np.float32))


def _regions(labels: NDArray[Any], classes: Sequence[str]) -> Ids:
    ids = np.zeros(labels.shape, np.int32)
    for index in object_classes(classes):
        found = regions(labels == index)
        ids[found > 0] = found[found > 0] + ids.max()
    border = border_index(classes)
    return ids if border is None else grown(labels > 0, ids, (labels != border).astype(np.float32))
