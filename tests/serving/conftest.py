"""A small network in a file, servers in processes of their own, and images."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from unetkit.config import ModelConfig, ObjectsConfig
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import UNet, build_model


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net with random weights whose two classes are about as frequent."""
    model = ModelConfig(in_channels=1, num_classes=2, width=4, depth=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_model(model)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        net.eval()
        assert isinstance(net, UNet)
        with torch.inference_mode():
            logits = net(torch.randn(1, 1, 200, 200))
        net.head.bias.data -= logits.mean((0, 2, 3)).clone()
    objects = ObjectsConfig(method="components", min_size=4)
    card = ModelCard(
        model=model, classes=("background", "cell"), mean=(127.0,), std=(64.0,), objects=objects, temperature=1.5
    )
    path = tmp_path_factory.mktemp("network") / "cells.safetensors"
    Checkpoint(card=card, tensors=dict(net.state_dict())).save(path)
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: grey.png, stack.tif of three pages, large.tif that is predicted in blocks, flat.tif."""
    folder, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)

    def smooth(*shape: int) -> Any:
        small = noise.integers(0, 256, (*shape[:-2], shape[-2] // 8 + 1, shape[-1] // 8 + 1), np.uint8)
        return small.repeat(8, -2).repeat(8, -1)[..., : shape[-2], : shape[-1]]

    Image.fromarray(smooth(90, 130)).save(folder / "grey.png")
    tifffile.imwrite(folder / "stack.tif", smooth(3, 64, 80), photometric="minisblack", imagej=True)
    tifffile.imwrite(folder / "large.tif", smooth(300, 1300), photometric="minisblack", tile=(128, 128))
    return folder


@dataclass(slots=True)
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path
    lines: list[str] = field(default_factory=list[str])

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Give a client with a cookie of its own."""
        with httpx.Client(base_url=self.address.partition("?")[0], timeout=120) as made:
            made.get(self.address)
            yield made

    @property
    def port(self) -> int:
        return httpx.URL(self.address).port or 80

    def left(self) -> list[Path]:
        """Return what lies in the server's private folder."""
        return [path for folder in self.temporary.glob(".unetkit.*.part") for path in folder.iterdir()]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


_START = """
import sys
import unetkit.serving.guard, unetkit.serving.server, unetkit.serving.jobs, unetkit.serving.api
from unetkit.cli import main
{changes}
sys.argv = ["unetkit", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Start `unetkit serve` with words, in a temporary folder; `changes` are lines that run before it."""

    @contextmanager
    def started(temporary: Path, *words: object, changes: str = "") -> Iterator[Server]:
        command = [sys.executable, "-c", _START.format(changes=changes), "serve", *map(str, words), "--port", "0"]
        environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "NO_PROXY": "*"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stderr is not None
        errors, lines = process.stderr, list[str]()

        def follow() -> None:
            lines.extend(errors)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        first = process.stdout.readline()
        address = next((word for word in first.split() if word.startswith("http://")), "")
        try:
            if not address:
                thread.join(30)
                raise AssertionError(f"no server: {first} {lines}")
            yield Server(process, address, temporary, lines)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)
            thread.join(30)
            process.stdout.close()
            process.stderr.close()

    return started


@pytest.fixture(scope="session")
def server(start: Callable[..., Any], network: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that many tests ask."""
    with start(tmp_path_factory.mktemp("temporary"), network) as running:
        yield running
