"""The eight flips and turns of a square grid: what an image is shown as, and the way back.

Legend of shapes: ... any leading axes, H height, W width.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Symmetry:
    """The image's axes are swapped, then mirrored."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return a view of [..., H, W] as it is shown."""
        shown = image.swapaxes(-1, -2) if self.swap else image
        return shown[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, shown: Tensor) -> Tensor:
        """Return [..., H, W] from what was computed on the shown image."""
        axes = [axis for axis, flip in ((-2, self.flip_rows), (-1, self.flip_columns)) if flip]
        image = shown.flip(axes) if axes else shown
        return image.transpose(-1, -2) if self.swap else image

    def place(self, rows: slice, columns: slice, size: tuple[int, ...]) -> tuple[slice, slice]:
        """Return where rows and columns of the image are in what is shown, whose height and width are `size`."""
        down, across = (columns, rows) if self.swap else (rows, columns)
        return (
            _reversed(down, size[0]) if self.flip_rows else down,
            _reversed(across, size[1]) if self.flip_columns else across,
        )


IDENTITY = Symmetry()
"""The image as it is."""

EIGHT = tuple(Symmetry(*choice) for choice in product((False, True), repeat=3))
"""All flips and turns, the image as it is first."""


def _reversed(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)
