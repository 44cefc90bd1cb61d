"""TorchScript in PyTorch. Such a file is a program: open only files from people you trust."""

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import nn

from unetkit.devices import choose_device
from unetkit.runtimes.pt2 import TorchModule
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a program.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: it is no whole program.
    """
    device = choose_device(options.device)
    try:
        with warnings.catch_warnings():
            # PyTorch deprecates TorchScript; files of it are still what some targets take.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            module = cast("nn.Module", torch.jit.load(str(path), map_location=device))  # pyright: ignore[reportUnknownMemberType] untyped
    except Exception as error:  # whatever a damaged program makes of its loader
        raise refused(path, "TorchScript", error) from None
    return TorchModule(module.eval(), device, options.threads)
