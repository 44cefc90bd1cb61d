"""Objects by blocks, against scikit-image's labels of what the network gives for the whole."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.draw import disk
from skimage.measure import label, regionprops

from unetkit.errors import StorageError, UsageError
from unetkit.images import open_image
from unetkit.prediction import Predictor
from unetkit.prediction.engine import Work
from unetkit.prediction.labels import Labels
from unetkit.prediction.predict import objects_in_blocks, objects_to_file, predict_objects

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
    made = objects_in_blocks(predictor, source, out, through_depth=through_depth)
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


@pytest.mark.slow
def test_labelling_is_resumed_to_the_same_numbers(
    bright: tuple[Predictor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, source = bright
    out, step = source.with_name("cells.ome.zarr"), Labels.label

    def failing(self: Labels, number: int, crops: Any) -> Any:
        if number == 5:
            raise StorageError("the disk is full")
        return step(self, number, crops)

    monkeypatch.setattr(Labels, "label", failing)
    with pytest.raises(StorageError):
        objects_in_blocks(predictor, source, out, through_depth=True)
    assert not out.exists()
    monkeypatch.setattr(Labels, "label", step)
    objects_in_blocks(predictor, source, out, through_depth=True, work=Work(resume=True))
    objects_in_blocks(predictor, source, source.with_name("whole.ome.zarr"), through_depth=True)
    np.testing.assert_array_equal(numbers_of(out), numbers_of(source.with_name("whole.ome.zarr")))
    assert source.with_name("cells.csv").read_bytes() == source.with_name("whole.csv").read_bytes()


def test_more_objects_than_are_allowed_end_in_a_line_and_go_on_with_more_memory(
    bright: tuple[Predictor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, source = bright
    out = source.with_name("cells.ome.zarr")
    monkeypatch.setattr("unetkit.prediction.labels.OF_PART", 1e9)
    with pytest.raises(
        UsageError, match=r"^\d+ parts of objects take .* allowed; give --memory \S+GB --resume$"
    ) as ended:
        objects_in_blocks(predictor, source, out, work=Work(memory=8))
    enough = float(str(ended.value).rpartition("--memory ")[2].removesuffix("GB --resume"))
    assert enough > 8
    made = objects_in_blocks(predictor, source, out, work=Work(memory=enough, resume=True))
    assert made.images[0].objects == 5


def test_what_only_whole_images_give_is_refused(bright: tuple[Predictor, Path]) -> None:
    predictor, source = bright
    out = source.with_name("cells.ome.zarr")
    cut = predictor.with_options({"objects.method": "distance"})
    with pytest.raises(UsageError, match=r"objects.method=distance would cut .*; give objects.method=components"):
        objects_in_blocks(cut, source, out, through_depth=True)
    with pytest.raises(UsageError, match="choose a name with .ome.zarr"):
        predict_objects(predictor, source, out.with_name("o.tif"), through_depth=True)
    with pytest.raises(UsageError, match="leave --outlines out"):
        predict_objects(predictor, source, out, outlines=True)


def touching_blobs(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Draw pairs of touching discs, each pair apart from the others, some of them with a hole."""
    page, rng = np.zeros((height, width), np.uint8), np.random.default_rng(seed)
    for top in range(14, height - 14, 30):
        for left in range(14, width - 30, 44):
            row, column, radius = top + rng.integers(-1, 2), left + rng.uniform(0, 6), rng.uniform(6, 9)
            for centre, wide in ((column, radius), (column + radius * 1.5, radius - 1.3)):
                page[disk((row, centre), wide, shape=page.shape)] = rng.integers(110, 255)
            page[row, int(column)] *= rng.random() < 0.5
    return page


@pytest.fixture
def blobs(around: Callable[..., Predictor], tmp_path: Path) -> tuple[Predictor, Path]:
    """A network that finds blobs, and an image of more than one block in both directions."""
    tifffile.imwrite(tmp_path / "blobs.tif", touching_blobs(1060, 1070, 3), photometric="minisblack")
    return around(lambda x: (x - 100) / 8), tmp_path / "blobs.tif"


@pytest.mark.parametrize("options", [{}, {"objects.min_confidence": 0.99}, {"objects.method": "components"}])
def test_blocks_are_split_and_filled_as_the_whole_page(blobs: tuple[Predictor, Path], options: Any) -> None:
    predictor, source = blobs
    predictor, out = predictor.with_options(options), source.with_name("cells.ome.zarr")
    made = objects_in_blocks(predictor, source, out)
    expected = predictor.objects(tifffile.imread(source)[None])
    found = numbers_of(out)[0]
    pairs = np.unique(np.stack([found.ravel(), expected.ids.ravel()]), axis=1)
    assert pairs.shape[1] == len(expected) + 1 == made.images[0].objects + 1
    of_found = pairs[1][1:][np.argsort(pairs[0][1:])] - 1
    with out.with_name("cells.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["pixels"]) for row in rows] == expected.sizes()[of_found].tolist()
    confidences = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(confidences, expected.confidences[of_found], atol=6e-5)
    regions = int(label(tifffile.imread(source) > 0, connectivity=1).max())
    if "objects.min_confidence" not in options:
        assert len(expected) == regions if options else len(expected) > regions


def test_splitting_is_resumed_to_the_same_bytes(blobs: tuple[Predictor, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, source = blobs
    out, other, split = source.with_name("cells.ome.zarr"), source.with_name("whole.ome.zarr"), Labels.split
    asked = list[int]()

    def failing(self: Labels, number: int, planes: Any) -> Any:
        asked.append(number)
        if number == 2:
            raise StorageError("the disk is full")
        return split(self, number, planes)

    monkeypatch.setattr(Labels, "split", failing)
    monkeypatch.chdir(out.parent)
    with pytest.raises(StorageError):
        objects_in_blocks(predictor, source, out)
    Path("notes.txt").write_text("what lies in the working folder does not matter")
    monkeypatch.setattr(Labels, "split", split)
    monkeypatch.setattr(Labels, "predict", None)  # every block was predicted
    objects_in_blocks(predictor, source, out, work=Work(resume=True))
    monkeypatch.undo()
    objects_in_blocks(predictor, source, other)
    np.testing.assert_array_equal(numbers_of(out), numbers_of(other))
    assert out.with_name("cells.csv").read_bytes() == other.with_name("whole.csv").read_bytes()
    assert asked in ([0, 1, 2], [0, 1, 2, 3])  # the one after may have begun


def test_small_images_have_the_numbers_of_the_whole_page(around: Callable[..., Predictor], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", touching_blobs(90, 200, 1), photometric="minisblack")
    predictor = around(lambda x: (x - 100) / 8)
    objects_in_blocks(predictor, tmp_path / "small.tif", tmp_path / "cells.ome.zarr")
    expected = predictor.objects(tifffile.imread(tmp_path / "small.tif")[None])
    np.testing.assert_array_equal(numbers_of(tmp_path / "cells.ome.zarr")[0], expected.ids)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_of_any_size_is_that_of_the_whole_page(blobs: tuple[Predictor, Path], ending: str) -> None:
    predictor, source = blobs
    predictor = predictor.with_options({"objects.method": "components"})
    out, whole = source.with_name(f"cells{ending}"), source.with_name(f"whole{ending}")
    objects_in_blocks(predictor, source, out, work=Work(memory=9.0))
    objects_to_file(predictor, source, whole)
    one, other = (read_table(path) for path in (out, whole))
    assert one.keys() == other.keys()
    places = [sorted(zip(*(found[name] for name in found if name != "label"), strict=True)) for found in (one, other)]
    assert places[0] == places[1]
    assert sorted(one["label"]) == sorted(other["label"])
    assert not source.with_name(f"cells{ending}.unfinished").exists()


def read_table(path: Path) -> dict[str, list[Any]]:
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pydict()
    with path.open() as handle:
        header, *rows = csv.reader(handle)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
