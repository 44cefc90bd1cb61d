"""Sets that many people made: several who labelled, parts in places of their own, objects and their parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from unetkit.config import load_config
from unetkit.data import open_dataset
from unetkit.data.dataset import account_of, division_of
from unetkit.errors import DataError

SIZE = 56
Picture = Callable[[int], NDArray[Any]]


def grey(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE), np.uint8)


def rgb(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def blob(seed: int, *, other: int = 0) -> NDArray[np.bool_]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed + 100 * other).normal(size=(SIZE, SIZE)), 4)
    return smooth > np.quantile(smooth, 0.8)


def white(seed: int) -> NDArray[np.uint8]:
    return blob(seed) * np.uint8(255)


def three(seed: int) -> NDArray[np.uint8]:
    return np.where(blob(seed), 255, np.where(blob(seed, other=1), 128, 0)).astype(np.uint8)


def cell(seed: int, number: int) -> NDArray[np.uint8]:
    """A square of 20 with a core of 40, one of four of an image."""
    found = np.zeros((SIZE, SIZE), np.uint8)
    row, column = divmod(number, 2)
    top, left = 28 * row + 3 + seed, 28 * column + 4 + seed
    found[top : top + 18, left : left + 16] = 20
    found[top + 5 : top + 11, left + 5 : left + 10] = 40
    return found


def put(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def lay_out(folder: Path, files: dict[str, Picture], numbers: tuple[int, ...] = (1, 2, 3, 4)) -> None:
    for place, (pattern, picture) in enumerate(files.items()):
        for number in numbers:
            put(folder / pattern.format(number), picture(number if picture not in (grey, rgb) else 50 * place + number))


def printed_again(folder: Path) -> list[str]:
    """The names of the samples that the printed section gives."""
    words = [f"data.{key}={value}" for key, value in account_of(open_dataset(folder)).section]
    again = open_dataset(folder, config=load_config({}, words).data)
    return [again[index].name for index in range(len(again))]


def test_of_several_people_who_labelled_kinds_of_images_one_is_taken(tmp_path: Path) -> None:
    for kind in ("baso", "eosi", "mono"):
        files: dict[str, Picture] = {f"main set/{kind}/{{}}.bmp": rgb}
        files |= {f"truth/{kind}/area for expert{person}/{{}}_expert.bmp": three for person in (1, 2)}
        lay_out(tmp_path, files, (1, 2))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 6
    assert len(dataset.classes) == 3
    assert "expert1" in dict(account_of(dataset).taken)["masks"]
    assert "expert2" in " ".join(account_of(dataset).unsure)
    assert len(printed_again(tmp_path)) == 6


def test_of_two_peoples_folders_of_many_kinds_of_masks_one_is_taken(tmp_path: Path) -> None:
    files: dict[str, Picture] = {"tissue images/h_{}.png": rgb}
    for person in ("Annotator 1 (biologist)", "Annotator 2 (computer scientist)"):
        files[f"{person}/{person}/mask binary/h_{{}}.png"] = white
        files[f"{person}/{person}/distance maps/h_{{}}.png"] = grey
        files[f"{person}/{person}/overlay/h_{{}}.png"] = rgb
    lay_out(tmp_path, files)
    dataset = open_dataset(tmp_path)
    assert [dataset[index].name for index in range(4)] == ["h_1", "h_2", "h_3", "h_4"]
    assert all("tissue images" in dataset[index].source for index in range(4))
    assert dataset.classes == ("background", "foreground")


def test_classes_in_folders_above_the_kind_of_mask(tmp_path: Path) -> None:
    layers = {"mito": 0, "lyso": 1}
    files: dict[str, Picture] = {"data/f_{}.png": grey}
    for name, other in layers.items():
        files[f"{name}/binary/f_{{}}.png"] = lambda seed, other=other: blob(seed, other=other) * np.uint8(255)
        files[f"{name}/instance/f_{{}}.png"] = lambda seed, other=other: ndimage.label(blob(seed, other=other))[
            0
        ].astype(np.uint8)
    lay_out(tmp_path, files)
    assert set(open_dataset(tmp_path).classes) == {"background", *layers}


def test_a_mask_of_two_classes_together_is_no_third(tmp_path: Path) -> None:
    def both(seed: int) -> NDArray[np.uint8]:
        return (blob(seed) | blob(seed, other=1)) * np.uint8(255)

    def second(seed: int) -> NDArray[np.uint8]:
        return (blob(seed, other=1) & ~blob(seed)) * np.uint8(255)

    lay_out(
        tmp_path, {"raw/{}.png": grey, "seg/{}_axon.png": white, "seg/{}_myelin.png": second, "seg/{}_all.png": both}
    )
    assert set(open_dataset(tmp_path).classes) == {"background", "axon", "myelin"}


def test_a_test_set_that_is_laid_out_in_another_way(tmp_path: Path) -> None:
    lay_out(tmp_path / "Training400", {"Glaucoma/g{}.png": rgb, "Healthy/n{}.png": rgb})
    lay_out(tmp_path / "Annotation-Training400", {"masks/Glaucoma/g{}.png": white, "masks/Healthy/n{}.png": white})
    lay_out(tmp_path, {"Test400/T{}.png": rgb, "Test400-GT/masks/T{}.png": white}, (1, 2, 3))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 11
    assert [dataset[index].name for index in division_of(dataset).test] == ["T1", "T2", "T3"]
    assert not account_of(dataset).section  # no pattern tells the images from the masks


def test_files_that_are_no_other_part_of_the_set_are_left(tmp_path: Path) -> None:
    lay_out(tmp_path, {"images/a{}.png": grey, "masks/a{}.png": white})
    lay_out(tmp_path / "old", {"pictures/x/b{}.png": grey, "seg/b{}.png": white}, (1, 2))
    assert len(open_dataset(tmp_path)) == 4


def test_parts_of_objects_that_have_a_mask_each_are_classes(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / "train" / "x" / f"{106 + 7 * number}.bmp", rgb(number))
        for part in range(2 + number % 3):
            put(tmp_path / "train" / "y" / f"{106 + 7 * number}_{part + 1}.bmp", cell(number, part))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "value20", "value40")
    whole = np.maximum.reduce([cell(2, part) for part in range(4)])
    np.testing.assert_array_equal(dataset[2].labels, whole // 20)
    assert "laid over each other" in " ".join(account_of(dataset).unsure)


IDENTIFIERS = ("0b4fbfcd-9b5d-4a1e-8f0b-3d1f6a1c2e{}a", "5c1d2e3f-1a2b-4c3d-8e4f-aabbccddee{}f")


def test_objects_of_images_that_microscopes_named(tmp_path: Path) -> None:
    for number in range(4):
        for channel, identifier in enumerate(IDENTIFIERS, 1):
            name = f"scr_1109_Amp5-1_2007_A{number:02}_w{channel}_{identifier.format(number)}.tif"
            put(tmp_path / "raw_v2_images" / name, grey(10 * channel + number))
        for part in range(3 + number % 2):
            mask = np.where(cell(number, part), np.uint8(255), np.uint8(0))
            put(tmp_path / "raw_v2_worms" / f"A{number:02}_{part + 11:02}_ground_truth.png", mask)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "worms")
    counts = [
        len(np.unique(instances)) - 1 for index in range(4) if (instances := dataset[index].instances) is not None
    ]
    assert counts == [3, 4, 3, 4]
    assert dataset[0].pixels.shape[0] == 2
    images = dict(account_of(dataset).section)["images"]
    assert "*w1*" in images
    assert "*w2*" in images
    assert len(printed_again(tmp_path)) == 4


def test_masks_of_several_people_are_no_objects(tmp_path: Path) -> None:
    rows, columns = np.ogrid[:SIZE, :SIZE]
    for number in range(4):
        put(tmp_path / "images" / f"p{number}.png", grey(number))
        for person in range(2 + number % 2):
            disc = (rows - 28) ** 2 + (columns - 28) ** 2 < (12 + number + person) ** 2
            put(tmp_path / "masks" / f"p{number}_{person + 1}.png", disc * np.uint8(255))
    with pytest.raises(DataError):
        open_dataset(tmp_path)


def test_an_images_header_may_lack_that_of_its_file(tmp_path: Path) -> None:
    lay_out(tmp_path, {"masks/{}.png": white})
    for number in (1, 2, 3, 4):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(grey(number)).save(tmp_path / "images" / f"{number}.DIB", "DIB")
    np.testing.assert_array_equal(open_dataset(tmp_path)[1].pixels[0], grey(2))
