"""Images that are read by windows: compressed files, OME-Zarr, more channels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unetkit.errors import DataError, UsageError
from unetkit.images import open_image
from unetkit.images.convert import convert_image
from unetkit.images.image import Image
from unetkit.prediction import Predictor, predict_to_file

Maker = Callable[..., Predictor]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 70, 90), np.uint8)
WAYS = [{"tile": 40}, {"tile": 40, "overlap": 8}, {"tile": 40, "tta": True}]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    options: dict[str, dict[str, Any]] = {"mapped": {}, "packed": {"compression": "zlib", "tile": (16, 16)}}
    for name, own in options.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", PIXELS, photometric="minisblack", **own)
    convert_image(tmp_path / "packed.tif", tmp_path / "volume.ome.zarr")
    return {name: tmp_path / f"{name}.tif" for name in options} | {"zarr": tmp_path / "volume.ome.zarr"}


@pytest.mark.parametrize("predict", WAYS)
def test_windows_give_what_whole_images_give(make_predictor: Maker, files: dict[str, Path], predict: Any) -> None:
    predictor, written = make_predictor(predict=predict), dict[str, np.ndarray]()
    for name, path in files.items():
        out = path.with_name(f"{name}-out.tif")
        predict_to_file(predictor, path, out, probabilities=True)
        written[name] = tifffile.imread(out)
    np.testing.assert_array_equal(
        written["mapped"], np.stack([predictor.probabilities(page[None])[1] for page in PIXELS])
    )
    np.testing.assert_array_equal(written["packed"], written["mapped"])
    np.testing.assert_array_equal(written["zarr"], written["mapped"])


def test_no_more_than_a_tile_is_read_at_once(
    make_predictor: Maker, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    original = Image.read

    def read(self: Image, *window: Any) -> np.ndarray:
        found = original(self, *window)
        sizes.append(found.shape)
        return found

    monkeypatch.setattr(Image, "read", read)
    predict_to_file(
        make_predictor(predict={"tile": 40, "overlap": 8}), files["packed"], files["packed"].with_name("o.tif")
    )
    assert len(sizes) > 12
    assert max(max(size[1:]) for size in sizes[:-1]) <= 40  # the last is what the unit is told by


def test_masks_go_to_ome_zarr_as_labels(make_predictor: Maker, files: dict[str, Path]) -> None:
    predictor = make_predictor(predict={"tile": 40, "overlap": 8})
    expected = np.stack([predictor.labels(page[None]) for page in PIXELS])
    for out in (files["zarr"].with_name("masks.ome.zarr"), files["zarr"] / "labels" / "cells"):
        predict_to_file(predictor, files["zarr"], out)
        image = open_image(out)
        np.testing.assert_array_equal(np.concatenate([image.read(page) for page in range(3)]), expected)
        attributes: Any = zarr.open_group(out, mode="r").attrs.asdict()
        assert [one["class"] for one in attributes["ome"]["image-label"]["properties"]] == list(predictor.data_classes)
        assert attributes["unetkit"]["classes"] == list(predictor.classes)
        with pytest.raises(UsageError, match="is there already"):
            predict_to_file(predictor, files["zarr"], out)
    np.testing.assert_array_equal(open_image(files["zarr"]).read(2)[0], PIXELS[2])


def test_probabilities_go_to_ome_zarr_as_channels(make_predictor: Maker, files: dict[str, Path]) -> None:
    predictor = make_predictor(classes=3)
    predict_to_file(predictor, files["packed"], files["packed"].with_name("p.ome.zarr"), probabilities=True)
    image = open_image(files["packed"].with_name("p.ome.zarr"))
    assert (image.axes, image.shape, image.dtype) == ("zcyx", (3, 3, 70, 90), np.float32)
    np.testing.assert_array_equal(image.read(1), predictor.probabilities(PIXELS[1][None]))


def test_channels_are_chosen_or_refused(make_predictor: Maker, files: dict[str, Path], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", PIXELS, metadata={"axes": "CYX"}, photometric="minisblack")
    with pytest.raises(DataError, match=r"has 3 channels, .* with 1; choose 1 of 3 by predict\.channels=\[0\]"):
        predict_to_file(make_predictor(), tmp_path / "c.tif", tmp_path / "o.tif")
    predictor = make_predictor(predict={"channels": (2,)})
    predict_to_file(predictor, tmp_path / "c.tif", tmp_path / "o.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), predictor.labels(PIXELS[2][None]) * 255)
    with pytest.raises(DataError, match=r"if its 3 pages are channels, choose 3 of 3 by predict\.channels=\[0, 1, 2\]"):
        predict_to_file(make_predictor(channels=3), files["mapped"], tmp_path / "p.tif")
    predictor = make_predictor(channels=3, predict={"channels": (0, 1, 2)})
    predict_to_file(predictor, files["mapped"], tmp_path / "p.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "p.tif"), predictor.labels(PIXELS) * 255)


def test_a_folder_of_zarrs_is_predicted_without_its_labels(
    make_predictor: Maker, files: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("volume", "volume-labels"):
        convert_image(files["packed"], folder / f"{name}.ome.zarr")
    predict_to_file(make_predictor(), folder, tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["volume.ome.tif"]
    whole = make_predictor().labels(open_image(files["packed"]).read(1))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out/volume.ome.tif")[1], whole * 255)
