"""Predictions within a region of interest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from unetkit.errors import DataError
from unetkit.images import open_image
from unetkit.objects import find_objects
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.engine import Work
from unetkit.prediction.predict import objects_to_file

Maker = Callable[..., Predictor]
RNG = np.random.default_rng(3)
STACK = RNG.integers(0, 256, (3, 60, 80), np.uint8)
INSIDE = np.zeros((60, 80), bool)
INSIDE[7:41, 13:66] = True


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    Picture.fromarray(INSIDE).save(tmp_path / "roi.png")
    return tmp_path / "stack.tif", tmp_path / "roi.png"


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
def test_outside_a_region_is_background(
    make_predictor: Maker, files: tuple[Path, Path], tmp_path: Path, blocks: bool, probabilities: bool
) -> None:
    predictor, (source, roi) = make_predictor(), files
    work = Work(memory=8.0) if blocks else None
    outs = tmp_path / "all.tif", tmp_path / "within.tif"
    for out, given in zip(outs, (None, roi), strict=True):
        predict_to_file(predictor, source, out, probabilities=probabilities, roi=given, work=work)
    everywhere, within = (tifffile.imread(out) for out in outs)
    assert everywhere[:, ~INSIDE].any()
    np.testing.assert_array_equal(within, np.where(INSIDE, everywhere, 0))


def test_objects_are_sought_inside_alone(make_predictor: Maker, files: tuple[Path, Path], tmp_path: Path) -> None:
    predictor, (source, roi) = make_predictor(), files
    objects_to_file(predictor, source, tmp_path / "o.tif", roi=roi)
    p_KHW = predictor.probabilities(STACK[1][None])
    p_KHW[1:, ~INSIDE], p_KHW[0, ~INSIDE] = 0, 1
    expected = find_objects(p_KHW, predictor.classes, predictor.object_config).ids
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif")[1], expected)


def test_regions_of_a_folder_are_paired_by_name(make_predictor: Maker, tmp_path: Path) -> None:
    for folder in ("in", "fov"):
        (tmp_path / folder).mkdir()
    regions = {number: RNG.random((60, 80)) < 0.5 for number in (1, 2)}
    for number, inside in regions.items():
        Picture.fromarray(STACK[number]).save(tmp_path / f"in/{number:02}_test.png")
        Picture.fromarray(inside).save(tmp_path / f"fov/{number:02}_test_mask.png")
    predict_to_file(make_predictor(), tmp_path / "in", tmp_path / "out", roi=tmp_path / "fov")
    for number, inside in regions.items():
        assert not open_image(tmp_path / f"out/{number:02}_test.png").read()[0][~inside].any()
    (tmp_path / "fov/02_test_mask.png").unlink()
    with pytest.raises(DataError, match=r"02_test\.png: has no region in .*fov"):
        predict_to_file(make_predictor(), tmp_path / "in", tmp_path / "out2", roi=tmp_path / "fov")
    assert not (tmp_path / "out2").exists()


def test_a_region_of_another_size_is_refused(make_predictor: Maker, files: tuple[Path, Path], tmp_path: Path) -> None:
    Picture.fromarray(INSIDE[:50]).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"small\.png: 1 pages of 50 x 80, but .*stack\.tif has 3 of 60 x 80"):
        predict_to_file(make_predictor(), files[0], tmp_path / "x.tif", roi=tmp_path / "small.png")
    assert not (tmp_path / "x.tif").exists()


def test_volumes_have_regions_too(make_predictor: Maker, files: tuple[Path, Path], tmp_path: Path) -> None:
    source, roi = files
    predict_to_file(make_predictor(), source, tmp_path / "v.ome.zarr", roi=roi)
    found = open_image(tmp_path / "v.ome.zarr").read(2)[0]
    assert found[INSIDE].any()
    assert not found[~INSIDE].any()
