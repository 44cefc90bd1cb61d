"""Images whose channels lie in files of their own: trained on, and predicted by any of their files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetkit.config import load_config
from unetkit.errors import DataError
from unetkit.images import open_image
from unetkit.prediction import Predictor, predict_to_file
from unetkit.training.prepare import prepare

Maker = Callable[..., Predictor]
SIZE = 48
RNG = np.random.default_rng(0)


def put(folder: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Write two images of a file a channel, and return them as [C, H, W]."""
    found: list[np.ndarray] = []
    for number in (1, 2):
        pixels = RNG.integers(0, 256, (len(names), SIZE, SIZE), np.uint8)
        for name, channel in zip(names, pixels, strict=True):
            path = folder / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, channel)
        found.append(pixels)
    return found


@pytest.mark.parametrize("given", ["folder", "the second file"])
def test_all_files_of_an_image_are_read_with_any_of_them(make_predictor: Maker, tmp_path: Path, given: str) -> None:
    predictor = make_predictor(channels=2, predict={"channel_files": ("dapi", "gfp")})
    images = put(tmp_path / "in", ("a {}_DAPI.tif", "a {}_GFP.tif"))
    if given == "folder":
        predict_to_file(predictor, tmp_path / "in", tmp_path / "out", probabilities=True)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a 1_DAPI.tif", "a 2_DAPI.tif"]
    else:
        predict_to_file(
            predictor, tmp_path / "in" / "a 1_GFP.tif", tmp_path / "out" / "a 1_DAPI.tif", probabilities=True
        )
    stored = open_image(tmp_path / "out" / "a 1_DAPI.tif").read(0)
    np.testing.assert_allclose(stored[0], predictor.probabilities(images[0])[1], atol=1e-6)


def test_folders_of_channels(make_predictor: Maker, tmp_path: Path) -> None:
    predictor = make_predictor(channels=2, predict={"channel_files": ("dapi", "gfp")})
    images = put(tmp_path, ("DAPI/{}.tif", "GFP/{}.tif"))
    predict_to_file(predictor, tmp_path / "DAPI", tmp_path / "out", probabilities=True)
    stored = open_image(tmp_path / "out" / "2.tif").read(0)
    np.testing.assert_allclose(stored[0], predictor.probabilities(images[1])[1], atol=1e-6)


def test_a_file_that_is_missing_is_named(make_predictor: Maker, tmp_path: Path) -> None:
    predictor = make_predictor(channels=2, predict={"channel_files": ("dapi", "gfp")})
    put(tmp_path, ("a {}_DAPI.tif", "a {}_GFP.tif"))
    (tmp_path / "a 1_GFP.tif").unlink()
    with pytest.raises(DataError, match=r"1_DAPI\.tif: .* a file for each channel \(dapi, gfp\); .* none for"):
        predict_to_file(predictor, tmp_path / "a 1_DAPI.tif", tmp_path / "out.tif")


def test_a_training_keeps_the_words(tmp_path: Path) -> None:
    put(tmp_path / "images", ("{}_dapi.tif", "{}_gfp.tif"))
    for number in (1, 2):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[5 : 20 + number, 9:30] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "masks" / f"{number}.tif", mask)
    config = load_config({}, [f"data.path={tmp_path}", "data.check=essential", "data.split.folds=2"])
    resolved = prepare(config).config
    assert resolved.model.in_channels == 2
    assert resolved.predict.channel_files == ("dapi", "gfp")
