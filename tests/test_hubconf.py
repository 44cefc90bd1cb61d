"""torch.hub finds the networks in this folder, in a process that knows nothing of unetkit."""

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unetkit.config import ModelConfig
from unetkit.errors import UsageError
from unetkit.legacy.checkpoints.mindspore import write_checkpoint
from unetkit.legacy.networks import SIMPLE
from unetkit.models import UNet, UNetPlusPlus, build_model

ROOT = Path(__file__).resolve().parents[1]


def load(entry: str, *words: object, **options: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), entry, *words, source="local", **options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A older system's file, and the network in it."""
    model = build_model(ModelConfig(**{**SIMPLE.fixed, "in_channels": 1, "num_classes": 2, "width": 2, "depth": 1}))
    names, state = SIMPLE.names(1), model.eval().state_dict()
    path = tmp_path_factory.mktemp("hub") / "simple.ckpt"
    write_checkpoint(path, {theirs: state[ours] for ours, theirs in names.items() if ours in state})
    return path, model


def test_entries_and_their_help() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    entries = {name: value for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_")}
    assert sorted(entries) == ["create_network", "predictor", "unet", "unet2d", "unetpp"]
    assert all("Example:" in (inspect.getdoc(entry) or "") for entry in entries.values())


def test_fresh_networks() -> None:
    network = load("unet", in_channels=3, num_classes=5, width=2, depth=1)
    assert network(torch.zeros(1, 3, 7, 6)).shape == (1, 5, 7, 6)
    nested = load("unetpp", width=2, depth=2, deep_supervision=True)
    assert (type(network).__name__, type(nested).__name__) == (UNet.__name__, UNetPlusPlus.__name__)
    assert nested(torch.zeros(1, 1, 8, 8)).shape == (2, 1, 2, 8, 8)


def test_the_older_systems_name() -> None:
    network = load("create_network", "unet2d", width=2, in_channels=1)
    assert network(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    with pytest.raises(UsageError, match="there is no network 'unet3d'; there are: unet2d, unet, unetpp"):
        load("create_network", "unet3d")


def test_a_preset_with_changes() -> None:
    network = load("unet", "isbi", in_channels=1, num_classes=2, widths=(2, 3))
    assert network.downscale == 2
    assert network.head.in_channels == 2


def test_trained_weights(checkpoint: tuple[Path, torch.nn.Module]) -> None:
    path, model = checkpoint
    network, x_NCHW = load("unet", str(path)), torch.rand(1, 1, 8, 8)
    assert not network.training
    torch.testing.assert_close(network(x_NCHW), model(x_NCHW))
    predictor = load("predictor", str(path), device="cpu", tile=16)
    assert (predictor.config.tile, predictor.labels(x_NCHW[0].numpy()).shape) == (16, (8, 8))


def test_what_does_not_fit(checkpoint: tuple[Path, torch.nn.Module]) -> None:
    with pytest.raises(UsageError, match=r"simple\.ckpt: is a unet, not a unetpp; load it with the entry unet"):
        load("unetpp", str(checkpoint[0]))
    with pytest.raises(UsageError, match=r"width: .*simple\.ckpt says how its network is built"):
        load("unet", str(checkpoint[0]), width=3)
    with pytest.raises(UsageError, match="isbi: is a unet"):
        load("unetpp", "isbi")


def test_its_own_sources_go_before_an_installed_package(tmp_path: Path) -> None:
    code = (
        f"import torch\ntorch.hub.load({str(ROOT)!r}, 'unet', source='local', width=2, depth=1)\n"
        "import sys, unetkit\nprint(unetkit.__file__, any(place.endswith('src') for place in sys.path[:1]))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert done.stdout.split() == [str(ROOT / "src" / "unetkit" / "__init__.py"), "False"]
