import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from unetkit.models.geometry import Geometry
from unetkit.prediction import Predictor
from unetkit.prediction.tiling import bytes_per_pixel

CPU = torch.device("cpu")
POINTWISE = Geometry(multiple=4, offset=0, halo=0, margin=0)
LIMIT = 1_500_000_000


def test_living_tensors_are_counted() -> None:
    chain = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    # The input is held by the caller; of the chain, the ReLU's input and output are alive together.
    assert bytes_per_pixel(chain, POINTWISE, channels=1, device=CPU) == 4 * (1 + 8 + 8)


def test_work_in_place_costs_nothing() -> None:
    chain = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1)).eval()
    assert bytes_per_pixel(chain, POINTWISE, channels=1, device=CPU) == 4 * (1 + 8 + 2)


def test_smaller_maps_count_by_their_share_of_the_pixels() -> None:
    chain = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 64, 1)).eval()
    assert bytes_per_pixel(chain, POINTWISE, channels=1, device=CPU) == 4 * (1 + 1 / 4 + 64 / 4)


def test_of_a_function_the_input_is_counted() -> None:
    assert bytes_per_pixel(lambda x: x.repeat(1, 9, 1, 1), POINTWISE, channels=3, device=CPU) == 12


def test_no_hook_stays(make_predictor: Callable[..., Predictor]) -> None:
    predictor = make_predictor()
    predictor.plan(10, 10)
    assert isinstance(predictor.network, nn.Module)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in predictor.network.modules())


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_small_images_tell_what_large_ones_need(make_predictor: Callable[..., Predictor], padding: str) -> None:
    predictor = make_predictor(depth=2, width=8, padding=padding)
    per_pixel = bytes_per_pixel(predictor.network, predictor.geometry, channels=1, device=CPU)
    # Two 8-channel maps of the skip and the map from below, both again side by side, and the block's next two maps.
    assert 4 * 8 * 6 <= per_pixel <= 4 * 8 * 9


def test_tiles_follow_from_the_allowed_memory(make_predictor: Callable[..., Predictor]) -> None:
    small, large = (make_predictor(predict={"memory": memory}) for memory in (0.001, 0.8))
    assert small.plan(400, 400).parts > large.plan(400, 400).parts == 1
    batch = make_predictor(predict={"memory": 0.001, "batch": 4})
    assert batch.plan(400, 400).parts > small.plan(400, 400).parts
    assert small.plan(400, 400).note is None


STARTED_BY_A_LARGE_ONE = """
import subprocess, sys
held = b"1" * 300_000_000
small = "from unetkit.machine import peak_memory; print(int(peak_memory()))"
print(subprocess.run([sys.executable, "-c", small], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not say the peak of a process")
def test_the_peak_of_a_process_is_its_own() -> None:
    ended = subprocess.run([sys.executable, "-c", STARTED_BY_A_LARGE_ONE], capture_output=True, text=True, check=False)
    assert 0 < int(ended.stdout) < 200_000_000, ended.stderr


PREDICT_LARGE = """
import json, sys
import numpy as np, tifffile, torch
from unetkit.config import ModelConfig, PredictConfig
from unetkit.machine import peak_memory
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor, predict_to_file

options, folder = json.loads(sys.argv[1]), sys.argv[2]
torch.set_num_threads(2)
classes = options["classes"]
model = build_model(ModelConfig(in_channels=1, num_classes=classes, width=16, depth=3, **options["model"])).eval()
predictor = Predictor(
    model.to(memory_format=torch.channels_last), model.geometry,
    ModelCard(
        classes=tuple(map(str, range(classes))), mean=(128.0,), std=(60.0,), predict=PredictConfig(**options["predict"])
    ),
    torch.device("cpu"),
)
rows, columns = np.ogrid[:3000, :4000]
tifffile.imwrite(f"{folder}/image.tif", ((rows * 7 + columns * 3) % 251).astype(np.uint8))
predict_to_file(predictor, f"{folder}/image.tif", f"{folder}/masks.tif", probabilities=options["probabilities"])
assert tifffile.TiffFile(f"{folder}/masks.tif").series[0].shape[-2:] == (3000, 4000)
print(int(peak_memory()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        '{"classes": 2, "probabilities": true, "model": {}, "predict": {}}',
        '{"classes": 81, "probabilities": false, "model": {}, "predict": {}}',
        '{"classes": 2, "probabilities": false, "model": {"norm": "instance"}, "predict": {}}',
        '{"classes": 2, "probabilities": false, "model": {}, "predict": {"tile": 256, "overlap": 16}}',
    ],
)
def test_twelve_megapixels_take_less_than_1500_mb(options: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREDICT_LARGE, options, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < LIMIT
