"""Objects for ImageJ and QuPath: their polygons enclose the object, on its page, with its class and its size."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig
from unetkit.errors import UsageError
from unetkit.images.array import image_of_array
from unetkit.objects import ObjectMap
from unetkit.objects.find import polygons, regions
from unetkit.prediction import Predictor, objects_to_file
from unetkit.prediction.object_files import Found, imagej_file


def filled(rings: list[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centres lie within an odd number of rings."""
    y, x = np.indices(shape) + 0.5
    inside = np.zeros(x.size, bool)
    for ring in rings:
        inside ^= Outline(np.asarray(ring, float)).contains_points(np.c_[x.ravel(), y.ravel()])
    return inside.reshape(shape)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.8])
def test_polygons_enclose_the_pixels_of_their_object(share: float) -> None:
    ids = regions(np.random.default_rng(0).random((24, 31)) < share)
    for number, parts in enumerate(polygons(ids), 1):
        (polygon,) = parts
        np.testing.assert_array_equal(filled(list(polygon), ids.shape), ids == number)
        for ring in polygon:  # simple: no corner twice
            assert len(np.unique(ring, axis=0)) == len(ring) >= 4


def test_an_object_in_two_parts_has_two_polygons() -> None:
    ids = np.zeros((6, 9), np.int32)
    ids[1:3, 1:4] = ids[3:5, 4:8] = 1  # they share a corner
    (parts,) = polygons(ids)
    assert [len(polygon) for polygon in parts] == [1, 1]


@pytest.fixture
def finder(around: Callable[..., Predictor]) -> Predictor:
    """As sure of an object as a pixel is bright; holes stay."""

    def network(images: torch.Tensor) -> torch.Tensor:
        bright = (images / 255).clamp(1e-6, 1 - 1e-6)
        return torch.cat([(1 - bright).log(), bright.log()], dim=1)

    return around(network).with_card(objects=ObjectsConfig(method="components", min_size=1, fill_holes=False))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Three pages of 0.5 µm a pixel: a square and a ring, nothing, and the two upside down."""
    page = np.zeros((32, 40), np.uint8)
    page[2:12, 3:18] = 200
    page[16:30, 20:36] = 150
    page[20:26, 24:30] = 0
    metadata = {"axes": "ZYX", "unit": "micron", "spacing": 2.0}
    pages = np.stack([page, page * 0, page[::-1]])
    tifffile.imwrite(tmp_path / "stack.tif", pages, imagej=True, resolution=(2, 2), metadata=metadata)
    return tmp_path / "stack.tif"


def labels_of(finder: Predictor, stack: Path) -> list[NDArray[np.int32]]:
    return [finder.objects(page[None]).ids for page in tifffile.imread(stack)]


def test_imagej_gets_every_object_on_its_slice(finder: Predictor, stack: Path) -> None:
    roifile = pytest.importorskip("roifile", reason="needs the extra 'imagej'")
    out = stack.with_name("objects.zip")
    objects_to_file(finder, stack, out)
    rois = roifile.roiread(out)
    assert [(roi.name, roi.position) for roi in rois] == [
        ("1-class 1-1", 1),
        ("1-class 1-2", 1),
        ("3-class 1-1", 3),
        ("3-class 1-2", 3),
    ]
    labels = labels_of(finder, stack)
    for roi in rois:
        number = int(roi.name[-1])
        rings = roi.coordinates(multi=True)
        found = filled(rings if isinstance(rings, list) else [rings], labels[0].shape)
        np.testing.assert_array_equal(found, labels[roi.position - 1] == number)
    assert {bytes(roi.stroke_color) for roi in rois} == {bytes((255, 230, 159, 0))}


def test_a_network_that_sees_neighbours_puts_objects_on_their_slices(finder: Predictor, tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile", reason="needs the extra 'imagej'")
    opened = image_of_array("stack", np.zeros((3, 8, 8), np.uint8), "zyx").with_context(1)
    ids = np.zeros((8, 8), np.int32)
    ids[2:5, 2:6] = 1
    objects = ObjectMap(ids, np.ones(1, np.int64), np.ones(1, np.float32))
    with imagej_file(tmp_path / "o.zip", finder.classes) as sink:
        sink(Found(Path("stack"), 1, opened, np.zeros((1, 8, 8), np.uint8), objects, np.ones(1)))
    (roi,) = roifile.roiread(tmp_path / "o.zip")
    assert (roi.position, roi.z_position, roi.t_position) == (2, 0, 0)


def test_qupath_gets_every_object_on_its_plane_with_class_and_size(finder: Predictor, stack: Path) -> None:
    out = stack.with_name("objects.geojson")
    objects_to_file(finder, stack, out)
    content = json.loads(out.read_text())
    assert content["type"] == "FeatureCollection"
    labels, count = labels_of(finder, stack), dict[int, int]()
    for feature in content["features"]:
        plane = feature["geometry"]["plane"]
        count[plane["z"]] = number = count.get(plane["z"], 0) + 1
        rings = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert all(ring[0] == ring[-1] for ring in rings)
        mask = labels[plane["z"]] == number
        np.testing.assert_array_equal(filled(rings, mask.shape), mask)
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"] == {"name": "class 1", "color": [230, 159, 0]}
        assert properties["measurements"]["Area px"] == mask.sum()
        assert properties["measurements"]["Area µm^2"] == pytest.approx(0.25 * mask.sum())
        assert 0.5 < properties["measurements"]["Score"] < 1
    assert count == {0: 2, 2: 2}


def test_a_single_image_has_no_plane(finder: Predictor, stack: Path) -> None:
    single = stack.with_name("one.tif")
    tifffile.imwrite(single, tifffile.imread(stack)[0])
    objects_to_file(finder, single, stack.with_name("objects.geojson"))
    features = json.loads(stack.with_name("objects.geojson").read_text())["features"]
    assert ["plane" in one["geometry"] for one in features] == [False, False]
    assert set(features[0]["properties"]["measurements"]) == {"Area px", "Score"}


def test_labels_keep_the_scale(finder: Predictor, stack: Path) -> None:
    out = stack.with_name("labels.tif")
    objects_to_file(finder, stack, out)
    with tifffile.TiffFile(out) as tiff:
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("micron", 2.0)
        assert tiff.pages.first.resolution == (2.0, 2.0)


@pytest.mark.parametrize("name", ["x.zip", "x.geojson"])
def test_a_folder_of_images_does_not_fit_into_a_file_of_one(finder: Predictor, stack: Path, name: str) -> None:
    with pytest.raises(UsageError, match="such a file is of one image"):
        objects_to_file(finder, stack.parent, stack.with_name(name))
    assert not stack.with_name(name).exists()


def test_without_roifile_one_line_says_what_to_install(
    finder: Predictor, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(UsageError, match=r"pip install 'unetkit\[imagej\]'"):
        objects_to_file(finder, stack, stack.with_name("x.zip"))
    assert not stack.with_name("x.zip").exists()
