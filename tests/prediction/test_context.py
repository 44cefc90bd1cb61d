"""A network that sees the slices around each slice: the answer is that of the channels put together by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage

from unetkit.config import ModelConfig
from unetkit.errors import DataError
from unetkit.images import open_image
from unetkit.images.array import image_of_array
from unetkit.images.convert import convert_image
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.objects import find_objects
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.engine import Work
from unetkit.prediction.predict import objects_to_file, predict, predict_file

Maker = Callable[..., Predictor]
STACK = np.random.default_rng(5).integers(0, 256, (5, 70, 90), np.uint8)
WAYS = [{}, {"tile": 40}, {"tile": 40, "overlap": 8, "tta": True}]


def seen(slices: NDArray[Any], context: int) -> NDArray[Any]:
    """Return the channels of every slice: the slices from `context` before it to `context` after it, mirrored."""
    beyond = np.pad(slices, ((context, context), (0, 0), (0, 0)), mode="reflect")
    return np.stack([beyond[number : number + 2 * context + 1] for number in range(len(slices))])


@pytest.fixture
def make(make_predictor: Maker) -> Maker:
    def made(context: int = 1, **settings: Any) -> Predictor:
        predictor = make_predictor(channels=2 * context + 1, **settings)
        return replace(predictor, card=predictor.card.model_copy(update={"context": context}))

    return made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    tifffile.imwrite(tmp_path / "mapped.tif", STACK, photometric="minisblack")
    tifffile.imwrite(tmp_path / "packed.tif", STACK, photometric="minisblack", compression="zlib", tile=(16, 16))
    convert_image(tmp_path / "packed.tif", tmp_path / "volume.ome.zarr")
    return {"mapped": tmp_path / "mapped.tif", "packed": tmp_path / "packed.tif", "zarr": tmp_path / "volume.ome.zarr"}


@pytest.mark.parametrize("context", [1, 2, 4, 7])
def test_pages_have_the_channels_of_the_slices_around_them(context: int) -> None:
    image = image_of_array("stack", STACK, "zyx").with_context(context)
    assert image.channels == 2 * context + 1
    for page, expected in enumerate(seen(STACK, context)):
        np.testing.assert_array_equal(image[page, slice(3, 60), slice(40, 41)], expected[:, 3:60, 40:41])


def test_neighbours_are_of_one_time_and_channels_stay_together() -> None:
    film = np.random.default_rng(0).integers(0, 256, (2, 3, 2, 8, 9), np.uint8)
    image = image_of_array("film", film, "tzcyx").with_context(1)
    for time in range(2):
        np.testing.assert_array_equal(image.read(3 * time), film[time, [1, 0, 1]].reshape(6, 8, 9))
        np.testing.assert_array_equal(image.read(3 * time + 2), film[time, [1, 2, 1]].reshape(6, 8, 9))
    turned = image_of_array("film", film, "ztcyx").with_context(1)  # two slices of three times
    np.testing.assert_array_equal(turned.read(4), film[[0, 1, 0], 1].reshape(6, 8, 9))


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("context", [1, 2])
def test_a_stack_is_predicted_as_its_slices_by_hand(
    make: Maker, files: dict[str, Path], context: int, predict: dict[str, Any]
) -> None:
    predictor = make(context, predict=predict)
    expected = np.stack([predictor.probabilities(one)[1] for one in seen(STACK, context)])
    for name, path in files.items():
        predict_to_file(predictor, path, out := path.with_name(f"{name}-out.tif"), probabilities=True)
        np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_blocks_give_the_same_and_masks_too(make: Maker, files: dict[str, Path]) -> None:
    predictor = make()
    for source in (files["packed"], files["zarr"]):
        out = source.with_name("blocks.ome.zarr")
        predict_to_file(predictor, source, out, probabilities=True, work=Work(memory=8, overwrite=True))
        found = open_image(out)
        assert (found.axes, found.shape) == ("zcyx", (5, 1, 70, 90))
        for page, channels in enumerate(seen(STACK, 1)):
            np.testing.assert_allclose(found.read(page)[0], predictor.probabilities(channels)[1], atol=2e-6)


@pytest.mark.slow
def test_workers_give_the_same_bytes(make: Maker, files: dict[str, Path]) -> None:
    pytest.importorskip("distributed")
    predictor, model = make(), files["zarr"].with_name("net.safetensors")
    network: Any = predictor.network
    config = ModelConfig(in_channels=3, context=1, num_classes=2, width=4, depth=2)
    card = predictor.card.model_copy(update={"model": config})
    Checkpoint(card=card, tensors=dict(network.state_dict())).save(model)
    outs = [files["zarr"].with_name(f"{workers}.ome.zarr") for workers in (1, 2)]
    for workers, out in enumerate(outs, 1):
        predict_file(model, files["zarr"], out, probabilities=True, workers=workers, options={"threads": 1})
    for page in range(5):
        one, two = (open_image(out).read(page) for out in outs)
        np.testing.assert_array_equal(one, two)


def test_objects_are_found_in_what_all_slices_say_and_drawn_on_their_own(
    make: Maker, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetkit.prediction import object_files

    shown: list[NDArray[Any]] = []
    monkeypatch.setattr(
        object_files, "outlined", lambda pixels, objects: shown.append(pixels) or np.zeros((4, 4), np.uint8)
    )
    predictor, out = make(), files["mapped"].with_name("labels.tif")
    objects_to_file(predictor, files["mapped"], out, outlines=True)
    for page, channels in enumerate(seen(STACK, 1)):
        found = find_objects(predictor.probabilities(channels), predictor.classes, predictor.object_config)
        np.testing.assert_array_equal(tifffile.imread(out, key=page), found.ids)
        np.testing.assert_array_equal(shown[page], STACK[page][None])


def test_numbered_sections_of_a_folder_are_one_stack(make: Maker, tmp_path: Path) -> None:
    rng, predictor = np.random.default_rng(1), make()
    smooth = ndimage.gaussian_filter(rng.normal(size=(11, 64, 64)), (2, 1.5, 1.5))
    sections = np.uint8(128 + 100 * smooth / np.abs(smooth).max())
    (tmp_path / "raw").mkdir()
    for number, section in enumerate(sections):
        Picture.fromarray(section).save(tmp_path / f"raw/s{number}.png")
    predict_to_file(predictor, tmp_path / "raw", tmp_path / "out", probabilities=True)
    for number, channels in enumerate(seen(sections, 1)):  # s10 after s9, not after s1
        found = tifffile.imread(tmp_path / f"out/s{number}.tif")
        np.testing.assert_array_equal(found, predictor.probabilities(channels)[1])
    objects_to_file(predictor, tmp_path / "raw", tmp_path / "objects")
    found = find_objects(predictor.probabilities(seen(sections, 1)[10]), predictor.classes, predictor.object_config)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "objects/s10.tif"), found.ids)


def test_what_is_no_stack_is_refused_in_one_line(make: Maker, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(9):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
        Picture.fromarray(noise).save(tmp_path / f"raw/{number}.png")
    with pytest.raises(DataError, match=r"raw: 9 single images, but .*model\.context=1.*; give stacks, or"):
        predict_to_file(make(), tmp_path / "raw", tmp_path / "out")
    with pytest.raises(DataError, match=r"0\.png: is a single slice, but .*model\.context=1\); give the stack"):
        predict_to_file(make(), tmp_path / "raw/0.png", tmp_path / "out.png")
    with pytest.raises(
        DataError, match=r"of 1 channels was given, but the network sees 3 slices .* order of the stack"
    ):
        predict(make(), STACK[0])
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 20, 20, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"rgb\.tif: has 3 channels, but the network was trained on images with 1"):
        predict_to_file(make(), tmp_path / "rgb.tif", tmp_path / "out.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "rgb.tif"]
