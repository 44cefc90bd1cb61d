"""Packages of AOTInductor in PyTorch: compiled for the kind of processor that they were made on.

Such a file is machine code: open only files from people you trust.
"""

import importlib
from pathlib import Path

import torch
from torch import Tensor

from unetkit.devices import choose_device, cpu_threads
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a package.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: it is no whole package, or one for another kind of machine.
    """
    device = choose_device("cpu" if options.device == "auto" else options.device)
    try:
        return _Package(path, device, options.threads)
    except Exception as error:  # whatever a damaged package makes of its loader
        raise refused(path, "AOTInductor", error) from None


class _Package:
    def __init__(self, path: Path, device: torch.device, threads: int | None) -> None:
        inductor = importlib.import_module("torch._inductor")  # documented, though its name is not public
        self._call = inductor.aoti_load_package(str(path))
        self._device, self._threads = device, threads

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        with cpu_threads(self._threads):
            return self._call(images.to(self._device))
