"""COCO annotations: what is drawn, which classes, and every kind of broken file."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from unetkit.config import DataConfig, SplitConfig
from unetkit.data import open_dataset, samples_of, split_dataset
from unetkit.data.annotations.coco import read_annotations
from unetkit.data.outlines import Polygons, draw_runs
from unetkit.errors import DataError, UsageError

codec = pytest.importorskip("pycocotools.mask", reason="needs the extra 'coco'")
HEIGHT, WIDTH = 20, 30
SQUARE = [[2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]]
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def annotation(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": 7, "iscrowd": 0, "segmentation": SQUARE} | fields


def content(*annotations: dict[str, Any], file_name: str = "a.jpg", **fields: Any) -> dict[str, Any]:
    images = [{"id": 1, "file_name": file_name, "height": HEIGHT, "width": WIDTH}]
    return {"images": images, "annotations": list(annotations), "categories": CATEGORIES} | fields


def put(root: Path, what: object, *, part: str = "train2017", grey: bool = False) -> Path:
    for folder in (root / "annotations", root / "images" / part):
        folder.mkdir(parents=True, exist_ok=True)
    shape = (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(root / "images" / part / "a.jpg")
    text = what if isinstance(what, str) else json.dumps(what)
    (root / "annotations" / f"instances_{part}.json").write_text(text)
    return root


def square(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    return mask


def test_polygons_are_drawn_and_classes_follow_the_category_ids(tmp_path: Path) -> None:
    dataset = open_dataset(put(tmp_path, content(annotation())))
    assert dataset.classes == ("background", "dog", "cat")
    sample = dataset[0]
    assert sample.name == "a"
    assert sample.pixels.shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(sample.labels == 2, square(slice(3, 13), slice(2, 12)))
    np.testing.assert_array_equal(sample.instances, (sample.labels == 2) * 1)


def test_the_first_annotation_wins_and_a_crowd_has_no_id(tmp_path: Path) -> None:
    runs = {"counts": [0, HEIGHT * WIDTH], "size": [HEIGHT, WIDTH]}
    crowd = annotation(2, category_id=3, iscrowd=1, segmentation=runs)
    hidden = annotation(3, category_id=3)
    sample = open_dataset(put(tmp_path, content(annotation(), crowd, hidden)))[0]
    assert sample.labels is not None
    inside = square(slice(3, 13), slice(2, 12))
    np.testing.assert_array_equal(sample.labels, np.where(inside, 2, 1))
    np.testing.assert_array_equal(sample.instances, np.where(inside, 1, 0))


def test_classes_may_be_chosen(tmp_path: Path) -> None:
    root = put(tmp_path, content(annotation(), annotation(2, category_id=3, segmentation=[[0, 0, 29, 0, 29, 19]])))
    dataset = open_dataset(root, config=DataConfig(classes=("rest", "cat")))
    np.testing.assert_array_equal(dataset[0].labels, square(slice(3, 13), slice(2, 12)))
    with pytest.raises(DataError, match="no category 'cta'; did you mean 'cat'"):
        open_dataset(root, config=DataConfig(classes=("rest", "cta")))
    with pytest.raises(DataError, match="begins with the category 'cat'"):
        open_dataset(root, config=DataConfig(classes=("cat", "dog")))


def test_an_image_without_objects_is_background(tmp_path: Path) -> None:
    sample = open_dataset(put(tmp_path, content()))[0]
    assert sample.labels is not None
    assert not sample.labels.any()


def test_grey_photographs_have_three_channels(tmp_path: Path) -> None:
    assert open_dataset(put(tmp_path, content(annotation()), grey=True))[0].pixels.shape == (3, HEIGHT, WIDTH)


def test_train_and_val_are_a_given_split_and_names_stay_unique(tmp_path: Path) -> None:
    put(tmp_path, content(annotation()))
    dataset = open_dataset(put(tmp_path, content(annotation()), part="val2017"))
    assert [sample.name for sample in samples_of(dataset)] == ["train2017-a", "val2017-a"]
    assert split_dataset(dataset, SplitConfig(method="given")).validation == (1,)


def test_one_annotation_file_and_archives(tmp_path: Path) -> None:
    root = put(tmp_path / "root", content(annotation()))
    put(root, content(), part="val2017")
    expected = open_dataset(root)[0].labels
    alone = open_dataset(root / "annotations" / "instances_train2017.json")
    assert len(alone) == 1
    whole = open_dataset(shutil.make_archive(str(tmp_path / "whole"), "zip", root))
    (tmp_path / "parts").mkdir()
    shutil.make_archive(str(tmp_path / "parts" / "train2017"), "zip", root / "images", "train2017")
    shutil.make_archive(str(tmp_path / "parts" / "val2017"), "zip", root / "images", "val2017")
    shutil.make_archive(str(tmp_path / "parts" / "annotations"), "zip", root, "annotations")
    parts = open_dataset(tmp_path / "parts")
    assert len(whole) == len(parts) == 2
    for dataset in (alone, whole, parts):
        np.testing.assert_array_equal(dataset[0].labels, expected)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "instances_*.json was expected"),
        ({"images": []}, "annotations: Field required"),
        (content(annotation(category_id="x")), "annotations.0.category_id"),
        (content(annotation(category_id=99)), "annotation 1 names the category 99, which is not listed"),
        (content(annotation(image_id=5)), "annotation 1 names the image 5, which is not listed"),
        (content(file_name="../a.jpg"), "unsafe file name '../a.jpg'"),
        (content(file_name="/etc/a.jpg"), "unsafe file name"),
        (content(file_name="b.jpg"), "lists b.jpg, which lies neither in images/train2017"),
        (content(images=[{"id": 1, "file_name": "a.jpg", "height": 0, "width": 5}]), "images.0.height"),
        (content(images=[{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}] * 2), "two images have the id 1"),
        (content(images=[{"id": 1, "file_name": "a.jpg", "height": 20, "width": 31}]), "says 20 x 31"),
        (content(annotation(segmentation=[])), "annotation 1: has no outline"),
        (content(annotation(segmentation=[[1.0, 2.0, 3.0]])), "a polygon of 3 numbers"),
        (content(annotation(segmentation=[[1.0] * 7])), "a polygon of 7 numbers"),
        (content(annotation(segmentation=[[1e9] * 8])), "far outside its image"),
        (json.dumps(content(annotation(segmentation=[[float("nan")] * 8]))), "finite number"),
        (content(annotation(segmentation={"counts": [5, 5], "size": [20, 30]})), "make 10 pixels; 20 x 30 = 600"),
        (content(annotation(segmentation={"counts": [-5, 605], "size": [20, 30]})), "make 600 pixels"),
        (content(annotation(segmentation={"counts": [60], "size": [6, 10]})), "run lengths of 6 x 10"),
        (content(annotation(segmentation={"counts": "\x7f\x7f", "size": [20, 30]})), "cannot be read"),
        (content(annotation(segmentation={"counts": "Q", "size": [20, 30]})), "end in the middle of a number"),
        (content(annotation(segmentation={"counts": "o" * 9, "size": [20, 30]})), "cannot be read"),
    ],
)
def test_a_broken_file_gets_one_line(tmp_path: Path, broken: object, words: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(put(tmp_path, broken))[0]
    message = str(caught.value)
    assert words in message
    assert "instances_train2017.json" in message
    assert "\n" not in message


@settings(deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_lengths_agree_with_pycocotools(mask: np.ndarray) -> None:
    packed = codec.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(draw_runs(packed["counts"].decode(), packed["size"], "x"), mask)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [2]])))
    counts = np.diff(np.concatenate([[0], changes])).tolist()
    np.testing.assert_array_equal(draw_runs(counts, mask.shape, "x"), mask)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_drawn_or_refused(text: str) -> None:
    try:
        drawn = draw_runs(text, (5, 7), "x")
    except DataError:
        return
    assert drawn.shape == (5, 7)


@given(st.lists(st.lists(st.floats(-20, 60), min_size=6, max_size=12), min_size=1, max_size=3))
def test_any_polygon_near_the_image_is_drawn_or_refused(polygons: list[list[float]]) -> None:
    try:
        top, left, inside = Polygons([[polygon] for polygon in polygons]).draw((HEIGHT, WIDTH), "x")
    except DataError:
        assert any(len(polygon) % 2 for polygon in polygons) or np.max([max(p) for p in polygons]) > 40
        return
    assert 0 <= top <= top + inside.shape[0] <= HEIGHT
    assert 0 <= left <= left + inside.shape[1] <= WIDTH


def test_without_pycocotools_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UsageError, match=r"pip install 'unetkit\[coco\]'"):
        Polygons([SQUARE]).draw((HEIGHT, WIDTH), "x")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in the oracle's own decoder
def test_the_real_piece_agrees_with_pycocotools(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    root = shared / "data" / "coco_tiny"
    path = root / "annotations" / "instances_train2017.json"
    reference = COCO(str(path))
    dataset = open_dataset(root)
    assert len(dataset.classes) == 81
    assert split_dataset(dataset, SplitConfig(method="given")).validation == tuple(range(32, 38))
    file = read_annotations(path.read_bytes(), str(path))
    for index in range(8):
        sample, picture = dataset[index], file.pictures[index]
        expected = np.zeros((picture.height, picture.width), int)
        for one in reference.loadAnns(reference.getAnnIds(imgIds=picture.id, iscrowd=None)):
            name = reference.loadCats(one["category_id"])[0]["name"]
            expected += (expected == 0) * reference.annToMask(one) * dataset.classes.index(name)
        np.testing.assert_array_equal(sample.labels, expected)
    capsys.readouterr()


@pytest.mark.parametrize("counts", [[2**63 - 1, 2**63 - 1, HEIGHT * WIDTH + 2], [2**64], [-1, HEIGHT * WIDTH + 1]])
def test_run_lengths_beyond_the_image_are_refused(tmp_path: Path, counts: list[int]) -> None:
    runs = {"counts": counts, "size": [HEIGHT, WIDTH]}
    dataset = open_dataset(put(tmp_path, content(annotation(segmentation=runs))))
    with pytest.raises(DataError, match="annotation 1: run lengths that make"):
        _ = dataset[0]


def test_many_categories_are_read_and_too_many_refused(tmp_path: Path) -> None:
    listed = [{"id": 7, "name": "cat"}, *({"id": 10 + number, "name": f"{number}"} for number in range(65_000))]
    dataset = open_dataset(put(tmp_path, content(annotation(), categories=listed)))
    assert len(dataset.classes) == 65_002
    assert dataset[0].labels.max() == 1
    listed += [{"id": 10**6 + number, "name": f"more {number}"} for number in range(1000)]
    with pytest.raises(DataError, match="66,001 categories; at most 65,535"):
        open_dataset(put(tmp_path, content(annotation(), categories=listed)))
