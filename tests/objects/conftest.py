"""Drawings that several tests look at."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def spiral() -> Callable[[int], NDArray[np.bool_]]:
    """Draw a spiral in a square of a size."""

    def draw(size: int) -> NDArray[np.bool_]:
        """Draw one line that winds from the corner to the centre, one pixel apart from itself."""
        mask = np.zeros((size, size), bool)
        row, column, step, turn = 0, 0, (0, 1), 0
        mask[0, 0] = True
        while turn < 2:
            ahead, after = (row + step[0], column + step[1]), (row + 2 * step[0], column + 2 * step[1])
            inside = 0 <= ahead[0] < size and 0 <= ahead[1] < size
            free = not (0 <= after[0] < size and 0 <= after[1] < size) or not mask[after]
            if inside and free and not mask[ahead]:
                (row, column), turn = ahead, 0
                mask[row, column] = True
            else:
                step, turn = (step[1], -step[0]), turn + 1
        return mask

    return draw
