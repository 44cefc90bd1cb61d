"""The C++ program, built once for all tests, and a small network in the form that it takes."""

import fcntl
import importlib.util
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from unetkit.config import ModelConfig, PredictConfig
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.formats.runtime import CARD_KEY, required
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path, *options: str) -> Path:
    """Build the program in a folder; skip, by name, where something for it is missing."""
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    found = importlib.util.find_spec("openvino")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs openvino")
    place = Path(found.submodule_search_locations[0]) / "cmake"
    for command in (
        ["cmake", "-S", str(ROOT / "cpp"), "-B", str(folder), f"-DOpenVINO_DIR={place}", *options],
        ["cmake", "--build", str(folder), "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if missing := re.search(r"needs .* \(Debian: .*\)", done.stderr):
            pytest.skip(missing[0])
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "unetkit-predict"


@pytest.fixture(scope="session")
def build_program() -> Callable[..., Path]:
    return build


@pytest.fixture(scope="session")
def program() -> Path:
    """The program, built by the first process that asks, and again only where its sources have changed."""
    found = importlib.util.find_spec("openvino")
    place = zlib.crc32(f"{ROOT} {found and found.origin}".encode())
    folder = ROOT / "build" / f"cpp-{place:08x}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build(folder)


@dataclass(frozen=True)
class Exported:
    """A network for C++, and the same in Python."""

    path: Path
    predictor: Predictor


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Make a network with random weights and export it to OpenVINO."""
    pytest.importorskip("onnxscript")
    openvino = required("openvino", "openvino")
    made: dict[str, Exported] = {}
    graphs: dict[str, Path] = {}

    def make(
        options: FileOptions | None = None,
        *,
        predict: dict[str, Any] | None = None,
        temperature: float | None = None,
        held_out: tuple[str, ...] = (),
        context: int = 0,
        **model: Any,
    ) -> Exported:
        options = options or FileOptions()
        graph = f"{options} {context} {model}"
        key = f"{graph} {predict} {temperature} {held_out}"
        if key not in made:
            torch.manual_seed(0)
            settings = {"in_channels": 1, "num_classes": 2, "width": 4, "depth": 2, "norm": "none", **model}
            network = build_model(ModelConfig(**settings)).eval()
            channels, classes = (
                network.encoder[0].conv1.in_channels // network.downscale**2,
                max(settings["num_classes"], 2),
            )
            card = ModelCard(
                classes=tuple(f"class {index}" for index in range(classes)),
                mean=((100.0, 90.0, 80.0) * (2 * context + 1))[:channels],
                std=((50.0, 60.0, 70.0) * (2 * context + 1))[:channels],
                context=context,
                predict=PredictConfig(**(predict or {})),
                temperature=temperature,
                held_out=held_out,
            )
            predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
            job, out = make_job(predictor, options), tmp_path_factory.mktemp("network") / "net.xml"
            if graph in graphs and not options.preprocessing:  # only the card differs: nothing is traced again
                model_of = openvino.Core().read_model(graphs[graph])
                model_of.set_rt_info(job.card.model_dump_json(), [CARD_KEY])
                openvino.save_model(model_of, out, compress_to_fp16=False)
            else:
                graphs[graph] = export_network(job, "openvino", out).path
            made[key] = Exported(out, predictor)
        return made[key]

    return make
