import numpy as np
import pytest
import torch

from unetkit.prediction.crops import EIGHT, IDENTITY, Symmetry

IMAGE = np.arange(2 * 5 * 7).reshape(2, 5, 7)


def test_there_are_eight() -> None:
    square = np.arange(9).reshape(3, 3)
    assert len({symmetry.apply(square).tobytes() for symmetry in EIGHT}) == 8
    assert EIGHT[0] == IDENTITY


@pytest.mark.parametrize("symmetry", EIGHT)
def test_undo_leads_back(symmetry: Symmetry) -> None:
    shown = torch.from_numpy(symmetry.apply(IMAGE).copy())
    np.testing.assert_array_equal(symmetry.undo(shown).numpy(), IMAGE)


@pytest.mark.parametrize("symmetry", EIGHT)
def test_places_are_where_the_pixels_go(symmetry: Symmetry) -> None:
    rows, columns = slice(1, 3), slice(2, 6)
    shown = symmetry.apply(IMAGE)
    there = symmetry.place(rows, columns, shown.shape[1:])
    np.testing.assert_array_equal(shown[(slice(None), *there)], symmetry.apply(IMAGE[:, rows, columns]))
