"""SavedModel in TensorFlow itself: what comes out is what PyTorch computes, for every form of network."""

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unetkit import load
from unetkit.config import ModelConfig
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra tensorflow"),
]


@pytest.mark.parametrize(
    ("options", "model"),
    [
        (FileOptions(size=(64, 72)), {}),
        (
            FileOptions(size=(64, 72), output="softmax", layout="nhwc", preprocessing=True, batch=2),
            {"name": "unetpp", "deep_supervision": True, "in_channels": 3, "num_classes": 3},
        ),
        (FileOptions(size=(64, 72), output="argmax"), {"up": "bilinear-legacy", "norm": "group"}),
        (FileOptions(size=(60, 76)), {"padding": "valid", "norm": "none", "up_bias": False}),
        (FileOptions(size=(64, 72)), {"up": "bilinear", "downscale": 2, "num_classes": 1}),
        (FileOptions(size=(63, 71)), {"odd_sizes": "zeros", "norm": "instance"}),
    ],
    ids=str,
)
def test_it_computes_the_same_in_tensorflow(options: FileOptions, model: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model(ModelConfig(**{"in_channels": 1, "num_classes": 2, "width": 4, "depth": 2, **model})).eval()
    channels, classes = model.get("in_channels", 1), max(2, model.get("num_classes", 2))
    card = ModelCard(
        classes=tuple(f"class {index}" for index in range(classes)), mean=(100.0,) * channels, std=(50.0,) * channels
    )
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    written = export_network(make_job(predictor, options), "savedmodel", tmp_path / "net.zip")
    assert written.parity.relative < 1e-5
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 50, 60)).astype(np.uint8)
    found, expected = load(tmp_path / "net.zip", device="cpu").labels(pixels), predictor.labels(pixels)
    assert (found == expected).mean() > 0.9  # smaller images are filled up by their last row and column


def test_tensorflow_alone_loads_the_folder(tmp_path: Path) -> None:
    import tensorflow as tf

    network = build_model(ModelConfig(in_channels=1, num_classes=2, width=2, depth=1)).eval()
    card = ModelCard(classes=("a", "b"), mean=(0.0,), std=(1.0,))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    export_network(make_job(predictor, FileOptions(size=(16, 16))), "savedmodel", tmp_path / "net.zip")
    with zipfile.ZipFile(tmp_path / "net.zip") as archive:
        archive.extractall(tmp_path / "net")
    serve = tf.saved_model.load(str(tmp_path / "net")).signatures["serving_default"]
    x_NCHW = torch.rand(1, 1, 16, 16)
    answer = serve(x=tf.constant(x_NCHW.numpy()))["output"].numpy()
    np.testing.assert_allclose(answer, network(x_NCHW).detach().numpy(), rtol=0, atol=1e-5)
