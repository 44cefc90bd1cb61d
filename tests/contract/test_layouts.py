"""How people lay out data: a table of trees of files, each with what the matcher has to make of it."""

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from scipy import io, ndimage

from unetkit.config import SplitConfig, load_config
from unetkit.data import open_dataset, split_dataset
from unetkit.data.dataset import ItemDataset, account_of, division_of
from unetkit.data.layouts import open_usable
from unetkit.errors import DataError
from unetkit.images.omewrite import ome_zarr
from unetkit.images.write import Form
from unetkit.storage.tree import open_tree

SIZE = 48


def picture(seed: int, *, colour: bool = False) -> NDArray[np.uint8]:
    values = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3 if colour else 1), np.uint8)
    return values if colour else values[:, :, 0]


def blobs(seed: int) -> NDArray[np.bool_]:
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE))
    smooth = ndimage.gaussian_filter(noise, 3)
    return smooth > np.quantile(smooth, 0.8)


def ids(seed: int) -> NDArray[np.uint8]:
    """Eight to nineteen squares, each a value."""
    found = np.zeros((SIZE, SIZE), np.uint8)
    for number in range(8 + seed % 12):
        row, column = divmod(number, 5)
        found[9 * row + 1 : 9 * row + 7, 9 * column + 1 : 9 * column + 7] = number + 1
    return found


def disc(seed: int) -> NDArray[np.uint8]:
    rows, columns = np.ogrid[:SIZE, :SIZE]
    return (((rows - 24) ** 2 + (columns - 24) ** 2 < 22**2) * 255).astype(np.uint8)


def colours(seed: int) -> NDArray[np.uint8]:
    table = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    return table[blobs(seed).astype(int) + 2 * (blobs(seed + 500) & ~blobs(seed))]


def three(seed: int) -> NDArray[np.uint8]:
    return np.where(blobs(seed), 255, np.where(blobs(seed + 500), 128, 0)).astype(np.uint8)


def piece(seed: int, row: int) -> NDArray[np.uint8]:
    found = np.zeros((SIZE, SIZE), np.uint8)
    found[row : row + 7, 5 + seed : 14 + seed] = 255
    return found


KINDS: dict[str, Callable[[int], NDArray[Any]]] = {
    "grey": picture,
    "rgb": lambda seed: picture(seed, colour=True),
    "thumbnail": lambda seed: picture(seed)[::4, ::4].copy(),
    "white": lambda seed: blobs(seed).astype(np.uint8) * 255,
    "other": lambda seed: blobs(seed + 100).astype(np.uint8) * 255,
    "one": lambda seed: blobs(seed).astype(np.uint8),
    "bit": blobs,
    "ids": ids,
    "three": three,
    "colours": colours,
    "disc": disc,
    "trimap": lambda seed: np.where(blobs(seed), 2, np.where(blobs(seed + 500), 3, 1)).astype(np.uint8),
    "upper": lambda seed: piece(seed, 4),
    "middle": lambda seed: piece(seed, 18),
    "lower": lambda seed: piece(seed, 32),
    "stack": lambda seed: np.stack([picture(seed + page) for page in range(5)]),
    "labels": lambda seed: np.stack([blobs(seed + page).astype(np.uint8) * 255 for page in range(5)]),
}


@dataclass(frozen=True)
class Case:
    """A tree of files, and what it has to become.

    Attributes:
        files: path -> kind; `{}` stands for the numbers.
        numbers: of the images.
        images: how many samples there are.
        classes: their names.
        test: how many of them are the test set.
        held_out: how many of them the data itself holds out.
        masks: a part of the paths of all masks.
        regions: there are regions of interest.
        objects: there are object ids.
        unused: a part of what must be named as left over.
        unsure: a part of what else the data could be.
        extra: further images, path -> kind.
        texts: further files, path -> content.
    """

    files: dict[str, str]
    numbers: tuple[object, ...] = ("01", "02", "03", "04")
    images: int = 4
    classes: tuple[str, ...] = ("background", "foreground")
    test: int = 0
    held_out: int = 0
    masks: str = ""
    regions: bool = False
    objects: bool = False
    unused: str = ""
    unsure: str = ""
    extra: dict[str, str] = field(default_factory=dict[str, str])
    texts: dict[str, str] = field(default_factory=dict[str, str])


OBJECT = ("background", "object")
CASES = {
    "retina with fields of view": Case(
        {
            "training/images/{}_training.tif": "rgb",
            "training/1st_manual/{}_manual1.gif": "white",
            "training/mask/{}_training_mask.gif": "disc",
            "test/images/{}_test.tif": "rgb",
            "test/1st_manual/{}_manual1.gif": "white",
            "test/mask/{}_test_mask.gif": "disc",
        },
        images=8,
        test=4,
        masks="1st_manual",
        regions=True,
        unsure="mask",
    ),
    "a folder an image, ids": Case(
        {
            "train/set{}/raw.tif": "grey",
            "train/set{}/instances_ids.png": "ids",
            "val/set9{}/raw.tif": "grey",
            "val/set9{}/instances_ids.png": "ids",
        },
        images=8,
        held_out=4,
        classes=OBJECT,
        objects=True,
    ),
    "a section a file, folders of classes": Case(
        {
            "s1/raw/{}.tif": "grey",
            "s1/labels/labels000000{}.png": "three",
            "s1/membranes/{}.png": "white",
            "s1/synapses/{}.png": "other",
        },
        classes=("background", "membranes", "synapses"),
        unsure="labels/labels",
    ),
    "a folder a sample, with previews": Case(
        {
            "plate A/exp {}/phase.png": "grey",
            "plate A/exp {}/seg nuclei.png": "white",
            "plate A/exp {}/preview.png": "thumbnail",
        },
        classes=("background", "nuclei"),
        unused="preview",
    ),
    "side by side by type": Case({"{}.bmp": "grey", "{}.png": "white"}),
    "ome": Case({"{}.ome.tif": "grey", "{}.png": "white"}),
    "parts below kinds": Case(
        {
            "images/train/{}.png": "grey",
            "masks/train/{}.png": "white",
            "images/val/{}.png": "grey",
            "masks/val/{}.png": "white",
        },
        images=8,
        held_out=4,
    ),
    "kinds below parts": Case(
        {
            "train/image/{}.png": "grey",
            "train/label/{}.png": "white",
            "test/image/{}.png": "grey",
            "test/label/{}.png": "white",
        },
        images=8,
        test=4,
    ),
    "parts in the names of folders": Case(
        {
            "train_images/{}.png": "grey",
            "train_masks/{}.png": "white",
            "test_images/{}.png": "grey",
            "test_masks/{}.png": "white",
        },
        images=8,
        test=4,
    ),
    "parts with annot": Case(
        {
            "train/{}.png": "rgb",
            "trainannot/{}.png": "one",
            "val/{}.png": "rgb",
            "valannot/{}.png": "one",
            "test/{}.png": "rgb",
            "testannot/{}.png": "one",
        },
        images=12,
        held_out=4,
        test=4,
    ),
    "test images without masks": Case(
        {"train/images/{}.png": "grey", "train/masks/{}.png": "white", "test/images/{}.png": "grey"},
        images=4,
    ),
    "suffix": Case({"{}.png": "grey", "{}_mask.png": "white"}),
    "prefixes": Case({"img_{}.png": "grey", "gt_{}.png": "white"}),
    "img and masks": Case({"0{}_img.png": "grey", "0{}_masks.png": "ids"}, classes=OBJECT, objects=True),
    "cell tracking": Case(
        {
            "01/t0{}.tif": "grey",
            "01_GT/SEG/man_seg0{}.tif": "ids",
            "02/t0{}.tif": "grey",
            "02_GT/SEG/man_seg0{}.tif": "ids",
        },
        images=8,
        classes=OBJECT,
        objects=True,
    ),
    "glands": Case(
        {
            "train_{}.bmp": "rgb",
            "train_{}_anno.bmp": "ids",
            "testA_{}.bmp": "rgb",
            "testA_{}_anno.bmp": "ids",
            "testB_{}.bmp": "rgb",
            "testB_{}_anno.bmp": "ids",
        },
        numbers=(1, 2, 3, 4),
        images=12,
        test=8,
        classes=OBJECT,
        objects=True,
    ),
    "two observers": Case(
        {
            "Image_{}L.jpg": "rgb",
            "Image_{}L_1stHO.png": "bit",
            "Image_{}L_2ndHO.png": "bit",
            "Image_{}R.jpg": "rgb",
            "Image_{}R_1stHO.png": "bit",
            "Image_{}R_2ndHO.png": "bit",
        },
        images=8,
        masks="1stHO",
        unsure="2ndHO",
    ),
    "endings with dots": Case({"im00{}.png": "rgb", "im00{}.ah.png": "white"}),
    "skin lesions": Case({"in/ISIC_00{}.jpg": "rgb", "truth/ISIC_00{}_segmentation.png": "white"}),
    "cities": Case(
        {
            "left/train/aachen/aachen_{}_left.png": "rgb",
            "gtFine/train/aachen/aachen_{}_gtFine_labelIds.png": "three",
            "left/val/bonn/bonn_{}_left.png": "rgb",
            "gtFine/val/bonn/bonn_{}_gtFine_labelIds.png": "three",
        },
        images=8,
        held_out=4,
        classes=("background", "value128", "value255"),
    ),
    "stacks": Case({"volume.tif": "stack", "labels.tif": "labels"}, images=5),
    "organs": Case(
        {
            "human bladder/tissue images/h_{}.png": "rgb",
            "human bladder/mask binary/h_{}.png": "white",
            "human brain/tissue images/b_{}.png": "rgb",
            "human brain/mask binary/b_{}.png": "white",
        },
        images=8,
    ),
    "names as words": Case(
        {"images/{}.jpg": "rgb", "masks/{}.png": "white"},
        numbers=("cat", "dog house", "ab-12-cd", "x"),
    ),
    "medical decathlon": Case(
        {"imagesTr/p_{}_0000.tif": "grey", "labelsTr/p_{}.tif": "one", "imagesTs/p_9{}_0000.tif": "grey"},
        images=4,
    ),
    "voc": Case({"JPEGImages/2007_{}.jpg": "rgb", "SegmentationClass/2007_{}.png": "one"}),
    "colour masks": Case(
        {"images/{}.png": "rgb", "masks/{}.png": "colours"}, classes=("background", "00ff00", "ff0000")
    ),
    "patients": Case(
        {
            "patientA/{}.png": "grey",
            "patientA/{}_seg.png": "white",
            "patientB/{}.png": "grey",
            "patientB/{}_seg.png": "white",
        },
        images=8,
    ),
    "named cells": Case({"raw/{}.png": "grey", "cells/{}.tif": "ids"}, classes=("background", "cells"), objects=True),
    "an object a file": Case(
        {
            "images/{}.png": "grey",
            "masks/{}_0.png": "upper",
            "masks/{}_1.png": "middle",
            "masks/{}_2.png": "lower",
        },
        classes=OBJECT,
        objects=True,
    ),
    "an object a file, named": Case(
        {
            "IMG{}.tif": "grey",
            "IMG{}_nucleus_01.png": "upper",
            "IMG{}_nucleus_02.png": "middle",
            "IMG{}_nucleus_13.png": "lower",
        },
        classes=OBJECT,
        objects=True,
    ),
    "an object a file, in folders": Case(
        {
            "raw/w{}.png": "rgb",
            "labels/w{}/1.png": "upper",
            "labels/w{}/2.png": "middle",
            "labels/w{}/3.png": "lower",
        },
        classes=OBJECT,
        objects=True,
    ),
    "test images next to their predictions": Case(
        {
            "membrane/train/image/{}.png": "grey",
            "membrane/train/label/{}.png": "white",
            "membrane/test/{}.png": "grey",
            "membrane/test/{}_predict.png": "white",
        },
        masks="train/label",
        unused="membrane/test",
    ),
    "X and Y": Case({"X_train.npy": "stack", "Y_train.npy": "labels"}, images=5),
    "arrays of one file": Case({"p_{}.npz/X": "grey", "p_{}.npz/y": "ids"}, classes=OBJECT, objects=True),
    "volumes of HDF5": Case({"s_{}.hdf/volumes/raw": "grey", "s_{}.hdf/volumes/labels/ids": "white"}),
    "MATLAB": Case(
        {
            "Train/Images/p_{}.png": "rgb",
            "Train/Overlay/p_{}.png": "rgb",
            "Train/Labels/p_{}.mat/inst_map": "ids",
            "Train/Labels/p_{}.mat/type_map": "one",
        },
        classes=OBJECT,
        objects=True,
        masks="inst_map",
        unsure="type_map",
        unused="Overlay",
    ),
    "packed": Case({"images/im00{}.ppm.gz": "rgb", "labels/im00{}.ah.ppm.gz": "white"}),
    "an input of the challenge's labels": Case({"train-input.tif": "stack", "train-labels.tif": "labels"}, images=5),
    "outlines rather than marks": Case(
        {
            "01/t0{}.tif": "grey",
            "01_GT/TRA/man_track0{}.tif": "ids",
            "01_GT/SEG/man_seg0{}.tif": "ids",
        },
        classes=OBJECT,
        objects=True,
        masks="SEG",
        unsure="TRA",
    ),
    "images rather than what is made of them": Case(
        {
            "human brain/distance maps/b_{}.png": "grey",
            "human brain/label masks/b_{}.tif": "ids",
            "human brain/tissue images/b_{}.png": "rgb",
        },
        classes=OBJECT,
        objects=True,
        unused="distance maps",
    ),
    "masks as JPEG": Case({"images/cju{}x.jpg": "rgb", "masks/cju{}x.jpg": "white"}),
    "lists": Case(
        {"JPEGImages/2007_{}.jpg": "rgb", "SegmentationClass/2007_{}.png": "one"},
        numbers=("01", "02", "03", "04", "05"),
        images=5,
        held_out=1,
        test=1,
        texts={
            "ImageSets/Main/train.txt": "2007_01\n2007_09\n",
            "ImageSets/Segmentation/train.txt": "2007_01\n2007_02\n2007_03\n",
            "ImageSets/Segmentation/val.txt": "2007_04\n",
            "ImageSets/Segmentation/test.txt": "2007_05\n",
        },
        unused="ImageSets/Main/train.txt",
    ),
    "volumes with their labels inside": Case(
        {"day{}.ome.zarr": "stack", "day{}.ome.zarr/labels/cells": "labels"},
        numbers=("1", "2"),
        images=10,
        classes=("background", "cells"),
    ),
    "volumes in folders": Case({"raw/{}.zarr": "stack", "labels/{}.zarr": "labels"}, numbers=("a", "b"), images=10),
    "a volume with its labels": Case(
        {"train-volume.ome.zarr": "stack", "train-labels.ome.zarr": "labels"}, numbers=("",), images=5
    ),
    "folders of kinds, mirrored": Case(
        {
            "bottle/test/dent/{}.png": "rgb",
            "bottle/test/large scratch/{}.png": "rgb",
            "bottle/ground_truth/dent/{}_mask.png": "white",
            "bottle/ground_truth/large scratch/{}_mask.png": "other",
        },
        images=8,
        extra={f"bottle/train/good/{number}.png": "rgb" for number in ("01", "02", "03", "04", "05")},
        unused="bottle/train/good",
    ),
    "images in two folders": Case(
        {"part_1/ISIC_00{}.jpg": "rgb", "part_2/ISIC_01{}.jpg": "rgb", "truth/ISIC_00{}_segmentation.png": "white"},
        images=8,
        extra={f"truth/ISIC_01{number}_segmentation.png": "white" for number in ("01", "02", "03", "04")},
    ),
    "classes told by words": Case(
        {
            "images/x{}.png": "grey",
            "labels/x{}_seg-axon-manual.png": "upper",
            "labels/x{}_seg-myelin-manual.png": "lower",
        },
        classes=("background", "axon", "myelin"),
    ),
    "classes of one name in each folder": Case(
        {"s{}/ct.png": "grey", "s{}/segmentations/liver.png": "upper", "s{}/segmentations/kidney_left.png": "lower"},
        classes=("background", "kidney_left", "liver"),
    ),
    "a class that some images lack": Case(
        {"im/d_{}.jpg": "rgb", "truth/1. Bleeding/d_{}_BL.tif": "upper"},
        classes=("background", "bl", "ex"),
        extra={"truth/2. Exudates/d_01_EX.tif": "lower", "truth/2. Exudates/d_03_EX.tif": "lower"},
        unsure="2 images, such as im/d_02.jpg, have no mask of ex",
    ),
    "a recording with a few labelled frames": Case(
        {"01/t0{}.tif": "grey", "01_GT/SEG/man_seg0{}.tif": "ids"},
        numbers=("01", "11", "21"),
        images=3,
        classes=OBJECT,
        objects=True,
        extra={f"01/t0{number}.tif": "grey" for number in range(30, 40)},
    ),
    "parts that only the masks name": Case(
        {
            "im/im0{}.png": "grey",
            "mito-train-val/mito-train/seg0{}.tif": "white",
            "im/im7{}.png": "grey",
            "mito-train-val/mito-val/seg7{}.tif": "white",
        },
        images=8,
        held_out=4,
    ),
    "a folder that its files repeat": Case({"Patient_{0}/Patient_{0}.png": "grey", "Patient_{0}/GT.png": "white"}),
    "masks of two kinds as JPEG": Case(
        {"Radiographs/{}.jpg": "grey", "Segmentation/teeth/{}.jpg": "white", "Expert/{}.jpg": "other"},
        unsure="data.labels=",
    ),
    "no zero": Case({"images/{}.png": "grey", "trimaps/{}.png": "trimap"}, classes=("background", "value2", "value3")),
    "left over": Case(
        {"images/{}.png": "grey", "masks/{}.png": "white"},
        extra={"overview.png": "rgb"},
        unused="overview.png",
    ),
}


def write(path: Path, kind: str, seed: int) -> None:
    inside = next((above for above in path.parents if above.suffix in (".npz", ".hdf", ".mat")), None)
    (inside or path).parent.mkdir(parents=True, exist_ok=True)
    pixels = KINDS[kind](seed)
    if any(part.endswith(".zarr") for part in path.parts):
        with ome_zarr(path, Form(np.uint8, SIZE, SIZE, len(pixels), (), None)) as output:
            for page, values in enumerate(pixels):
                output.put(page, 0, 0, values[None])
    elif inside is not None:
        write_array(inside, path.relative_to(inside).as_posix(), pixels)
    elif path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".gz":
        stored = BytesIO()
        Image.fromarray(pixels).save(stored, "PPM")
        path.write_bytes(gzip.compress(stored.getvalue()))
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if kind in ("rgb", "colours") else "minisblack")
    else:
        Image.fromarray(pixels).save(path)


def write_array(path: Path, name: str, pixels: NDArray[Any]) -> None:
    """Put an array into a file next to those that it holds already."""
    if path.suffix == ".hdf":
        with h5py.File(path, "a") as file:
            file[name] = pixels
    elif path.suffix == ".npz":
        held = dict(np.load(path)) if path.exists() else {}
        np.savez_compressed(path, **held, **{name: pixels})
    else:
        held = {key: values for key, values in io.loadmat(path).items() if "__" not in key} if path.exists() else {}
        io.savemat(path, {**held, name: pixels.astype(np.float64), "centres": np.zeros((3, 2))})


def lay_out(case: Case, folder: Path) -> None:
    for place, (pattern, kind) in enumerate(case.files.items()):
        for seed, number in enumerate(case.numbers):
            write(folder / pattern.format(number), kind, seed if kind not in ("grey", "rgb") else 40 * place + seed)
    for path, kind in case.extra.items():
        write(folder / path, kind, 999)
    for path, text in case.texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.mark.parametrize("name", CASES)
def test_a_layout_is_recognised(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    lay_out(case, tmp_path)
    dataset = open_dataset(tmp_path)
    account, division = account_of(dataset), division_of(dataset)
    assert len(dataset) == case.images
    assert dataset.classes == case.classes
    assert (len(division.test), len(division.held_out)) == (case.test, case.held_out)
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.labels is not None
        assert 0 < sample.labels.astype(bool).mean() < 1
        assert (sample.instances is not None) == case.objects
        assert (sample.valid is not None) == case.regions
    assert isinstance(dataset, ItemDataset)
    assert all(case.masks in mask.source for item in dataset.items for mask in item.masks)
    assert case.unused in " ".join(account.unused)
    assert case.unsure in " ".join(account.unsure)
    trained = set(split_dataset(dataset, SplitConfig(folds=2)).train)
    assert not trained & {*division.test, *division.held_out}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "{}" in next(iter(case.files))])
def test_each_mask_belongs_to_its_image(tmp_path: Path, name: str) -> None:
    """Numbers and letters of both paths agree once the words for parts and roles are gone."""
    case = CASES[name]
    lay_out(case, tmp_path)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, ItemDataset)
    for item in dataset.items:
        number = next(
            str(one) for one in case.numbers if str(one) in Path(item.source).relative_to(tmp_path).as_posix()
        )
        for mask in item.masks:
            assert number in Path(mask.source).relative_to(tmp_path).as_posix()


@pytest.mark.parametrize("name", [name for name in CASES if "section" not in name])
def test_what_is_printed_fixes_the_answer(tmp_path: Path, name: str) -> None:
    lay_out(CASES[name], tmp_path)
    dataset = open_usable(tmp_path)
    words = [f"data.{key}={value}" for key, value in account_of(dataset).section]
    again = open_usable(tmp_path, config=load_config({}, words).data)
    assert again.classes == dataset.classes
    assert [again[index].name for index in range(len(again))] == [dataset[index].name for index in range(len(dataset))]
    for index in range(len(dataset)):
        np.testing.assert_array_equal(again[index].labels, dataset[index].labels)


def test_labels_of_a_volume_with_several_are_named_as_the_message_says(tmp_path: Path) -> None:
    volume = tmp_path / "day.ome.zarr"
    write(volume, "stack", 0)
    for name in ("cells", "nuclei"):
        write(volume / "labels" / name, "labels", 0)
    listed = {"labels": ["cells", "nuclei"], "version": "0.5"}
    zarr.open_group(volume / "labels", attributes={"ome": listed})
    with pytest.raises(DataError, match="holds the labels cells, nuclei; name the image and its labels: ") as refused:
        open_dataset(volume)
    words = str(refused.value).rpartition("labels: ")[2].split()
    for path in (volume, None):
        assert len(open_dataset(path, config=load_config({}, words).data)) == 5


def test_an_archive_is_read_as_its_folder_is(tmp_path: Path) -> None:
    lay_out(CASES["retina with fields of view"], tmp_path / "set")
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    loose, packed = open_dataset(tmp_path / "set"), open_dataset(archive)
    assert open_tree(Path(archive)).files
    assert division_of(packed) == division_of(loose)
    for index in range(len(loose)):
        np.testing.assert_array_equal(packed[index].labels, loose[index].labels)
        np.testing.assert_array_equal(packed[index].valid, loose[index].valid)


def test_objects_of_masks_are_numbered_by_name_and_belong_to_their_image(tmp_path: Path) -> None:
    lay_out(CASES["an object a file"], tmp_path)
    (tmp_path / "masks" / "04_1.png").unlink()
    dataset = open_dataset(tmp_path)
    assert dict(account_of(dataset).taken)["objects"] == "11 masks, each one object"
    for seed in range(4):
        kinds = ("upper", "middle", "lower") if seed < 3 else ("upper", "lower")
        found = np.zeros((SIZE, SIZE), np.int32)
        for number, kind in enumerate(kinds, 1):
            found[KINDS[kind](seed) > 0] = number
        np.testing.assert_array_equal(dataset[seed].instances, found)


_IDENTIFIED = "images/p_{{}}_w{}08582426-c365-50ba-afe5-831b70331329.tif"
CHANNELS = {
    "endings": ("images/{}_DAPI.tif", "images/{}_GFP.tif"),
    "folders": ("images/DAPI/{}.tif", "images/GFP/{}.tif"),
    "beginnings": ("images/C1-{}.tif", "images/C2-{}.tif"),
    "numbers": ("images/case_{}_0000.tif", "images/case_{}_0001.tif"),
    "names": ("case {}/t1.tif", "case {}/t2.tif"),
    "words": ("case {}/flair.tif", "case {}/t1.tif", "case {}/t2.tif"),
    "identifiers": (_IDENTIFIED.format("11"), _IDENTIFIED.format("22")),
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_channels_in_files_of_their_own_are_one_image(tmp_path: Path, kind: str) -> None:
    for seed, number in enumerate(("01", "02", "03", "04")):
        for place, path in enumerate(CHANNELS[kind]):
            write(tmp_path / path.format(number), "grey", 100 * place + seed)
        write(
            tmp_path / ("case {}/mask.tif" if "case {}" in CHANNELS[kind][0] else "masks/p_{}.tif").format(number),
            "white",
            seed,
        )
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 4
    for seed in range(4):
        channels = [picture(100 * place + seed) for place in range(len(CHANNELS[kind]))]
        np.testing.assert_array_equal(dataset[seed].pixels, np.stack(channels))
        np.testing.assert_array_equal(dataset[seed].labels, blobs(seed))
    account = account_of(dataset)
    assert "channels of one image" in " ".join(account.unsure)
    words = [f"data.{key}={value}" for key, value in account.section]
    again = open_dataset(tmp_path, config=load_config({}, words).data)
    np.testing.assert_array_equal(again[3].pixels, dataset[3].pixels)


def test_an_image_of_several_files_lacks_none(tmp_path: Path) -> None:
    for number in ("01", "02", "03", "04"):
        write(tmp_path / f"masks/{number}.png", "white", int(number))
        for place, stain in enumerate(("DAPI", "GFP")):
            write(tmp_path / f"images/{number}_{stain}.tif", "grey", 10 * place + int(number))
    write(tmp_path / "images/04_GFP.tif", "thumbnail", 9)
    with pytest.raises(DataError, match=r"04_GFP\.tif: 1 pages of 12 x 12 .*04_DAPI\.tif, a channel of the same image"):
        open_dataset(tmp_path)


def test_archives_next_to_each_other_and_in_each_other_are_one_set(tmp_path: Path) -> None:
    lay_out(Case({"images/{}.png": "grey", "masks/{}.png": "white"}), tmp_path / "whole")
    for place in ("images", "masks"):
        shutil.make_archive(str(tmp_path / "apart" / place), "zip", tmp_path / "whole", place)
    shutil.make_archive(str(tmp_path / "one" / "set"), "zip", tmp_path / "apart")
    loose = open_dataset(tmp_path / "whole")
    for packed in ("apart", "one", "one/set.zip"):
        dataset = open_dataset(tmp_path / packed)
        assert len(dataset) == 4
        for index in range(4):
            np.testing.assert_array_equal(dataset[index].pixels, loose[index].pixels)
            np.testing.assert_array_equal(dataset[index].labels, loose[index].labels)


def test_no_mask_is_taken_for_an_image(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c d")):
        write(tmp_path / "images" / f"{name}.png", "grey", seed)
        write(tmp_path / "masks" / (f"{name}.jpg" if name == "a" else f"{name}.png"), "white", seed)
    sources = [item.source for item in cast(ItemDataset, open_usable(tmp_path)).items]
    assert sources == [str(tmp_path / "images" / f"{name}.png") for name in ("a", "b", "c d")]


def test_masks_of_another_size_are_named(tmp_path: Path) -> None:
    lay_out(Case({"images/{}.png": "grey", "masks/{}.png": "white"}), tmp_path)
    for path in (tmp_path / "masks").iterdir():
        Image.open(path).resize((96, 96), Image.Resampling.NEAREST).save(path)
    with pytest.raises(
        DataError, match=r"not as large as images, in pixels: images/\*\.png 48 x 48 and masks/\*\.png 96 x 96"
    ):
        open_dataset(tmp_path)
