"""Folders of files that are matched by name."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from unetkit.config import DataConfig
from unetkit.data import open_dataset, open_images, samples_of
from unetkit.errors import DataError

RNG = np.random.default_rng(0)


def image(height: int = 12, width: int = 10) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (height, width), np.uint8)


def mask(height: int = 12, width: int = 10) -> NDArray[np.uint8]:
    return np.where(RNG.random((height, width)) < 0.5, np.uint8(0), np.uint8(255))


def put(path: Path, pixels: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b", "a", "c d"):
        put(tmp_path / "images" / f"{name}.png", image())
        put(tmp_path / "masks" / f"{name}.png", mask())
    return tmp_path


def names(path: Path, config: DataConfig | None = None) -> list[str]:
    return [sample.name for sample in samples_of(open_dataset(path, config=config or DataConfig()))]


def test_images_and_masks_are_matched_by_name(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert names(folder) == ["a", "b", "c d"]
    assert dataset.classes == ("background", "foreground")
    sample = dataset[0]
    assert sample.labels is not None
    np.testing.assert_array_equal(sample.pixels[0], np.asarray(Image.open(folder / "images" / "a.png")))
    np.testing.assert_array_equal(sample.labels * 255, np.asarray(Image.open(folder / "masks" / "a.png")))


@pytest.mark.parametrize("images", ["images", "Images", "imgs"])
@pytest.mark.parametrize("masks", ["masks", "labels", "Label"])
def test_the_usual_names_of_folders(tmp_path: Path, images: str, masks: str) -> None:
    put(tmp_path / images / "x.jpg", image())
    put(tmp_path / masks / "x.tif", mask())
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_seg", "-mask", "_MASK"])
def test_masks_told_by_a_suffix(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / "x.png", image())
    put(tmp_path / f"x{suffix}.png", mask())
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x.png") == ["x"]


def test_a_suffix_in_a_folder_of_masks_is_not_part_of_the_name(tmp_path: Path) -> None:
    put(tmp_path / "images" / "x.png", image())
    put(tmp_path / "masks" / "x_mask.png", mask())
    assert names(tmp_path) == ["x"]


def test_two_folders_that_are_named(tmp_path: Path) -> None:
    put(tmp_path / "raw" / "x.png", image())
    put(tmp_path / "truth" / "x.png", mask())
    assert names(tmp_path, DataConfig(images="raw", labels="truth")) == ["x"]
    assert names(tmp_path, DataConfig(images="raw", labels="truth/x.png")) == ["x"]


def test_what_is_no_image_is_not_looked_at(folder: Path) -> None:
    for place in ("images", "masks"):
        (folder / place / "notes.txt").write_text("x")
        (folder / place / ".hidden.png").write_text("x")
        (folder / place / "old.png").mkdir()
    assert names(folder) == ["a", "b", "c d"]


def test_stacks_in_folders_give_their_pages(tmp_path: Path) -> None:
    images, masks = RNG.integers(0, 256, (3, 12, 10), np.uint8), np.stack([mask() for _ in range(3)])
    put(tmp_path / "images" / "s.tif", images)
    put(tmp_path / "masks" / "s.tif", masks)
    put(tmp_path / "images" / "t.tif", image())
    put(tmp_path / "masks" / "t.tif", mask())
    assert names(tmp_path) == ["s[00]", "s[01]", "s[02]", "t"]
    np.testing.assert_array_equal(open_dataset(tmp_path)[1].pixels[0], images[1])
    put(tmp_path / "masks" / "s.tif", masks[:2])
    with pytest.raises(DataError, match=r"s\.tif: has 2 pages, but .*s\.tif has 3"):
        open_dataset(tmp_path)


def test_colours_are_mapped_by_the_table(folder: Path) -> None:
    codes = RNG.integers(0, 3, (12, 10))
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    for name in ("a", "b", "c d"):
        put(folder / "masks" / f"{name}.png", colours[codes])
    config = DataConfig(classes=("none", "red", "blue"), mask_values={"#000000": 0, "#ff0000": 1, "#0000FF": 2})
    np.testing.assert_array_equal(open_dataset(folder, config=config)[0].labels, codes)
    found = open_dataset(folder)
    assert found.classes == ("background", "0000ff", "ff0000"), "a few colours are a class each, in their order"
    np.testing.assert_array_equal(found[0].labels, np.array([0, 2, 1])[codes])


def test_an_image_without_a_mask(folder: Path) -> None:
    put(folder / "images" / "lone.png", image())
    put(folder / "images" / "loner.png", image())
    with pytest.raises(DataError, match=r"images/lone\.png: has no mask; .* \(1 more files are wrong\)"):
        open_dataset(folder)


def test_a_mask_without_an_image(folder: Path) -> None:
    put(folder / "masks" / "lone.png", mask())
    with pytest.raises(DataError, match=r"masks/lone\.png: has no image"):
        open_dataset(folder)


def test_two_files_of_one_name(folder: Path) -> None:
    put(folder / "images" / "a.jpg", image())
    with pytest.raises(DataError, match=r"images/a\.png: has the same name as .*images/a\.jpg"):
        open_dataset(folder)


def test_a_folder_without_its_partner(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.png", image())
    with pytest.raises(DataError, match="1 image files such as images/a.png, but none could be paired"):
        open_dataset(tmp_path)


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="an empty folder"):
        open_dataset(tmp_path)


def test_masks_of_a_kind_that_is_not_read_are_named(tmp_path: Path) -> None:
    put(tmp_path / "imgs" / "car.png", image())
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "car_mask.svg").touch()
    with pytest.raises(DataError, match=r"none could be paired with a mask; files that are not read: 1 \.svg"):
        open_dataset(tmp_path)


def test_a_mask_of_another_size_is_found_when_it_is_read(folder: Path) -> None:
    put(folder / "masks" / "b.png", mask(11, 10))
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match=r"masks/b\.png: 11 x 10 pixels .* images/b\.png has 12 x 10|12 x 10"):
        dataset[1]


def test_a_photograph_of_a_mask(folder: Path) -> None:
    smooth = np.zeros((12, 10), np.uint8)
    smooth[4:9, 3:8] = 255
    (folder / "masks" / "a.png").unlink()
    put(folder / "masks" / "a.jpg", smooth)
    with pytest.raises(DataError, match=r"masks/a\.jpg: JPEG has blurred the mask"):
        open_dataset(folder)[0]


def test_images_alone_are_opened_for_prediction(folder: Path, tmp_path: Path) -> None:
    dataset = open_images(folder)
    assert [sample.name for sample in samples_of(dataset)] == ["a", "b", "c d"]
    assert dataset.classes == ()
    assert dataset[0].labels is None
    put(folder / "x.png", image())
    put(folder / "x_mask.png", mask())
    assert [sample.name for sample in samples_of(open_images(folder / "images"))] == ["a", "b", "c d"]


def test_images_of_one_stem_keep_their_endings(tmp_path: Path) -> None:
    put(tmp_path / "x.png", image())
    put(tmp_path / "x.jpg", image())
    put(tmp_path / "y_mask.png", mask())
    assert [sample.name for sample in samples_of(open_images(tmp_path))] == ["x.jpg", "x.png"]


def test_nothing_to_predict(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image files"):
        open_images(tmp_path)
    with pytest.raises(DataError, match="there is no such file or folder"):
        open_images(tmp_path / "absent")


NAMES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "by name": ("dataset.json", '{"labels": {"background": 0, "cell": 1, "edge": 2, "ignore": 3}}', ("cell", "edge")),
    "by value": ("dataset.json", '{"labels": {"0": "background", "1": "cell", "2": "edge"}}', ("cell", "edge")),
    "regions": ("dataset.json", '{"labels": {"background": 0, "all": [1, 2]}}', ("class1", "class2")),
    "other values": ("dataset.json", '{"labels": {"background": 0, "cell": 7, "edge": 8}}', ("class1", "class2")),
    "out of order": ("dataset.json", '{"labels": {"2": "edge", "1": "cell", "0": "background"}}', ("cell", "edge")),
    "no number": ("dataset.json", '{"labels": {"background": 0, "cell": true, "edge": -2}}', ("class1", "class2")),
    "deep": ("dataset.json", "[" * 100_000, ("class1", "class2")),
    "damaged": ("dataset.json", '{"labels"', ("class1", "class2")),
    "colours": ("labelmap.txt", "# label:color\nbackground:0,0,0::\nred:250,0,0::\nblue:0,0,250::\n", ("red", "blue")),
    "table": ("class_dict.csv", "name, r, g, b\nbackground,0,0,0\nred,250,0,0\nblue,0,0,250\n", ("red", "blue")),
    "table of values": ("_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n2, edge\n", ("cell", "edge")),
    "table of words": ("_classes.csv", "Pixel Value, Class\nx, background\n1, cell\n", ("class1", "class2")),
    "most is void": ("class_dict.csv", "name,r,g,b\nVoid,0,0,0\nred,250,0,0\nblue,0,0,250\n", ("red", "blue")),
    "lines": ("label_colors.txt", "0 0 0\tbackground\n250 0 0 red\n0 0 250  blue\n", ("red", "blue")),
}


@pytest.mark.parametrize(("name", "text", "names"), NAMES.values(), ids=NAMES)
def test_names_of_classes_next_to_the_masks(tmp_path: Path, name: str, text: str, names: tuple[str, ...]) -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[5:20, 5:30], labels[25:35, 5:30], labels[0, 0] = 1, 2, 1
    palette = np.array([[0, 0, 0], [250, 0, 0], [0, 0, 250]], np.uint8)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        Image.fromarray(labels * 80).save(tmp_path / f"imagesTr/c_{number}_0000.png")
        mask = palette[labels] if "250" in text else labels
        Image.fromarray(mask).save(tmp_path / f"labelsTr/c_{number}.png")
    (tmp_path / name).write_text(text, encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", *names)
    found = dataset[1].labels
    assert found is not None
    np.testing.assert_array_equal(found, labels)
    left = name in dataset.account.unused or any(name in one for one in dataset.account.unsure)
    assert left == ("class1" in names)


def drawn(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (24, 20), np.uint8)


def squares(seed: int) -> NDArray[np.uint8]:
    found = np.zeros((24, 20), np.uint8)
    for number in range(3 + seed):
        found[4 * (number // 4) : 4 * (number // 4) + 3, 5 * (number % 4) : 5 * (number % 4) + 3] = number + 1
    return found


def zarr_of(path: Path, seed: int, *, labels: bool) -> None:
    levels = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]
    group = zarr.open_group(str(path), mode="w", zarr_format=2, attributes={"multiscales": levels})
    group.create_array("0", data=drawn(seed))
    if labels:
        held = group.create_group("labels", attributes={"labels": ["cells"]})
        cells = held.create_group("cells", attributes={"multiscales": levels})
        cells.create_array("0", data=squares(seed))


def test_a_folder_of_zarrs_with_labels_is_a_set(tmp_path: Path) -> None:
    for seed in range(4):
        zarr_of(tmp_path / f"well {seed}.ome.zarr", seed, labels=True)
    dataset = open_dataset(tmp_path)
    assert [dataset[seed].name for seed in range(4)] == [f"well {seed}" for seed in range(4)]
    for seed in range(4):
        np.testing.assert_array_equal(dataset[seed].pixels[0], drawn(seed))
        np.testing.assert_array_equal(dataset[seed].instances, squares(seed))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("scan.dcm", "DICOM: convert it"),
        ("set.tar.gz", "a packed file: unpack it"),
        ("a.parquet", "write files"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(DataError, match=advice) as caught:
        open_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_images_and_masks_names_no_class(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"P{number:03} 2024-01-1{number}" / "OCT"
        put(folder / "B-Scan.png", drawn(number))
        put(folder / "B-Scan.ann-jd.png", np.where(squares(number) > 0, np.uint8(255), np.uint8(0)))
    assert open_dataset(tmp_path).classes == ("background", "foreground")
