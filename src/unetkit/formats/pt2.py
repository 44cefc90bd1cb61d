"""Programs of torch.export in PyTorch. Such a file is a program: open only files from people you trust.

Programs of torch.export, .pt2: for PyTorch without unetkit. The card is the extra file `unetkit`.

A job as a program of torch.export: what pt2, AOTInductor and ONNX are made from.
"""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from unetkit.devices import choose_device, cpu_threads
from unetkit.formats.job import ExportJob
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, refused
from unetkit.modelfile.card import ExportCard


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a program.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: it is no whole program.
    """
    device = choose_device(options.device)
    try:
        with path.open("rb") as file:
            module = torch.export.load(file).module()
    except Exception as error:  # whatever a damaged program makes of its loader
        raise refused(path, "torch.export", error) from None
    return TorchModule(module.to(device), device, options.threads)


class TorchModule:
    """A torch module as a runtime."""

    def __init__(self, module: nn.Module, device: torch.device, threads: int | None = None) -> None:
        """Take a module in evaluation mode, the device that it is on, and its threads; None: as many as cores."""
        self._module, self._device, self._threads = module, device, threads

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        """Return the module's output."""
        with cpu_threads(self._threads):
            return self._module(images.to(self._device))


_NOISY = ("torch.onnx", "torch.export", "torch._inductor", "torch.fx")
_WARNINGS: dict[str, type[Warning]] = {
    # PyTorch about itself: torch.export's own copying, and its exporter for opsets below 18.
    r"`isinstance\(treespec, LeafSpec\)`": FutureWarning,
    "You are using the legacy TorchScript-based ONNX export": DeprecationWarning,
    "The feature will be removed": DeprecationWarning,
    "`torch.jit": DeprecationWarning,
    # A question about a size, which is answered the same for every size that the network takes.
    "Converting a tensor to a Python boolean": Warning,
    "Constant folding": UserWarning,
    # A program of torch.export has no modes: its one graph is that of prediction.
    "You are exporting the model in training mode": UserWarning,
    "It is recommended that constant folding be turned off": UserWarning,
}


def program_of(job: ExportJob) -> ExportedProgram:
    """Return the job's graph as a program, with open sizes where the card leaves them open."""
    with quiet(), torch.no_grad():
        return torch.export.export(job.graph, (job.example(),), dynamic_shapes=(open_axes(job.card, Dim.DYNAMIC),))


def open_axes(card: ExportCard, *marks: Any) -> dict[int, Any]:
    """Return the open axes of the input, each with its mark: one for all, or one for batch, height and width."""
    batch, height, width = marks * 3 if len(marks) == 1 else marks
    first = 1 if card.layout == "nhwc" else 2
    axes = {} if card.batch else {0: batch}
    return axes if card.size else {**axes, first: height, first + 1: width}


@contextmanager
def quiet() -> Generator[None]:
    """Keep what PyTorch's exporters say of themselves away from the user."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    try:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message, kind in _WARNINGS.items():
                warnings.filterwarnings("ignore", message, kind)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def write(job: ExportJob, path: Path) -> None:
    """Write a program."""
    program = program_of(job)
    program.example_inputs = None  # would be stored as a pickle
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={CARD_KEY: job.card.model_dump_json()})
