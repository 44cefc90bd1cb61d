"""Gaps that are closed by blocks, against the whole page."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unetkit.errors import StorageError, UsageError
from unetkit.images import open_image
from unetkit.images.write import Form
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.blocks import choose_tiles
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


def test_pages_do_not_know_each_other(closing: Predictor, page: Path, tmp_path: Path) -> None:
    pixels = tifffile.imread(page)[:40]
    stack = np.stack([pixels, pixels[::-1], np.full_like(pixels, 255)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    predict_to_file(closing, tmp_path / "stack.tif", tmp_path / "p.tif", probabilities=True, work=Work(memory=9.0))
    for found, one in zip(tifffile.imread(tmp_path / "p.tif"), stack, strict=True):
        np.testing.assert_allclose(found, closing.probabilities(one[None])[1], rtol=0, atol=1e-6)


def test_what_is_joined_is_bounded_before_the_start_and_when_it_is_counted(
    closing: Predictor, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, image = Form(np.uint8, 12000, 12000, 1, (), None), open_image(page)
    choose = partial(choose_tiles, closing, form, image, side=1024, workers=1, closing=True)
    with pytest.raises(UsageError, match="closing gaps in a page of 12000 x 12000 pixels takes up to") as refused:
        choose(memory=2)
    choose(memory=float(str(refused.value).rpartition("--memory ")[2].removesuffix("GB")) + 0.1)

    monkeypatch.setattr("unetkit.prediction.gaps.OF_CONTOUR", 1e8)  # as if there were more of them than in noise
    tifffile.imwrite(tmp_path / "cells.tif", tifffile.imread(page)[:40], photometric="minisblack")
    predict = partial(predict_to_file, closing, tmp_path / "cells.tif", tmp_path / "p.tif")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"\d+ contours of page 0 take .* give --memory \S+GB --resume") as refused:
            predict(work=Work(memory=9.0, resume=True))
    enough = float(str(refused.value).rpartition("--memory ")[2].removesuffix("GB --resume"))
    predict(work=Work(memory=enough, resume=True))
    assert {one.name for one in tmp_path.iterdir()} == {"cells.tif", "p.tif"}


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
