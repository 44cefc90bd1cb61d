"""Images that take more than train.memory: read from their files, drawn from a mapped file, with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

import unetkit
from unetkit.config import load_config
from unetkit.data import InMemory, Normalization, Sample, write_sample
from unetkit.errors import StorageError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import NoProgress
from unetkit.training.patches import PixelStore, StoreLayout
from unetkit.training.prepare import prepare

CPU = torch.device("cpu")
CONFIG = {
    "model": {"widths": [2, 4]},
    "augment": {"rotation": 10.0},
    "loss": {"class_weights": "balanced", "border_weight": 2.0},
    "train": {"steps": 4, "batch": 2, "patch": 32, "threads": 1, "validate_every": 4, "checkpoint_every": 4},
}


class Lines(NoProgress):
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


def test_weights_are_the_same_from_a_mapped_file(tmp_path: Path) -> None:
    data, told, quiet = write_sample(tmp_path / "d", slices=5, size=64), Lines(), Lines()
    large = unetkit.train(CONFIG, data=data, out=tmp_path / "mapped", overrides=["train.memory=1e-6"], progress=told)
    usual = unetkit.train(CONFIG, data=data, out=tmp_path / "held", progress=quiet)
    first, second = (Checkpoint.load(run.last).weights() for run in (large, usual))
    assert all(torch.equal(first[name], second[name]) for name in first)
    scores = [run.read_json("evaluation.json")["scores"] for run in (large, usual)]
    assert scores[0] == scores[1]
    (line,) = [line for line in told.lines if "a mapped file" in line]
    assert "4 training images take" in line
    assert "train.memory" in line
    assert not [line for line in quiet.lines if "mapped file" in line]
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "pixels"]  # the file has no name
    assert not isinstance(prepare(load_config(large.config), checked=True).dataset, InMemory)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_store_takes_what_the_layout_says(dtype: type[np.generic], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = tuple(
        Sample(str(number), rng.integers(0, 200, (2, 20, 30)).astype(dtype), rng.integers(0, 2, (20, 30), np.uint8))
        for number in range(3)
    )
    dataset, normalization = InMemory(samples, ("a", "b")), Normalization.fit("standardize", samples)
    layout = StoreLayout.of(dataset, weighted=False)
    assert layout.bytes == (3 * 600 + 1) * (2 * np.dtype(dtype).itemsize + 1)
    held = PixelStore.of(dataset, normalization, CPU)
    mapped = PixelStore.of(dataset, normalization, CPU, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    image = torch.tensor([0, 2])
    grid = torch.from_numpy(rng.uniform(-8, 35, (2, 2, 9, 9))).float()
    assert torch.equal(held.sample(image, grid), mapped.sample(image, grid))
    assert torch.equal(held.targets_at(image, grid)[0], mapped.targets_at(image, grid)[0])
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    whole = held.sample_nearest(torch.tensor([1]), torch.stack((rows, columns))[None])[0]
    assert np.array_equal(whole.numpy(), normalization.apply(samples[1].pixels))


def test_a_disk_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sample = Sample("a", np.zeros((1, 8, 8), np.uint8), np.zeros((8, 8), np.uint8))
    with pytest.raises(StorageError, match="does not take the training images"):
        PixelStore.of(
            InMemory((sample,), ("a", "b")), Normalization((0.0,), (1.0,)), CPU, folder=tmp_path / "file" / "x"
        )
