"""A disk that is full, or a limit on the size of files, is one clear line for every format, and leaves nothing."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unetkit.config import ModelConfig
from unetkit.errors import StorageError
from unetkit.exporting import FORMATS, FileOptions, export_network, make_job
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 16 kB: like a full disk, but for the number of the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("to", ["torchscript", "pt2", "onnx", "openvino", "mindir", "air", "safetensors"])
@pytest.mark.usefixtures("small_files")
def test_an_export_to_a_full_disk_leaves_the_older_file_and_nothing_else(tmp_path: Path, to: str) -> None:
    torch.manual_seed(3)
    model = ModelConfig(in_channels=1, num_classes=2, width=16, depth=1)
    network = build_model(model).eval()
    card = ModelCard(model=model, classes=("a", "b"), mean=(120.0,), std=(40.0,))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    out = tmp_path / f"net{FORMATS[to].suffix}"
    out.write_text("older")
    options = FileOptions(size=(32, 32) if FORMATS[to].fixed else None)
    with pytest.raises(StorageError, match=rf"{out.name}: cannot be written \(.*free space or choose another place"):
        export_network(make_job(predictor, options), to, out)
    assert os.listdir(tmp_path) == [out.name]
    assert out.read_text() == "older"
