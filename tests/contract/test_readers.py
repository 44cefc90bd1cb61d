"""What every reader promises, in one suite that each of them passes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetkit.checks.check import before_training
from unetkit.config import Config, DataConfig, SplitConfig
from unetkit.data import (
    Dataset,
    Normalization,
    fingerprint,
    in_memory,
    open_dataset,
    open_images,
    samples_of,
    split_dataset,
    write_sample,
)
from unetkit.data.convert import convert
from unetkit.data.layouts.synthetic import generate, open_sample
from unetkit.data.targets import components, with_borders

STACK = generate(slices=6, size=48)
INDICES = STACK.labels // 255


def isbi(folder: Path) -> Dataset:
    return open_dataset(write_sample(folder, slices=6, size=48))


def compressed_stack(folder: Path) -> Dataset:
    tifffile.imwrite(folder / "train-volume.tif", STACK.images, compression="zlib")
    tifffile.imwrite(folder / "train-labels.tif", STACK.labels, compression="lzw")
    return open_dataset(folder)


def sixteen_bit_pair(folder: Path) -> Dataset:
    tifffile.imwrite(folder / "a.tif", STACK.images.astype(np.uint16) * 200, imagej=True)
    tifffile.imwrite(folder / "b.tif", INDICES)
    return open_dataset(folder, config=DataConfig(images="a.tif", labels="b.tif"))


def float_pair(folder: Path) -> Dataset:
    tifffile.imwrite(folder / "a.tif", STACK.images.astype(np.float32) / 255)
    tifffile.imwrite(folder / "b.tif", INDICES.astype(np.float32))
    return open_dataset(folder, config=DataConfig(images="a.tif", labels="b.tif"))


def two_folders(folder: Path) -> Dataset:
    for number in range(6):
        for name, pixels in (("images", STACK.images), ("masks", STACK.labels)):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels[number]).save(folder / name / f"{number}.png")
    return open_dataset(folder)


def colour_with_suffixes(folder: Path) -> Dataset:
    for number in range(6):
        Image.fromarray(np.dstack([STACK.images[number]] * 3)).save(folder / f"{number}.jpg")
        Image.fromarray(np.dstack([STACK.labels[number]] * 3)).save(folder / f"{number}_mask.png")
    return open_dataset(folder)


def generated(folder: Path) -> Dataset:
    return open_dataset("sample")


def nuclei(folder: Path) -> Dataset:
    for number in range(6):
        ids = components(INDICES[number])
        for name in ("images", "masks"):
            (folder / f"id{number}" / name).mkdir(parents=True)
        Image.fromarray(STACK.images[number]).save(folder / f"id{number}" / "images" / "image.png")
        for one in range(1, ids.max() + 1):
            mask = np.where(ids == one, np.uint8(255), np.uint8(0))
            Image.fromarray(mask).save(folder / f"id{number}" / "masks" / f"{one}.png")
    return open_dataset(folder)


def nuclei_archive(folder: Path) -> Dataset:
    nuclei(folder / "stage1")
    return open_dataset(shutil.make_archive(str(folder / "stage1"), "zip", folder / "stage1"))


def multiclass(folder: Path) -> Dataset:
    return open_dataset(convert(open_sample(slices=6, size=48), folder))


def coco(folder: Path) -> Dataset:
    (folder / "annotations").mkdir()
    (folder / "train").mkdir()
    images, annotations = [], []
    for number in range(6):
        Image.fromarray(STACK.images[number]).save(folder / "train" / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 48, "width": 48})
        changes = np.flatnonzero(np.diff(np.concatenate([[0], INDICES[number].T.ravel(), [2]])))
        runs = {"counts": np.diff(np.concatenate([[0], changes])).tolist(), "size": [48, 48]}
        annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": runs})
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(whole))
    return open_dataset(folder)


def bordered(folder: Path) -> Dataset:
    return with_borders(nuclei(folder))


def held(folder: Path) -> Dataset:
    return in_memory(isbi(folder))


def unlabelled(folder: Path) -> Dataset:
    return open_images(write_sample(folder, slices=6, size=48))


READERS: dict[str, Callable[[Path], Dataset]] = {
    "isbi": isbi,
    "compressed stack": compressed_stack,
    "16-bit pair": sixteen_bit_pair,
    "float pair": float_pair,
    "two folders": two_folders,
    "colour with suffixes": colour_with_suffixes,
    "generated": generated,
    "nuclei": nuclei,
    "nuclei in an archive": nuclei_archive,
    "multi-class folders": multiclass,
    "coco": coco,
    "with borders": bordered,
    "in memory": held,
    "unlabelled": unlabelled,
}
LABELLED = [name for name in READERS if name != "unlabelled"]


@pytest.fixture(scope="module", params=list(READERS))
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return READERS[request.param](tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=LABELLED)
def labelled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return READERS[request.param](tmp_path_factory.mktemp("data"))


def test_it_is_a_finite_sequence(dataset: Dataset) -> None:
    assert len(dataset) > 0
    assert len(list(samples_of(dataset))) == len(dataset)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_pixels_are_as_a_sample_promises(dataset: Dataset) -> None:
    for sample in samples_of(dataset):
        assert sample.pixels.ndim == 3
        assert sample.pixels.shape[0] in (1, 3)
        assert sample.pixels.dtype in (np.uint8, np.uint16, np.float32)
        assert sample.pixels.dtype.isnative
        assert np.isfinite(sample.pixels).all()


def test_labels_are_class_indices_on_the_pixels(dataset: Dataset) -> None:
    for sample in samples_of(dataset):
        if not dataset.classes:
            assert sample.labels is None
            continue
        assert sample.labels is not None
        assert sample.labels.dtype in (np.uint8, np.uint16)
        assert sample.labels.shape == sample.pixels.shape[1:]
        assert sample.labels.max() < len(dataset.classes)
        if sample.instances is not None:
            assert sample.instances.dtype == np.int32
            assert sample.instances.shape == sample.labels.shape


def test_names_are_unique_and_safe_as_file_names(dataset: Dataset, tmp_path: Path) -> None:
    names = [sample.name for sample in samples_of(dataset)]
    assert len(set(names)) == len(names)
    for name in names:
        assert Path(name).name == name
        (tmp_path / f"{name}.txt").touch()


def test_reading_twice_gives_the_same(dataset: Dataset) -> None:
    index = len(dataset) - 1
    first, second = dataset[index], dataset[index]
    assert first.name == second.name
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_changing_a_sample_does_not_change_the_set(dataset: Dataset) -> None:
    before = dataset[0].pixels.copy()
    changed = dataset[0].pixels
    if changed.flags.writeable:
        changed[...] = 0
        np.testing.assert_array_equal(dataset[0].pixels, before)


def test_it_can_be_measured_and_held_in_memory(dataset: Dataset) -> None:
    assert fingerprint(in_memory(dataset)) == fingerprint(dataset)


def test_it_can_be_trained_on(labelled: Dataset) -> None:
    before_training(labelled, Config())
    split = split_dataset(labelled, SplitConfig(folds=3))
    normalization = Normalization.fit("standardize", (labelled[index] for index in split.train))
    normalized = normalization.apply(labelled[split.validation[0]].pixels)
    assert normalized.dtype == np.float32
    assert abs(float(normalized.mean())) < 2


def test_white_is_the_second_class(labelled: Dataset) -> None:
    shares = [np.mean(sample.labels > 0) for sample in samples_of(labelled) if sample.labels is not None]
    assert 0.6 < float(np.mean(shares)) < 0.95, "cells take more room than membranes"
