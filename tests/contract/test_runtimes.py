"""What every runtime promises, in one suite over all: a file that it runs is the network that it was made from."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unetkit import load
from unetkit.config import ModelConfig
from unetkit.errors import DeviceError, ModelFileError, UsageError
from unetkit.exporting import BOUNDS, FORMATS, FileOptions, export_network, make_job
from unetkit.formats import RUNTIMES, ExportedNetwork, RuntimeOptions, open_exported
from unetkit.modelfile.card import ModelCard
from unetkit.models import Network, build_model
from unetkit.prediction import Predictor
from unetkit.prediction.load import read_network

SLOW = {"aoti"}  # compiles machine code
ABSENT = {runtime for runtime in ("mindspore", "tensorflow") if importlib.util.find_spec(runtime) is None}  # 2.8 GB
ABSOLUTE = {"mindspore": 1e-4}  # its convolutions round otherwise than all others
SIZE, BATCH = (72, 80), 2  # of files that take one of each
RUNS = [
    pytest.param((kind, runtime), marks=pytest.mark.slow if kind in SLOW else (), id=f"{kind} in {runtime}")
    for kind, file in FORMATS.items()
    for runtime in file.runtimes
    if runtime not in ABSENT and (kind, runtime) != ("bioimageio", "torchscript")  # other people's have such weights
]
"""Every kind of file in every runtime that runs it."""


@dataclass(frozen=True)
class Opened:
    """A file, loaded, and the predictor of the network that it was made from."""

    path: Path
    kind: str
    runtime: str
    exported: ExportedNetwork
    predictor: Predictor
    absolute: float

    def fitting(self, count: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the shape of images, in the only size that goes in where there is one."""
        return (count, 2, *(self.exported.card.size or (height, width)))

    def torch(self, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.predictor.network(images)


def make_predictor() -> Predictor:
    torch.manual_seed(0)
    network: Network = build_model(ModelConfig(in_channels=2, num_classes=3, width=4, depth=2)).eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else value + 0.3 * torch.randn_like(value))
    card = ModelCard(classes=("a", "b", "c"), mean=(120.0, 90.0), std=(50.0, 40.0))
    return Predictor(network, network.geometry, card, torch.device("cpu"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that were written already, by their kind: each is written once, when a test asks for it."""
    return {"": tmp_path_factory.mktemp("exported")}


@pytest.fixture(scope="module", params=RUNS)
def opened(request: pytest.FixtureRequest, files: dict[str, Path]) -> Opened:
    kind, runtime = request.param
    predictor = make_predictor()
    if kind not in files:
        out = files[""] / f"{kind}{FORMATS[kind].suffix}"
        options = FileOptions(size=SIZE, batch=BATCH) if FORMATS[kind].fixed else FileOptions()
        files[kind] = export_network(make_job(predictor, options), kind, out).path
    exported = open_exported(files[kind], RuntimeOptions(runtime=runtime, threads=1))
    assert exported is not None
    return Opened(files[kind], kind, runtime, exported, predictor, ABSOLUTE.get(runtime, 2e-5))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 1), (3, 9, 17), (2, 40, 7)])
def test_any_size_and_number_gives_the_logits_of_torch(opened: Opened, shape: tuple[int, int, int]) -> None:
    images = torch.randn(opened.fitting(*shape), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(opened.exported(images), opened.torch(images), rtol=1e-5, atol=opened.absolute)


def test_the_memory_layout_of_the_input_changes_nothing(opened: Opened) -> None:
    images = torch.randn(opened.fitting(2, 16, 12)).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(opened.exported(images), opened.torch(images), rtol=1e-5, atol=opened.absolute)
    assert torch.equal(opened.exported(images), opened.exported(images.contiguous()))


def test_an_answer_outlives_the_next_one(opened: Opened) -> None:
    one, other = torch.zeros(opened.fitting(1, 8, 8)), torch.ones(opened.fitting(1, 8, 8))
    first = opened.exported(one)
    before = first.clone()
    opened.exported(other)
    assert torch.equal(first, before)


def test_the_card_tells_how_to_use_it(opened: Opened) -> None:
    card, predictor = opened.exported.card, opened.predictor
    assert card.classes == predictor.classes
    assert card.normalization == predictor.normalization
    assert card.geometry == replace(predictor.geometry, fixed=card.size)
    assert card.predict == predictor.config
    assert card.bytes_per_pixel


def test_a_whole_image_is_predicted_as_by_torch(opened: Opened) -> None:
    card = opened.exported.card
    assert card.geometry.overlap is not None
    side = max(2 * card.geometry.overlap + 16, *(card.size or (0,)))
    pixels = np.random.default_rng(1).integers(0, 256, (2, side + 21, side - 3), np.uint8)
    through = replace(opened.predictor, network=opened.exported, geometry=card.geometry)
    through = through.with_options({"tile": side, "overlap": card.geometry.overlap})
    assert len(through.plan(*pixels.shape[1:]).rows) > 1
    expected = opened.predictor.probabilities(pixels)
    np.testing.assert_allclose(through.probabilities(pixels), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_shorter_number_format_gives_nearly_the_same_or_is_refused(opened: Opened, precision: str) -> None:
    options = RuntimeOptions(runtime=opened.runtime, threads=1, precision=precision)
    if opened.runtime != "openvino":
        with pytest.raises(UsageError, match=f"{opened.runtime} computes in the types that are in the file"):
            open_exported(opened.path, options)
        return
    try:
        exported = open_exported(opened.path, options)
    except DeviceError:
        pytest.skip(f"no {precision} on this processor")
    assert exported is not None
    assert exported.dtypes == (precision,)
    images = torch.randn(opened.fitting(2, 16, 12), generator=torch.Generator().manual_seed(1))
    found, expected = exported(images), opened.torch(images)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < BOUNDS[precision] * expected.abs().max()


def test_a_runtime_that_does_not_run_the_kind_is_refused(opened: Opened) -> None:
    other = next(name for name in RUNTIMES if name not in FORMATS[opened.kind].runtimes)
    with pytest.raises(UsageError, match="does not run"):
        open_exported(opened.path, RuntimeOptions(runtime=other))
    with pytest.raises(UsageError, match="there is no runtime 'tensorrt'"):
        open_exported(opened.path, RuntimeOptions(runtime="tensorrt"))


def test_a_training_that_cannot_start_from_it_says_what_it_is(opened: Opened) -> None:
    with pytest.raises(ModelFileError, match="give the run .*that it was made from"):
        read_network(opened.path)


def test_a_file_that_was_cut_short_is_refused(opened: Opened, tmp_path: Path) -> None:
    content = opened.path.read_bytes()
    cut = tmp_path / opened.path.name
    for share in (0.02, 0.3, 0.6, 0.95, 0.9999):
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ModelFileError):
            load(cut)
