"""Gaps that are closed by blocks, against the whole page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unetkit.errors import StorageError
from unetkit.images import open_image
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.engine import Work
from unetkit.prediction.gaps import Gaps
from unetkit.prediction.predict import objects_in_blocks


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw cells whose walls have gaps, of more than one block in both directions."""
    rng = np.random.default_rng(0)
    seeds = np.ones((1050, 1040), bool)
    seeds[tuple(rng.integers(0, 1040, (2, 2500)))] = False
    nearest = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    cells = nearest[0] * 2000 + nearest[1]
    walls = ndimage.maximum_filter(cells, 3) != ndimage.minimum_filter(cells, 3)
    drawn = ndimage.gaussian_filter(walls * rng.uniform(0.2, 1.8, walls.shape), 1)
    path = tmp_path_factory.mktemp("gaps") / "cells.tif"
    tifffile.imwrite(path, (255 - 200 * drawn.clip(0, 1)).astype(np.uint8), photometric="minisblack")
    return path


@pytest.fixture
def closing(around: Callable[..., Predictor]) -> Predictor:
    """A network whose background are dark walls."""
    return around(lambda x: (x - 200) / 12, close_gaps=True)


def test_gaps_are_closed_as_on_the_whole_page(closing: Predictor, page: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.tif"
    predict_to_file(closing, page, out, probabilities=True, work=Work(memory=9.0))
    found, pixels = tifffile.imread(out), tifffile.imread(page)[None]
    np.testing.assert_allclose(found, closing.probabilities(pixels)[1], rtol=0, atol=1e-6)
    left_open = closing.with_options({"close_gaps": False})
    assert (found < left_open.probabilities(pixels)[1] - 0.05).mean() > 0.003


@pytest.mark.slow
def test_objects_and_masks_have_closed_gaps(
    closing: Predictor, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, pixels = closing.with_options({"objects.method": "components"}), tifffile.imread(page)[None]
    find = Gaps.find

    def failing(self: Gaps, number: int, walls_HW: Any) -> Any:
        if number == 3:
            raise StorageError("the disk is full")
        return find(self, number, walls_HW)

    monkeypatch.setattr(Gaps, "find", failing)
    with pytest.raises(StorageError):
        objects_in_blocks(predictor, page, tmp_path / "cells.ome.zarr")
    monkeypatch.undo()
    made = objects_in_blocks(predictor, page, tmp_path / "cells.ome.zarr", work=Work(resume=True))
    expected, ids = predictor.objects(pixels), open_image(tmp_path / "cells.ome.zarr").read(0)[0]
    assert made.images[0].objects == len(expected)
    assert len(np.unique(np.stack([ids.ravel(), expected.ids.ravel()]), axis=1).T) == len(expected) + 1
    predict_to_file(predictor, page, tmp_path / "masks.ome.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "masks.ome.zarr").read(0)[0], predictor.labels(pixels))
