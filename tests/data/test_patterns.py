"""What the configuration says of the data: patterns, lists, regions, values to ignore, test sets and groups."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from unetkit.config import DataConfig, SplitConfig, load_config, read_override
from unetkit.data import open_dataset, split_dataset
from unetkit.data.dataset import account_of, division_of
from unetkit.data.layouts import open_usable
from unetkit.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def picture() -> np.ndarray:
    return RNG.integers(0, 256, (32, 24))


def blobs() -> np.ndarray:
    smooth = ndimage.gaussian_filter(RNG.normal(size=(32, 24)), 2)
    return smooth > np.quantile(smooth, 0.7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        put(tmp_path / f"a/b/raw/{number:02}.png", picture())
        put(tmp_path / f"a/b/cells/x{number}.png", blobs() * 255)
        put(tmp_path / f"a/b/walls/{number}_w.png", blobs() * 255)
        put(tmp_path / f"a/b/view/{number}.png", np.pad(np.ones((20, 24)), ((6, 6), (0, 0))))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("data.images=**/raw/*.png", "**/raw/*.png"),
        ("data.labels=*.png", "*.png"),
        ("data.labels=[ab]*.png", "[ab]*.png"),
        ("data.labels={cell: '**/c/*.png', wall: **/w/*.png}", {"cell": "**/c/*.png", "wall": "**/w/*.png"}),
        ("data.roi='**/m.png'", "**/m.png"),
        ("data.images=null", None),
        ("data.split.group=(patient\\d+)", "(patient\\d+)"),
        ("optimizer.lr_factors={*.norm*: 0}", {"*.norm*": 0}),
        ("init.exclude=[*.bias, head.*]", ["*.bias", "head.*"]),
    ],
)
def test_a_pattern_on_the_command_line_is_no_alias_of_yaml(text: str, value: object) -> None:
    assert read_override(text)[1] == value


def test_patterns_name_images_and_masks(folder: Path) -> None:
    config = load_config({}, ["data.images=**/raw/*.png", "data.labels=**/cells/*.png"]).data
    dataset = open_dataset(folder, config=config)
    assert len(dataset) == 6
    for number in range(6):
        stored = np.asarray(Image.open(folder / f"a/b/cells/x{number}.png"))
        np.testing.assert_array_equal(dataset[number].labels, stored > 0)


def test_several_patterns_are_classes_and_the_later_lies_on_top(folder: Path) -> None:
    config = DataConfig(images="a/b/raw", labels={"cell": "a/b/cells/*.png", "wall": "**/walls/*.png"})
    dataset = open_dataset(folder, config=config)
    assert dataset.classes == ("background", "cell", "wall")
    cell, wall = (np.asarray(Image.open(folder / f"a/b/{name}.png")) > 0 for name in ("cells/x3", "walls/3_w"))
    np.testing.assert_array_equal(dataset[3].labels, np.where(wall, 2, cell))


def test_outside_the_region_nothing_counts(folder: Path) -> None:
    config = DataConfig(images="**/raw/*.png", labels="**/cells/*.png", roi="**/view/*.png")
    sample = open_dataset(folder, config=config)[0]
    assert sample.valid is not None
    assert sample.labels is not None
    assert sample.valid[6:26].all()
    assert not sample.valid[:6].any()
    assert not sample.labels[:6].any()


def test_a_pattern_that_names_nothing_says_where_images_are(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data\.images=\*\*/row/\*: names no image file .* a/b/cells, a/b/raw"):
        open_dataset(folder, config=DataConfig(images="**/row/*", labels="**/cells/*"))


def test_a_list_names_images_masks_parts_and_groups(folder: Path) -> None:
    rows = ["Image,Label,split,group"]
    parts = ["train", "train", "val", "test", "train", "train"]
    rows += [f"a/b/raw/0{n}.png,a/b/cells/x{n}.png,{part},g{n // 2}" for n, part in enumerate(parts)]
    (folder / "list.csv").write_text("\n".join(rows))
    for dataset in (open_dataset(folder / "list.csv"), open_dataset(folder, config=DataConfig(images="list.csv"))):
        division = division_of(dataset)
        assert (division.held_out, division.test) == ((2,), (3,))
        assert division.groups == ("g0", "g0", "g1", "g1", "g2", "g2")
    (folder / "list.csv").write_text("image,label\na/b/raw/00.png,lost.png\n")
    with pytest.raises(DataError, match=r"list\.csv, line 2: there is no file lost\.png"):
        open_dataset(folder / "list.csv")
    (folder / "list.csv").write_text("picture;label\n")
    with pytest.raises(DataError, match=r"has the columns picture;label; expected image,label"):
        open_dataset(folder / "list.csv")


@pytest.mark.parametrize("key", ["mask_values", "ignore_value"])
def test_a_value_can_be_ignored(folder: Path, key: str) -> None:
    stored = np.zeros((32, 24))
    stored[:8], stored[8:16] = 255, 128
    for number in range(6):
        put(folder / f"a/b/cells/x{number}.png", stored)
    values = {"mask_values": {"0": 0, "255": 1, "128": "ignore"}, "ignore_value": 128}
    config = DataConfig.model_validate({"images": "**/raw/*", "labels": "**/cells/*", key: values[key]})
    sample = open_dataset(folder, config=config)[0]
    assert sample.valid is not None
    assert sample.labels is not None
    np.testing.assert_array_equal(sample.valid, stored != 128)
    np.testing.assert_array_equal(sample.labels, stored == 255)


def test_a_test_set_is_a_pattern_or_another_data_set(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = DataConfig(images="**/raw/*.png", labels="**/cells/*.png", test="**/0[45].png")
    assert division_of(open_dataset(folder, config=config)).test == (4, 5)
    other = tmp_path_factory.mktemp("other")
    put(other / "images/00.png", picture())
    put(other / "masks/00.png", blobs() * 255)
    joined = open_dataset(folder, config=config.model_copy(update={"test": str(other)}))
    assert division_of(joined).test == (6,)
    assert len({joined[index].name for index in range(len(joined))}) == 7
    with pytest.raises(DataError, match=r"data\.test=z/\*: names no labelled image"):
        open_dataset(folder, config=config.model_copy(update={"test": "z/*"}))


@pytest.mark.parametrize("method", ["shuffled", "blocks", "interleaved", "mindspore", "stacks", "last"])
def test_a_test_set_is_on_no_side_of_a_split(folder: Path, method: str) -> None:
    config = DataConfig(images="**/raw/*.png", labels="**/cells/*.png", test="**/0[03].png")
    dataset = open_dataset(folder, config=config)
    split = split_dataset(dataset, SplitConfig.model_validate({"method": method, "folds": 2}))
    assert split.test == (0, 3)
    assert sorted(split.train + split.validation) == [1, 2, 4, 5]


def test_a_group_lies_on_one_side(tmp_path: Path) -> None:
    for patient in range(5):
        for number in range(4):
            put(tmp_path / f"patient{patient}/{number}.png", picture())
            put(tmp_path / f"patient{patient}/{number}_mask.png", blobs() * 255)
    dataset = open_dataset(tmp_path)
    for fold in range(5):
        split = split_dataset(dataset, SplitConfig(group="(patient\\d+)", fold=fold))
        sides = [{dataset[index].source.split("/")[-2] for index in side} for side in (split.train, split.validation)]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 1
    with pytest.raises(ConfigError, match=r"data\.split\.group: 'embryo' finds nothing in .*patient0"):
        split_dataset(dataset, SplitConfig(group="embryo"))
    with pytest.raises(ConfigError, match="is not a regular expression"):
        split_dataset(dataset, SplitConfig(group="("))


def test_images_without_masks_are_refused_or_left_out_with_a_word(folder: Path) -> None:
    (folder / "a/b/cells/x2.png").unlink()
    config = DataConfig(images="**/raw/*.png", labels="**/cells/*.png")
    with pytest.raises(DataError, match=r"02\.png: has no mask; .*data\.unlabelled=skip"):
        open_dataset(folder, config=config)
    dataset = open_usable(folder, config=config.model_copy(update={"unlabelled": "skip"}))
    assert len(dataset) == 5
    assert ("no masks", "1 images are left out: a/b/raw/02.png") in account_of(dataset).taken


def test_sections_of_a_stack_are_held_out_next_to_each_other(tmp_path: Path) -> None:
    volume = ndimage.gaussian_filter(RNG.normal(size=(12, 64, 64)), (2, 1.5, 1.5))
    for number, section in enumerate(volume):
        put(tmp_path / f"raw/{number:02}.png", 128 + 100 * section / np.abs(volume).max() + RNG.normal(size=(64, 64)))
        put(tmp_path / f"labels/{number:02}.png", (section > 0) * 255)
    held = split_dataset(open_dataset(tmp_path), SplitConfig(folds=4)).validation
    assert held == (3, 4, 5)
    for number in range(12):  # the same names, but each image by itself
        put(tmp_path / f"raw/{number:02}.png", RNG.integers(0, 256, (64, 64)))
    assert not division_of(open_dataset(tmp_path)).serial
