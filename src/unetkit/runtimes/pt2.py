"""Programs of torch.export in PyTorch. Such a file is a program: open only files from people you trust."""

from pathlib import Path

import torch
from torch import Tensor, nn

from unetkit.devices import choose_device, cpu_threads
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused


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
