import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetkit.config import DataConfig
from unetkit.data import InMemory, Sample, open_dataset, open_images, samples_of
from unetkit.data.convert import convert
from unetkit.data.dataset import Division
from unetkit.data.layouts.synthetic import open_sample
from unetkit.errors import DataError, StorageError, UsageError
from unetkit.progress import NoProgress

RNG = np.random.default_rng(0)


def dataset(dtype: type, channels: int, classes: int, held_out: tuple[int, ...] = ()) -> InMemory:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    label_type = np.uint8 if classes <= 256 else np.uint16
    samples = tuple(
        Sample(
            f"s{number}",
            (RNG.random((channels, 9, 11)) * top).astype(dtype),
            RNG.integers(0, classes, (9, 11)).astype(label_type),
        )
        for number in range(4)
    )
    return InMemory(samples, tuple(f"class{index}" for index in range(classes)), Division(held_out))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 5, 300])
def test_what_is_written_is_read_again(tmp_path: Path, dtype: type, channels: int, classes: int) -> None:
    before = dataset(dtype, channels, classes)
    after = open_dataset(convert(before, tmp_path / "out"), config=DataConfig(classes=before.classes))
    assert len(after) == len(before)
    for one, other in zip(samples_of(before), samples_of(after), strict=True):
        assert one.name == other.name
        assert one.pixels.dtype == other.pixels.dtype
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_two_classes_are_black_and_white(tmp_path: Path) -> None:
    convert(dataset(np.uint8, 1, 2), tmp_path / "out")
    assert set(np.unique(np.asarray(Image.open(tmp_path / "out" / "s0" / "mask.png")))) == {0, 255}


def test_a_given_division_is_kept(tmp_path: Path) -> None:
    folder = convert(dataset(np.uint8, 3, 2, held_out=(1,)), tmp_path / "out")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*")) == [
        "train/s0",
        "train/s2",
        "train/s3",
        "val/s1",
    ]
    assert [sample.name for sample in samples_of(open_dataset(folder))] == [
        "train-s0",
        "train-s2",
        "train-s3",
        "val-s1",
    ]


def test_an_empty_folder_is_filled_and_a_full_one_is_left(tmp_path: Path) -> None:
    convert(open_sample(slices=1, size=32), tmp_path)
    assert (tmp_path / "sample[00]" / "image.png").is_file()
    with pytest.raises(UsageError, match="is not empty"):
        convert(open_sample(slices=1, size=32), tmp_path)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no labels"):
        convert(open_images("sample"), tmp_path / "out")
    broken = dataset(np.uint8, 1, 2)
    bad = InMemory((*broken.samples, Sample("late", np.zeros((1, 4, 4), np.uint8))), broken.classes)
    with pytest.raises(DataError, match="late: has no labels"):
        convert(bad, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"out: cannot be written \(No space left on device\)"):
        convert(open_sample(slices=1, size=32), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_reporter_hears_of_every_sample(tmp_path: Path) -> None:
    class Listener(NoProgress):
        def update(self, done: int, total: int, figures: object) -> None:
            heard.append((done, total))

    heard: list[tuple[int, int]] = []
    convert(open_sample(slices=3, size=32), tmp_path / "out", progress=Listener())
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nuclei_become_the_union_of_their_masks(tmp_path: Path) -> None:
    root = tmp_path / "nuclei"
    for folder in ("images", "masks"):
        (root / "id" / folder).mkdir(parents=True)
    Image.fromarray(RNG.integers(0, 256, (12, 12, 4), np.uint8)).save(root / "id" / "images" / "id.png")
    masks = [np.zeros((12, 12), np.uint8) for _ in range(2)]
    masks[0][1:5, 1:5] = masks[1][4:9, 4:9] = 255
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(root / "id" / "masks" / f"{number}.png")
    archive = shutil.make_archive(str(tmp_path / "nuclei"), "zip", root)
    folder = convert(open_dataset(archive), tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "id" / "mask.png")), np.maximum(*masks))
