"""What is painted is an ordinary data set: unpainted pixels count nowhere, and every verb reads it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import unetkit
from unetkit.config import load_config
from unetkit.data import open_dataset, samples_of
from unetkit.data.dataset import division_of
from unetkit.errors import DataError, UsageError
from unetkit.images import read_single
from unetkit.images.write import to_png
from unetkit.labelling import project
from unetkit.labelling.project import LabelClass, accepted, open_project
from unetkit.labelling.strokes import Stroke

from .conftest import Painter, bright_discs

Open = Callable[..., Painter]


def test_the_files_are_an_ordinary_data_set_in_which_only_painted_pixels_count(folder: Path, opened: Open) -> None:
    painter = opened(folder, classes=["ground", "cell"])
    truth = bright_discs(0)[1]
    painter.lines((0, 0), truth)
    painter.project.write()
    contents = painter.project.contents
    config = load_config(contents.folder / "config.yaml")
    dataset = open_dataset(config.data.path, config=config.data)
    trained, held = samples_of(dataset)
    assert dataset.classes == ("ground", "cell")
    assert division_of(dataset).held_out == (1,)
    assert (trained.name, held.name) == ("a-train", "a-val")
    labels = painter.project.painting.at((0, 0))
    for sample in (trained, held):
        assert sample.valid is not None
        assert sample.valid.any()
        assert sample.labels is not None
        np.testing.assert_array_equal(sample.labels[sample.valid], truth[sample.valid])
    assert trained.valid is not None
    assert held.valid is not None
    assert not (trained.valid & held.valid).any()
    np.testing.assert_array_equal(trained.valid | held.valid, labels > 0)
    assert not read_single(contents.folder / "labels" / "a.png")[0][labels == 0].any()


def test_the_checks_read_the_list_and_find_no_error(folder: Path, opened: Open) -> None:
    painter = opened(folder)
    for image in (0, 1):
        painter.lines((image, 0), bright_discs(image)[1])
    painter.project.write()
    config = load_config(painter.project.contents.folder / "config.yaml")
    overrides = ["data.mask_values={'0': ignore, '1': 0, '2': 1}"]
    report = unetkit.check_data(str(config.data.path), overrides=overrides)
    assert not report.of("error")


def test_masks_that_are_there_are_taken_over_and_never_written_to(folder: Path, opened: Open) -> None:
    (folder / "masks").mkdir()
    truth = bright_discs(0)[1]
    mask = folder / "masks" / "a_mask.png"
    Image.fromarray(truth.astype(np.uint8) * 255).save(mask)
    before = mask.read_bytes()
    painter = opened(folder)
    project = painter.project
    assert [one.name for one in project.contents.images] == ["a", "b"]
    np.testing.assert_array_equal(project.painting.at((0, 0)), truth + 1)
    assert (1, 0) not in project.painting.pages
    painter.box((0, 0), 0, 0, np.ones((9, 9), np.uint8))
    project.close()
    assert mask.read_bytes() == before
    again = opened(folder)
    assert (again.project.painting.at((0, 0))[:9, :9] == 1).all()
    assert len(again.project.contents.images) == 2


def test_a_stack_has_its_labels_in_a_stack(tmp_path: Path, opened: Open) -> None:
    stack = tmp_path / "volume.tif"
    tifffile.imwrite(
        stack,
        np.stack([bright_discs(seed)[0] for seed in range(3)]),
        photometric="minisblack",
        metadata={"axes": "ZYX"},
    )
    painter = opened(stack)
    painter.lines((0, 1), bright_discs(1)[1])
    painter.project.write()
    folder = tmp_path / "volume-labels"
    assert painter.project.contents.folder == folder
    labels = tifffile.imread(folder / "labels" / "volume.tif")
    np.testing.assert_array_equal(labels[1], painter.project.painting.at((0, 1)))
    assert not labels[0].any()
    config = load_config(folder / "config.yaml")
    valid = [sample.valid for sample in samples_of(open_dataset(config.data.path, config=config.data))]
    assert [one is not None and bool(one.any()) for one in valid] == [False, True, False, False, True, False]


def test_one_process_at_a_time_and_everything_is_there_again(folder: Path, opened: Open) -> None:
    painter = opened(folder)
    painter.lines((1, 0), bright_discs(1)[1])
    with pytest.raises(UsageError, match="another"):
        open_project(folder)
    before = painter.project.painting.at((1, 0)).copy()
    painter.project.close()
    np.testing.assert_array_equal(opened(folder).project.painting.at((1, 0)), before)


def test_a_stroke_that_is_sent_again_changes_nothing(folder: Path, opened: Open) -> None:
    project = opened(folder).project
    first = Stroke((0, 0), 0, 0, to_png(np.full((4, 4), 1, np.uint8)), "one", 1)
    assert project.paint(first)
    assert project.paint(Stroke((0, 0), 0, 0, to_png(np.full((4, 4), 2, np.uint8)), "other", 1))
    assert not project.paint(first)
    assert (project.painting.at((0, 0))[:4, :4] == 2).all()


@pytest.mark.parametrize("place", [(2, 0), (0, 1), (-1, 0)])
def test_a_page_that_there_is_not_is_refused(folder: Path, opened: Open, place: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="no such page"):
        opened(folder).project.paint(Stroke(place, 0, 0, to_png(np.ones((4, 4), np.uint8)), "tab", 1))


def test_classes_are_renamed_and_added_but_none_that_is_painted_goes(folder: Path, opened: Open) -> None:
    painter = opened(folder, classes=["ground", "cell", "dirt"])
    project = painter.project
    with pytest.raises(UsageError, match="there are 3 classes"):
        painter.box((0, 0), 0, 0, np.full((2, 2), 4, np.uint8))
    painter.box((0, 0), 0, 0, np.full((2, 2), 3, np.uint8))
    classes = list(project.contents.classes)
    with pytest.raises(UsageError, match="class 3 is painted"):
        project.set_classes(classes[:2])
    with pytest.raises(UsageError, match="different names"):
        project.set_classes([*classes[:2], classes[0]])
    project.set_classes([LabelClass("back", "#000000"), *classes[1:], LabelClass("more", "#ffffff")])
    project.close()
    assert [one.name for one in opened(folder).project.contents.classes] == ["back", "cell", "dirt", "more"]


def test_an_image_of_another_size_than_it_had_is_refused(folder: Path, opened: Open) -> None:
    opened(folder).project.close()
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(folder / "b.png")
    with pytest.raises(DataError, match=r"b\.png: has 50 x 50"):
        open_project(folder)


def test_accepting_takes_the_region_or_the_box_and_leaves_what_is_painted(folder: Path, opened: Open) -> None:
    painter = opened(folder)
    truth = bright_discs(0)[1]
    row, column = np.argwhere(truth)[0].tolist()
    painter.box((0, 0), row, column, np.full((1, 1), 1, np.uint8))
    predicted = truth.astype(np.uint8)
    inside = (row, column + 1) if truth[row, column + 1] else (row + 1, column)
    painter.project.paint(accepted(painter.project, (0, 0), predicted, ("tab", 2), point=inside))
    labels = painter.project.painting.at((0, 0))
    assert labels[row, column] == 1
    assert set(np.unique(labels[~truth]).tolist()) == {0}
    assert 10 < (labels == 2).sum() < truth.sum() + 1
    painter.project.paint(accepted(painter.project, (0, 0), predicted, ("tab", 3), box=(0, 0, 96, 96)))
    labels = painter.project.painting.at((0, 0))
    assert (labels > 0).all()
    assert ((labels == truth + 1).sum()) == truth.size - 1
    with pytest.raises(UsageError, match="outside"):
        accepted(painter.project, (0, 0), predicted, ("tab", 4), box=(90, 0, 10, 10))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"name": "a"', '"name": "../../escaped"'),
        ('"name": "b"', '"name": "a"'),
        ('"#2f6fde"', '"red;}"'),
        ('"version": 1', '"version": [[[1e999]]]'),
        ('"size": [', '"size": [1e999, '),
        ('"images": [', '"images": {"x": ['),
    ],
)
def test_a_damaged_project_is_one_line(folder: Path, opened: Open, old: str, new: str) -> None:
    painter = opened(folder)
    painter.project.close()
    file = painter.project.contents.folder / "project.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=r"project\.json: .*bring it back from a copy$"):
        open_project(folder)


@pytest.mark.parametrize(
    "changed",
    [{"image": 7}, {"image": -1}, {"page": 1}, {"top": 5000}, {"left": 1e999}, {"png": "AAAA"}, {"png": [1]}],
    ids=str,
)
def test_a_damaged_stroke_is_one_line_and_leaves_the_project_to_others(
    folder: Path, opened: Open, changed: dict[str, object]
) -> None:
    painter = opened(folder)
    painter.lines((0, 0), bright_discs(0)[1])
    painter.project.close()
    journal = painter.project.contents.journal
    lines = journal.read_text().splitlines()
    for _ in range(2):  # the lock of the first is let go
        journal.write_text("\n".join([json.dumps(json.loads(lines[0]) | changed), *lines[1:]]) + "\n")
        with pytest.raises(DataError, match=r"journal\.jsonl, line 1: .*or delete that line$"):
            open_project(folder)
    journal.write_text("\n".join(lines) + "\n")
    open_project(folder).close()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_large_page_is_painted_on_in_parts_that_are_an_ordinary_data_set(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    monkeypatch.setattr(project, "_LARGEST_PAGE", 10_000)
    monkeypatch.setattr(project, "PART", 96)
    pixels = np.random.default_rng(0).integers(0, 4000, (channels, 150, 200), np.uint16)
    path, truth = tmp_path / "large.tif", bright_discs(0)[1]
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "CYX"})
    painter = opened(path)
    contents = painter.project.contents
    assert [one.name for one in contents.images] == [f"large-{row}-{column}" for row in (1, 2) for column in (1, 2, 3)]
    assert contents.sizes == ((96, 96), (96, 96), (96, 8), (54, 96), (54, 96), (54, 8))
    painter.lines((1, 0), truth)
    painter.project.close()
    again = opened(path).project
    assert again.contents.sizes == contents.sizes
    np.testing.assert_array_equal(again.contents.images[4].pixels(0), pixels[:, 96:, 96:192])
    config = load_config(contents.folder / "config.yaml")
    for sample in samples_of(open_dataset(config.data.path, config=config.data)):
        np.testing.assert_array_equal(sample.pixels, pixels[:, :96, 96:192])
        assert sample.labels is not None
        assert sample.valid is not None
        np.testing.assert_array_equal(sample.labels[sample.valid], truth[sample.valid])


def test_masks_of_a_large_page_are_taken_over_part_by_part(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "_LARGEST_PAGE", 10_000)
    monkeypatch.setattr(project, "PART", 96)
    pixels, truth = bright_discs(0, 150)
    for folder, content in {"images": pixels, "masks": truth.astype(np.uint8) * 255}.items():
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            Image.fromarray(content).save(tmp_path / folder / f"{name}.png")
    painting = opened(tmp_path).project.painting
    assert len(painting.pages) == 8
    np.testing.assert_array_equal(painting.at((3, 0)), truth[96:, 96:] + 1)
    np.testing.assert_array_equal(painting.at((5, 0)), truth[:96, 96:] + 1)


def test_an_image_with_parts_that_has_another_size_now_is_refused(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "_LARGEST_PAGE", 10_000)
    Image.fromarray(bright_discs(0, 150)[0]).save(tmp_path / "a.png")
    opened(tmp_path / "a.png").project.close()
    Image.fromarray(bright_discs(0, 140)[0]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"140 x 140 px .* painted on 150 x 150"):
        opened(tmp_path / "a.png")


def test_a_project_is_called_as_its_images_are(folder: Path, tmp_path: Path, opened: Open) -> None:
    assert opened(folder).project.contents.name == "cells"
    Image.fromarray(bright_discs(0)[0]).save(tmp_path / "one cell.png")
    assert opened(tmp_path / "one cell.png").project.contents.name == "one cell"
