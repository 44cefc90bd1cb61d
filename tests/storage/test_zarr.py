"""OME-Zarr in object storage: read where it lies, chunk by chunk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unetkit.config import ModelConfig
from unetkit.errors import RemoteError
from unetkit.images import image_path, open_image
from unetkit.images.convert import convert_image
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor, predict_to_file
from unetkit.prediction.engine import Work

STACK = np.random.default_rng(0).integers(0, 255, (2, 40, 50), np.uint8)


@pytest.mark.usefixtures("wire")
def test_a_volume_is_written_and_read_by_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    convert_image(tmp_path / "a.npy", "s3://lab/a.ome.zarr")
    assert image_path("s3://lab/a.ome.zarr") == Path("s3://lab/a.ome.zarr")
    image = open_image(Path("s3://lab/a.ome.zarr"))
    assert image.source == "s3://lab/a.ome.zarr"
    np.testing.assert_array_equal(image[1, slice(5, 9), slice(40)][0], STACK[1, 5:9, :40])
    with pytest.raises(RemoteError, match=r"s3://lab/b\.ome\.zarr: nothing is there"):
        open_image(Path("s3://lab/b.ome.zarr"))


def test_a_service_that_fails_and_is_slow_gives_the_same(faults, tmp_path: Path) -> None:  # noqa: ANN001 - of conftest
    torch.manual_seed(0)
    network = build_model(ModelConfig(in_channels=1, num_classes=2, width=4, depth=2)).eval()
    card = ModelCard(classes=("a", "b"), mean=(127.0,), std=(64.0,))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (1, 1500, 1100), np.uint8))
    convert_image(tmp_path / "a.npy", "s3://lab/many.ome.zarr")
    faults.every, faults.delay = 10, 0.02
    for source, out in (("s3://lab/many.ome.zarr", "far.tif"), (tmp_path / "a.npy", "near.tif")):
        predict_to_file(predictor, source, tmp_path / out, work=Work(memory=8))
    assert faults.failed >= 4
    assert (tmp_path / "far.tif").read_bytes() == (tmp_path / "near.tif").read_bytes()
