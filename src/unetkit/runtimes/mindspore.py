"""MindIR in MindSpore itself, where it is installed: it takes 2.8 GB, and no extra of unetkit brings it.

Releases from 2.0 on read what unetkit writes.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.errors import UsageError
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a file, on the CPU or on the device that MindSpore was told to use.

    Raises:
        UsageError: MindSpore is not installed.
        ModelFileError: it is no graph that MindSpore takes.
    """
    try:
        package: Any = import_module("mindspore")
    except ImportError:
        raise UsageError("mindspore is not installed; write: pip install mindspore==2.10.0") from None
    try:
        return _Cell(package, package.nn.GraphCell(package.load(str(path))))
    except Exception as error:  # its errors have no class in common
        raise refused(path, "MindSpore", error) from None


class _Cell:
    def __init__(self, package: Any, cell: Any) -> None:
        self._package, self._cell = package, cell

    def run(self, images: Tensor) -> Tensor:
        answer = self._cell(self._package.Tensor(images.cpu().contiguous().numpy()))
        return torch.from_numpy(answer.asnumpy().copy())
