import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unetkit.errors import DataError, StorageError, UsageError
from unetkit.images import write
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.engine import Work
from unetkit.progress import NoProgress

Maker = Callable[..., Predictor]
Around = Callable[..., Predictor]
TILES = [{}, {"tile": 40}, {"tile": 40, "overlap": 8}]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 70, 90), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pixels, photometric="minisblack")
    return tmp_path / "stack.tif"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def read(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def pages(path: Path) -> list[NDArray[Any]]:
    return [page[None] for page in tifffile.imread(path)]


@pytest.mark.parametrize("predict", TILES)
def test_a_stack_becomes_a_stack_of_masks(make_predictor: Maker, stack: Path, predict: dict[str, int]) -> None:
    predictor = make_predictor(predict=predict)
    out = stack.with_name("masks.tif")
    predict_to_file(predictor, stack, out)
    masks = tifffile.imread(out)
    assert masks.dtype == np.uint8
    expected = np.stack([predictor.labels(page) for page in pages(stack)])
    assert set(np.unique(expected)) == {0, 1}
    np.testing.assert_array_equal(masks, expected * 255)


@pytest.mark.parametrize("predict", TILES)
def test_probabilities_of_two_classes_are_those_of_the_second(
    make_predictor: Maker, stack: Path, predict: dict[str, int]
) -> None:
    predictor = make_predictor(predict=predict)
    out = stack.with_name("probabilities.tif")
    predict_to_file(predictor, stack, out, probabilities=True)
    expected = np.stack([predictor.probabilities(page)[1] for page in pages(stack)])
    written = tifffile.imread(out)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize("predict", TILES)
def test_probabilities_of_more_classes_are_channels(
    make_predictor: Maker, stack: Path, predict: dict[str, int]
) -> None:
    predictor = make_predictor(classes=4, predict=predict)
    out = stack.with_name("probabilities.tif")
    predict_to_file(predictor, stack, out, probabilities=True)
    with tifffile.TiffFile(out) as tiff:
        assert tiff.series[0].axes == "ZCYX"
        assert tiff.series[0].shape == (3, 4, 70, 90)
        assert len(tiff.pages) == 12
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["channels"] == 4
        assert tiff.imagej_metadata["Labels"][:5] == ["class 0", "class 1", "class 2", "class 3", "class 0"]
        expected = np.stack([predictor.probabilities(page) for page in pages(stack)])
        np.testing.assert_array_equal(tiff.asarray(), expected)


def test_masks_of_more_classes_are_indices(make_predictor: Maker, stack: Path) -> None:
    predictor = make_predictor(classes=4)
    predict_to_file(predictor, stack, stack.with_name("masks.tiff"))
    masks = tifffile.imread(stack.with_name("masks.tiff"))
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, np.stack([predictor.labels(page) for page in pages(stack)]))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (30, 20)])
def test_fiji_finds_what_it_needs(
    make_predictor: Maker, tmp_path: Path, classes: int, probabilities: bool, count: int, size: tuple[int, int]
) -> None:
    predictor = make_predictor(classes=classes)
    tifffile.imwrite(tmp_path / "in.tif", np.ones((1, count, 1, *size, 1), np.uint8), imagej=True)
    predict_to_file(predictor, tmp_path / "in.tif", tmp_path / "o.tif", probabilities=probabilities)
    channels = 3 if probabilities and classes == 3 else 1
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        found = tiff.imagej_metadata
        assert found is not None
        assert found["images"] == len(tiff.pages) == count * channels
        assert found.get("slices", 1) == count
        assert found.get("channels", 1) == channels
        assert {page.shape for page in tiff.pages} == {size}
        assert (found["min"], found["max"]) == (0, 1 if probabilities else 255 if classes == 2 else 2)


def test_other_readers_see_every_page(make_predictor: Maker, stack: Path) -> None:
    predict_to_file(make_predictor(), stack, stack.with_name("masks.tif"))
    expected = tifffile.imread(stack.with_name("masks.tif"))
    with Image.open(stack.with_name("masks.tif")) as image:
        assert image.n_frames == 3
        for number in range(3):
            image.seek(number)
            np.testing.assert_array_equal(np.asarray(image), expected[number])


def test_beyond_imagejs_form_it_is_a_bigtiff(
    make_predictor: Maker, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_LARGEST_IMAGEJ", 1000)
    predictor, out = make_predictor(classes=3), stack.with_name("large.tif")
    predict_to_file(predictor, stack, out, probabilities=True)
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_bigtiff
        assert len(tiff.pages) == 9
        assert tiff.series[0].axes == "ZCYX"
        np.testing.assert_array_equal(tiff.asarray()[1], predictor.probabilities(pages(stack)[1]))


def test_the_challenge_s_stack_becomes_a_stack_of_its_form(make_predictor: Maker, shared: Path, tmp_path: Path) -> None:
    volume = shared / "data" / "isbi2012" / "test-volume.tif"
    predict_to_file(make_predictor(depth=1), volume, tmp_path / "masks.tif")
    labels = shared / "data" / "isbi2012" / "train-labels.tif"
    with tifffile.TiffFile(tmp_path / "masks.tif") as ours, tifffile.TiffFile(labels) as theirs:
        assert len(ours.pages) == len(theirs.pages) == 30
        assert ours.series[0].shape == theirs.series[0].shape
        assert ours.series[0].dtype == theirs.series[0].dtype
        assert set(np.unique(ours.asarray())) == set(np.unique(theirs.asarray())) == {0, 255}


def test_sixteen_bits_and_compression_are_read(make_predictor: Maker, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50)).astype(">u2")
    tifffile.imwrite(tmp_path / "deep.tif", pixels, compression="zlib", byteorder=">", photometric="minisblack")
    predictor = make_predictor()
    predict_to_file(predictor, tmp_path / "deep.tif", tmp_path / "masks.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "masks.tif")[1], predictor.labels(pixels[1:]) * 255)


@pytest.mark.parametrize("classes", [2, 5])
def test_an_image_becomes_a_png(make_predictor: Maker, picture: Path, classes: int) -> None:
    predictor = make_predictor(channels=3, classes=classes, predict={"tile": 40})
    predict_to_file(predictor, picture, picture.with_name("mask.png"))
    expected = predictor.labels(np.moveaxis(read(picture), 2, 0))
    mask = read(picture.with_name("mask.png"))
    np.testing.assert_array_equal(mask, expected * (255 if classes == 2 else 1))


def test_more_than_256_classes_need_a_deep_png(around: Around, tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "a.png")
    predictor = around(lambda x: torch.cat([x * number for number in range(300)], 1), classes=300)
    predict_to_file(predictor, tmp_path / "a.png", tmp_path / "mask.png")
    np.testing.assert_array_equal(read(tmp_path / "mask.png"), np.full((4, 5), 299))


def test_a_folder_that_is_there_gets_a_file(make_predictor: Maker, stack: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    predict_to_file(make_predictor(), stack, tmp_path / "results")
    assert tifffile.imread(tmp_path / "results" / "stack.tif").shape == (3, 70, 90)


def test_missing_folders_are_made(make_predictor: Maker, stack: Path, tmp_path: Path) -> None:
    predict_to_file(make_predictor(), str(stack), str(tmp_path / "a" / "b" / "masks.tif"))
    assert (tmp_path / "a" / "b" / "masks.tif").is_file()


class Told(NoProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("inner", ["", "images"])
def test_a_folder_becomes_a_folder(make_predictor: Maker, tmp_path: Path, inner: str) -> None:
    source = tmp_path / "source" / inner
    source.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (2, 20, 30), np.uint8)
    Image.fromarray(noise[0]).save(source / "a.png")
    Image.fromarray(noise[0, :10]).save(source / "b.jpg")
    Image.fromarray(noise[0]).save(source / "a_mask.png") if not inner else None
    tifffile.imwrite(source / "c.tif", noise, photometric="minisblack")
    (source / "notes.txt").write_text("not an image")
    told = Told()
    predict_to_file(make_predictor(), tmp_path / "source", tmp_path / "out", progress=told)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.tif"]
    assert any("are left out" in line and "notes.txt" in line for line in told.lines)
    assert read(tmp_path / "out" / "b.png").shape == (10, 30)
    assert tifffile.imread(tmp_path / "out" / "c.tif").shape == (2, 20, 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_probabilities_of_a_folder_are_tiff_files(make_predictor: Maker, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    picture.rename(tmp_path / "source" / "picture.png")
    predict_to_file(make_predictor(channels=3), tmp_path / "source", tmp_path / "out", probabilities=True)
    assert tifffile.imread(tmp_path / "out" / "picture.tif").dtype == np.float32


@pytest.mark.parametrize(
    ("out", "probabilities", "message"),
    [
        ("masks.png", False, "has 3 pages, which are too much for a PNG file"),
        ("masks.png", True, "probabilities are too much for a PNG file"),
        ("masks.jpg", False, r"its ending says no form that is written; choose a name with \.tif, \.png or"),
        ("masks", False, "its ending says no form"),
        ("stack.tif", False, "is the image itself"),
    ],
)
def test_outputs_that_cannot_hold_the_result(
    make_predictor: Maker, stack: Path, out: str, probabilities: bool, message: str
) -> None:
    before = stack.read_bytes()
    with pytest.raises(UsageError, match=message):
        predict_to_file(make_predictor(), stack, stack.with_name(out), probabilities=probabilities)
    assert stack.read_bytes() == before
    assert [path.name for path in stack.parent.iterdir()] == ["stack.tif"]


def test_images_of_other_channels_are_refused_by_name(make_predictor: Maker, stack: Path) -> None:
    with pytest.raises(DataError, match=r"stack\.tif: has 1 channels, but the network was trained on images with 3"):
        predict_to_file(make_predictor(channels=3), stack, stack.with_name("a") / "masks.tif")
    assert not stack.with_name("a").exists()


def test_a_missing_image_is_named(make_predictor: Maker, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tif: there is no such file"):
        predict_to_file(make_predictor(), tmp_path / "none.tif", tmp_path / "masks.tif")


def test_nan_is_refused_by_page(make_predictor: Maker, tmp_path: Path) -> None:
    pixels = np.zeros((2, 8, 8), np.float32)
    pixels[1, 2, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(DataError, match=r"a\.tif, page 1: 1 pixels are NaN"):
        predict_to_file(make_predictor(), tmp_path / "a.tif", tmp_path / "masks.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_folder_s_place_may_be_unusable(make_predictor: Maker, stack: Path) -> None:
    for out in (stack / "masks.tif", stack / "more" / "masks.tif"):
        with pytest.raises(StorageError, match="a part of this path is a file"):
            predict_to_file(make_predictor(), stack, out)


def folder_of(tmp_path: Path, **files: NDArray[Any]) -> Path:
    (tmp_path / "source").mkdir()
    for name, pixels in files.items():
        Image.fromarray(pixels).save(tmp_path / "source" / name.replace("_", "."))
    return tmp_path / "source"


SQUARE = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)


def test_a_folder_with_a_damaged_image_leaves_nothing(make_predictor: Maker, tmp_path: Path) -> None:
    source = folder_of(tmp_path, a_png=SQUARE, b_png=SQUARE)
    (source / "b.png").write_bytes((source / "b.png").read_bytes()[:900])  # its header is whole
    with pytest.raises(DataError, match=r"b\.png"):
        predict_to_file(make_predictor(), source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_folders_that_cannot_be_predicted(make_predictor: Maker, tmp_path: Path) -> None:
    source = folder_of(tmp_path, a_png=SQUARE, a_jpg=SQUARE)
    with pytest.raises(DataError, match=r"a\.png: its mask would have the name of that for a\.jpg"):
        predict_to_file(make_predictor(), source, tmp_path / "out")
    (source / "a.jpg").unlink()
    with pytest.raises(UsageError, match="is not an empty folder"):
        predict_to_file(make_predictor(), source, source)
    (source / "a.png").unlink()
    with pytest.raises(DataError, match="holds no image files"):
        predict_to_file(make_predictor(), source, tmp_path / "out")


class Interrupted:
    """A network that is interrupted at its second call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return torch.cat([x, -x], 1)


def test_an_interrupt_leaves_nothing_half_written(around: Around, stack: Path) -> None:
    out = stack.with_name("masks.tif")
    out.write_bytes(b"older masks")
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(around(Interrupted()), stack, out, work=Work(overwrite=True))
    assert out.read_bytes() == b"older masks"
    assert sorted(path.name for path in stack.parent.iterdir()) == ["masks.tif", "stack.tif"]


def test_an_interrupt_leaves_no_half_folder(around: Around, tmp_path: Path) -> None:
    source = folder_of(tmp_path, a_png=SQUARE, b_png=SQUARE)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(around(Interrupted()), source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


SLOW_PREDICTION = """
import signal, sys, time
import torch
from unetkit.config import PredictConfig
from unetkit.modelfile.card import ModelCard
from unetkit.models.geometry import Geometry
from unetkit.prediction import Predictor, predict_to_file
from unetkit.progress import NoProgress

# A process that was started in the background may have inherited that interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def network(x):
    print("predicting", flush=True)
    time.sleep(0.2)
    return torch.cat([x, -x], 1)

predictor = Predictor(
    network,
    Geometry(1, 0, 0, 0),
    ModelCard(classes=("a", "b"), mean=(0.0,), std=(1.0,), predict=PredictConfig(tile=8)),
    torch.device("cpu"),
)
predict_to_file(predictor, sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_no_half_output(stack: Path, how: signal.Signals) -> None:
    out = stack.with_name("masks.tif")
    command = [sys.executable, "-c", SLOW_PREDICTION, str(stack), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "predicting\n"
        os.kill(process.pid, how)
        process.stdout.read()
    assert process.returncode != 0
    assert not out.exists()
    if how == signal.SIGINT:
        assert [path.name for path in stack.parent.iterdir()] == ["stack.tif"]


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def log(self, text: str) -> None:
        raise AssertionError(text)

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        self.heard.append((done, total))


@pytest.mark.parametrize("predict", TILES)
def test_progress_goes_from_nothing_to_all(make_predictor: Maker, stack: Path, predict: dict[str, int]) -> None:
    predictor, progress = make_predictor(predict=predict), Listener()
    predict_to_file(predictor, stack, stack.with_name("masks.tif"), progress=progress)
    total = 3 * predictor.plan(70, 90).parts
    assert progress.heard == [(done, total) for done in range(total + 1)]


def test_what_tiles_may_change_is_said_once(make_predictor: Maker, tmp_path: Path) -> None:
    source = folder_of(tmp_path, a_png=SQUARE, b_png=SQUARE, c_png=SQUARE[:10, :10])
    predictor = make_predictor(predict={"tile": 20, "overlap": 4})
    assert predict_to_file(predictor, source, tmp_path / "out").notes == (predictor.exactness(),)
    assert predict_to_file(predictor, source / "c.png", tmp_path / "c.png").notes == ()


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.arange(4800, dtype=np.uint16).reshape(60, 80) * 10, "values from 0 to 47990 (uint16)"),
        (np.linspace(0, 1, 4800, dtype=np.float32).reshape(60, 80), "values from 0 to 1 (float32)"),
        ((np.arange(4800) % 256).astype(np.uint8).reshape(60, 80), ""),
        (np.zeros((60, 80), np.uint8), ""),
        (np.linspace(-50, 300, 4800, dtype=np.float32).reshape(60, 80), ""),
    ],
)
def test_images_in_another_unit_than_the_training_are_told(
    make_predictor: Maker, tmp_path: Path, pixels: NDArray[Any], told: str
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", pixels, photometric="minisblack")
    notes = predict_to_file(make_predictor(), tmp_path / "image.tif", tmp_path / "mask.tif").notes
    assert [told in note and "give images in the unit of the training" in note for note in notes] == [True] * bool(told)


def test_eight_bits_for_a_network_of_sixteen_are_told(make_predictor: Maker, picture: Path) -> None:
    deep = make_predictor(channels=3)
    deep = replace(deep, card=deep.card.model_copy(update={"mean": (9000.0,) * 3, "std": (4000.0,) * 3}))
    (note,) = predict_to_file(deep, picture, picture.with_name("mask.png")).notes
    assert "(uint8), but the network was trained on images with a mean of 9000" in note
