"""What a path is recognised as, and what is said where it is nothing that is known."""

import os
from pathlib import Path

import pytest
from PIL import Image

from unetkit.config import DataConfig
from unetkit.data import open_dataset, open_images
from unetkit.errors import ConfigError, DataError


def test_the_generated_sample_needs_no_file() -> None:
    dataset = open_dataset("sample")
    assert len(dataset) == 30
    assert dataset[0].pixels.shape == (1, 256, 256)
    assert dataset.classes == ("membrane", "interior")
    assert open_dataset("sample", config=DataConfig(classes=("wall", "cell"))).classes == ("wall", "cell")


def test_the_sample_to_predict_is_another_one() -> None:
    images = open_images("sample")
    assert images.classes == ()
    assert images[0].labels is None
    assert (images[0].pixels != open_dataset("sample")[0].pixels).any()


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent: there is no such file or folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(ConfigError, match="no data is named"):
        open_dataset(None)


def test_an_empty_folder_and_a_strange_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"an empty folder.*; expected are images with their masks"):
        open_dataset(tmp_path)
    for name in "edcba":
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(DataError, match=r"it holds a\.txt, b\.txt, c\.txt, d\.txt, \.\.\."):
        open_dataset(tmp_path)


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    for opening in (open_dataset, open_images):
        with pytest.raises(DataError, match=f"{tmp_path.name}: cannot be read: Permission denied"):
            opening(tmp_path)


def test_a_file_without_labels(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"a\.png: not a data set that is known \(a single file without labels next to it\)"
    ):
        open_dataset(tmp_path / "a.png")
