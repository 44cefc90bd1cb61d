"""Objects drawn on their image.

Legend of shapes: C channels, H height, W width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.objects.labelled import NEIGHBOURS, ObjectMap

_PERCENTILES = (0.5, 99.5)
_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    np.uint8,
)
"""Okabe and Ito's, which colour-blind readers tell apart; class 1 has the first, class 8 again."""


def outlined(pixels: NDArray[Any], objects: ObjectMap) -> NDArray[np.uint8]:
    """Return pixels [C, H, W] as a picture [H, W, 3] of the same size, with each object's outermost pixels coloured.

    Three channels are shown in colour, of any other number the first in grey, from the 0.5th percentile to the 99.5th.
    """
    shown = (pixels if len(pixels) == 3 else pixels[:1]).astype(np.float32)
    low, high = np.percentile(shown, _PERCENTILES)
    grey = np.full_like(shown, 0.5) if high <= low else ((shown - low) / (high - low)).clip(0, 1)
    picture = np.broadcast_to(np.moveaxis((grey * 255 + 0.5).astype(np.uint8), 0, -1), (*objects.ids.shape, 3)).copy()
    border = outermost(objects.ids)
    picture[border] = _COLOURS[(objects.classes[objects.ids[border] - 1] - 1) % len(_COLOURS)]
    return picture


def outermost(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return [H, W] where the outermost pixels of objects are, those that have a neighbour outside along an edge."""
    border = np.zeros(ids.shape, bool)
    for one, other in NEIGHBOURS:
        differs = ids[one] != ids[other]
        border[one] |= differs
        border[other] |= differs
    return border & (ids > 0)
