import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from unetkit.config import ObjectsConfig
from unetkit.data.outlines import draw_runs
from unetkit.errors import ConfigError, StorageError, UsageError
from unetkit.prediction import Predictor, object_files, objects_to_file

SQUARES = ((slice(2, 12), slice(3, 18)), (slice(20, 30), slice(0, 9)))
"""Two objects of an image of 32 x 40 pixels."""


@pytest.fixture
def finder(around: Callable[..., Predictor]) -> Predictor:
    """A predictor that is as sure of an object as a pixel is bright: 200 becomes 200 / 255."""

    def network(images: torch.Tensor) -> torch.Tensor:
        bright = (images / 255).clamp(1e-6, 1 - 1e-6)
        return torch.cat([(1 - bright).log(), bright.log()], dim=1)

    return around(network).with_card(objects=ObjectsConfig(method="components", min_size=1))


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    pixels = np.zeros((32, 40), np.uint8)
    for place, brightness in zip(SQUARES, (200, 150), strict=True):
        pixels[place] = brightness
    return pixels


@pytest.fixture
def picture(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    Image.fromarray(scene).save(tmp_path / "cells.png")
    return tmp_path / "cells.png"


@pytest.fixture
def stack(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([scene, scene[::-1], scene * 0]), photometric="minisblack")
    return tmp_path / "stack.tif"


@pytest.fixture
def folder(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    made = tmp_path / "many"
    made.mkdir()
    Image.fromarray(scene).save(made / "a.png")
    Image.fromarray(scene[:, ::-1].copy()).save(made / "b.png")
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_image_becomes_a_label_image(finder: Predictor, picture: Path, scene: NDArray[np.uint8]) -> None:
    out = picture.with_name("labels.tif")
    objects_to_file(finder, picture, out)
    labels = tifffile.imread(out)
    assert labels.dtype == np.uint16
    assert labels.shape == scene.shape
    np.testing.assert_array_equal(labels, np.select([scene == 200, scene == 150], [1, 2]))


def test_pages_of_a_stack_are_numbered_by_themselves(finder: Predictor, stack: Path) -> None:
    out = stack.with_name("labels.tif")
    objects_to_file(finder, stack, out)
    labels = tifffile.imread(out)
    expected = [finder.objects(page[None]).ids for page in tifffile.imread(stack)]
    np.testing.assert_array_equal(labels, expected)
    assert [page.max() for page in labels] == [2, 2, 0]


def test_more_than_65535_objects_are_written_in_32_bits(finder: Predictor, tmp_path: Path) -> None:
    pixels = np.zeros((2, 520, 520), np.uint8)
    pixels[1, ::2, ::2] = 255
    tifffile.imwrite(tmp_path / "dots.tif", pixels, photometric="minisblack")
    objects_to_file(finder, tmp_path / "dots.tif", tmp_path / "labels.tif")
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels[1, ::2, ::2].ravel(), np.arange(1, 260 * 260 + 1))


def test_a_folder_becomes_a_folder_of_labels_and_one_of_outlines(finder: Predictor, folder: Path) -> None:
    out = folder.with_name("labels")
    objects_to_file(finder, folder, out, outlines=True)
    assert names(out) == ["a.tif", "b.tif"]
    assert names(folder.with_name("labels-outlines")) == ["a.png", "b.png"]
    assert tifffile.imread(out / "b.tif").max() == 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in the oracle's own decoder
def test_coco_is_what_pycocotools_reads(
    finder: Predictor, stack: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs the extra 'coco'")
    out = stack.with_name("objects.json")
    objects_to_file(finder, stack, out)
    read = coco.COCO(str(out))
    capsys.readouterr()
    assert [image["page"] for image in read.loadImgs(read.getImgIds())] == [0, 1, 2]
    assert read.loadCats(read.getCatIds()) == [{"id": 1, "name": "class 1"}]
    one, other = read.loadAnns(read.getAnnIds(imgIds=1))
    assert (one["bbox"], one["area"]) == ([3, 2, 15, 10], 150)
    assert (other["bbox"], other["area"]) == ([0, 20, 9, 10], 90)
    assert [one["score"], other["score"]] == pytest.approx([200 / 255, 150 / 255], abs=1e-6)
    found = [draw_runs(one["segmentation"]["counts"], one["segmentation"]["size"], "x") for one in (one, other)]
    np.testing.assert_array_equal(found, [scene == 200, scene == 150])
    masks = pytest.importorskip("pycocotools.mask")
    np.testing.assert_array_equal(masks.decode(one["segmentation"]), scene == 200)
    assert read.getAnnIds(imgIds=3) == []
    results = read.loadRes(json.loads(out.read_text())["annotations"])
    assert len(results.anns) == 4


def test_the_score_is_that_of_the_objects_class(around: Callable[..., Predictor], picture: Path) -> None:
    pytest.importorskip("pycocotools", reason="needs the extra 'coco'")

    def network(images: torch.Tensor) -> torch.Tensor:
        bright = images > 100
        rest = torch.where(bright, 0.1, 0.9)
        return torch.cat([rest, torch.where(bright, 0.3, 0.05), torch.where(bright, 0.6, 0.05)], dim=1).log()

    predictor = around(network, classes=3)
    objects_to_file(predictor, picture, picture.with_name("objects.json"))
    content = json.loads(picture.with_name("objects.json").read_text())
    assert [one["category_id"] for one in content["annotations"]] == [2, 2]
    assert [one["score"] for one in content["annotations"]] == pytest.approx([0.6, 0.6], abs=1e-6)


@pytest.mark.parametrize(
    ("out", "drawn"), [("o.png", "o.png"), ("o.tif", "o-outlines.png"), ("o.json", "o-outlines.png")]
)
def test_outlines_lie_on_the_outermost_pixels(
    finder: Predictor, picture: Path, scene: NDArray[np.uint8], out: str, drawn: str
) -> None:
    objects_to_file(finder, picture, picture.with_name(out), outlines=True)
    assert names(picture.parent) == sorted({"cells.png", out, drawn})
    pixels = np.asarray(Image.open(picture.with_name(drawn)))
    assert pixels.shape == (*scene.shape, 3)
    coloured = np.ptp(pixels.astype(int), axis=2) > 0
    expected = np.zeros(scene.shape, bool)
    rows, columns = SQUARES[0]
    expected[rows, columns] = True
    expected[rows.start + 1 : rows.stop - 1, columns.start + 1 : columns.stop - 1] = False
    np.testing.assert_array_equal(coloured[:15], expected[:15])


def test_outlines_of_a_stack_are_a_folder(finder: Predictor, stack: Path) -> None:
    objects_to_file(finder, stack, stack.with_name("labels.tif"), outlines=True)
    assert names(stack.with_name("labels-outlines")) == ["stack-0000.png", "stack-0001.png", "stack-0002.png"]


@pytest.mark.parametrize(
    ("source", "out", "options", "complaint"),
    [
        ("cells.png", "x.png", {}, "--outlines"),
        ("cells.png", "x.jpg", {}, "no form of objects"),
        ("stack.tif", "x.png", {"outlines": True}, "more than one picture"),
        ("stack.tif", "stack.tif", {}, "is the image itself"),
        ("many", "x.tif", {}, "choose a folder"),
        ("many", "many", {}, "not an empty folder"),
        ("cells.png", "cells.png", {"outlines": True}, "is the image itself"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    finder: Predictor,
    picture: Path,
    stack: Path,
    folder: Path,
    source: str,
    out: str,
    options: dict[str, Any],
    complaint: str,
) -> None:
    assert stack.parent == picture.parent == folder.parent
    before = names(picture.parent)
    with pytest.raises(UsageError, match=complaint):
        objects_to_file(finder, picture.with_name(source), picture.with_name(out), **options)
    assert names(picture.parent) == before


def test_a_method_that_the_classes_do_not_allow_is_refused(finder: Predictor, picture: Path) -> None:
    predictor = finder.with_card(objects=ObjectsConfig(method="borders"))
    with pytest.raises(ConfigError, match="border"):
        objects_to_file(predictor, picture, picture.with_name("x.tif"))


def test_without_pycocotools_one_line_says_what_to_install(
    finder: Predictor, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UsageError, match=r"pip install 'unetkit\[coco\]'"):
        objects_to_file(finder, picture, picture.with_name("x.json"))
    assert names(picture.parent) == ["cells.png"]


def test_a_failure_half_way_leaves_nothing(finder: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def full(*_: object) -> NDArray[np.uint8]:
        drawn.append(1)
        if len(drawn) == 2:
            raise OSError(28, "No space left on device")
        return np.zeros((32, 40, 3), np.uint8)

    monkeypatch.setattr(object_files, "outlined", full)
    with pytest.raises(StorageError, match="No space left"):
        objects_to_file(finder, folder, folder.with_name("labels"), outlines=True)
    assert names(folder.parent) == ["many"]


def test_a_table_without_objects_has_the_types_of_one_with_objects(finder: Predictor, tmp_path: Path) -> None:
    parquet, pixels = pytest.importorskip("pyarrow.parquet"), np.zeros((32, 40), np.uint8)
    tifffile.imwrite(tmp_path / "none.tif", pixels)
    pixels[SQUARES[0]] = 255
    tifffile.imwrite(tmp_path / "one.tif", pixels)
    tables = []
    for name in ("none", "one"):
        objects_to_file(finder, tmp_path / f"{name}.tif", tmp_path / f"{name}.parquet")
        tables.append(parquet.read_table(tmp_path / f"{name}.parquet"))
    assert [table.num_rows for table in tables] == [0, 1]
    assert tables[0].schema == tables[1].schema


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_says_where_objects_are(finder: Predictor, tmp_path: Path, ending: str) -> None:
    pixels = np.zeros((2, 32, 40), np.uint8)
    pixels[(1, *SQUARES[0])] = pixels[(1, *SQUARES[1])] = 255
    sizes = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="minisblack", metadata=sizes)
    out = tmp_path / f"cells.{ending}"
    objects_to_file(finder, tmp_path / "a.ome.tif", out)
    if ending == "csv":
        with out.open() as handle:
            rows: list[dict[str, Any]] = list(csv.DictReader(handle))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(out).to_pylist()
    first = {name: str(value) for name, value in rows[0].items()}
    assert [str(row["label"]) for row in rows] == ["1", "2"]
    assert first["image"] == "a.ome.tif"
    assert first["pixels"] == "150"
    assert [float(first[name]) for name in ("page", "row", "column")] == [1, 6.5, 10]
    assert [first[name] for name in ("top", "bottom", "left", "right")] == ["2", "11", "3", "17"]
    units = ("z_micrometer", "y_micrometer", "x_micrometer", "area_micrometer2")
    assert [float(first[name]) for name in units] == [2, 6.5 * 0.25, 5, 150 * 0.125]
