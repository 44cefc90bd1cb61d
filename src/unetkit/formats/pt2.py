"""Programs of torch.export, .pt2: for PyTorch without unetkit. The card is the extra file `unetkit`.

Such a file is a program: `open_exported` gives only the user's own, or trusted ones, to `load`. `program_of` is what
AOTInductor and ONNX start from, too; `TorchModule` runs any torch module as a file is run.
"""

import io
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from unetkit.devices import choose_device, cpu_threads
from unetkit.formats.job import ExportJob, quiet
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, has_member, read_member, refused
from unetkit.modelfile.card import ExportCard

recognises = has_member("/models/model.json")
card = read_member(f"/extra/{CARD_KEY}")


def write(job: ExportJob, path: Path) -> None:
    """Write a program."""
    program = program_of(job)
    program.example_inputs = None  # would be stored as a pickle
    content = io.BytesIO()  # on a full disk PyTorch's own writing ends the process
    with quiet():
        torch.export.save(program, content, extra_files={CARD_KEY: job.card.model_dump_json()})
    path.write_bytes(content.getbuffer())


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


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a program.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: not a whole program.
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

    def run(self, images: Tensor) -> Tensor:
        """Return the module's output."""
        return self.run_all(images)[0]

    @torch.inference_mode()
    def run_all(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the module's outputs: a tensor, or the values of a tuple, a list or a dict."""
        with cpu_threads(self._threads):
            answer: Any = self._module(images.to(self._device))
        if isinstance(answer, dict):
            answer = list(cast("dict[str, Tensor]", answer).values())
        return (answer,) if isinstance(answer, Tensor) else tuple(answer)

    @property
    def input_channels(self) -> int | None:
        """The channels that the first convolution takes; None: it has no convolution."""
        weights = (weight for weight in self._module.parameters() if weight.ndim == 4)
        return next((weight.shape[1] for weight in weights), None)
