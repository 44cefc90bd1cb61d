"""Objects by blocks, against scikit-image's labels of what the network gives for the whole."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from unetkit.errors import StorageError, UsageError
from unetkit.images import open_image
from unetkit.prediction import Predictor, engine
from unetkit.prediction.engine import Work
from unetkit.prediction.predict import objects_to_zarr, predict_objects

Maker = Callable[..., Predictor]
PIXELS = np.zeros((3, 24, 2100), np.uint8)
PIXELS[0, 4, :] = 255  # through all blocks of a row
PIXELS[0, 10:14, 1020:1030] = 255  # across a border
PIXELS[1, 4:12, 1500] = 255  # in the next slice, below the first
PIXELS[1, 18, 30:60] = 255
PIXELS[2, 18, 59:62] = 255
PIXELS[2, 1, 1] = 255


@pytest.fixture
def bright(around: Callable[..., Predictor], tmp_path: Path) -> tuple[Predictor, Path]:
    """A network that finds bright pixels, and a volume."""
    tifffile.imwrite(tmp_path / "volume.tif", PIXELS, photometric="minisblack")
    predictor = around(lambda x: x - 100)
    config = predictor.object_config.model_copy(update={"min_size": 2})
    single = predictor.with_card(objects=config)
    return single, tmp_path / "volume.tif"


def numbers_of(out: Path) -> NDArray[Any]:
    image = open_image(out)
    return np.concatenate([image.read(page) for page in range(image.count)])


@pytest.mark.parametrize("through_depth", [False, True])
def test_objects_are_those_of_the_whole(bright: tuple[Predictor, Path], through_depth: bool) -> None:
    predictor, source = bright
    out = source.with_name("cells.ome.zarr")
    made = objects_to_zarr(predictor, source, out, through_depth=through_depth)
    if through_depth:
        expected = label(PIXELS > 0, connectivity=1)
    else:
        expected = np.stack([label(page > 0, connectivity=1) + 100 * number for number, page in enumerate(PIXELS)])
        expected[PIXELS == 0] = 0
    expected[2, 1, 1] = 0  # it is too small
    found = numbers_of(out)
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    count = len(np.unique(expected)) - 1
    assert (pairs.shape[1] - 1, found.max(), made.images[0].objects) == (count, count, count)
    with out.with_name("cells.csv").open() as handle:
        table = list(csv.DictReader(handle))
    assert [int(row["label"]) for row in table] == list(range(1, count + 1))
    for row, region in zip(table, regionprops(found), strict=True):
        assert int(row["pixels"]) == region.area
        centre = [float(row[name]) for name in ("page", "row", "column")]
        np.testing.assert_allclose(centre, region.centroid, atol=1e-3)
        low = [int(row[name]) for name in ("first_page", "top", "left")]
        high = [int(row[name]) + 1 for name in ("last_page", "bottom", "right")]
        assert (*low, *high) == region.bbox
    assert sorted(one.name for one in out.parent.iterdir()) == ["cells.csv", "cells.ome.zarr", "volume.tif"]


def test_labelling_is_resumed_to_the_same_numbers(
    bright: tuple[Predictor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, source = bright
    out, step = source.with_name("cells.ome.zarr"), engine.label_block

    def failing(job: Any, number: int, crops: Any) -> Any:
        if number == 5:
            raise StorageError("the disk is full")
        return step(job, number, crops)

    monkeypatch.setattr(engine, "label_block", failing)
    with pytest.raises(StorageError):
        objects_to_zarr(predictor, source, out, through_depth=True)
    assert not out.exists()
    monkeypatch.setattr(engine, "label_block", step)
    objects_to_zarr(predictor, source, out, through_depth=True, work=Work(resume=True))
    objects_to_zarr(predictor, source, source.with_name("whole.ome.zarr"), through_depth=True)
    np.testing.assert_array_equal(numbers_of(out), numbers_of(source.with_name("whole.ome.zarr")))
    assert source.with_name("cells.csv").read_bytes() == source.with_name("whole.csv").read_bytes()


def test_what_only_whole_images_give_is_refused(bright: tuple[Predictor, Path]) -> None:
    predictor, source = bright
    out = source.with_name("cells.ome.zarr")
    cut = predictor.with_options({"objects.method": "distance"})
    with pytest.raises(UsageError, match=r"objects.method=distance would cut; give objects.method=components"):
        objects_to_zarr(cut, source, out)
    with pytest.raises(UsageError, match="choose a name with .ome.zarr"):
        predict_objects(predictor, source, out.with_name("o.tif"), through_depth=True)
    with pytest.raises(UsageError, match="leave --outlines out"):
        predict_objects(predictor, source, out, outlines=True)
