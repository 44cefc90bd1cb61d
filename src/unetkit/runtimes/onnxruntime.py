"""ONNX files in ONNX Runtime, on the CPU or on CUDA."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.devices import available_cores
from unetkit.errors import DeviceError
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused, required

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ONLY_ERRORS = 3


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a file.

    Raises:
        UsageError: the package is not installed, or has no such device.
        ModelFileError: it is no graph that ONNX Runtime takes.
    """
    package = required("onnxruntime", "onnx")
    settings = package.SessionOptions()
    settings.intra_op_num_threads = options.threads or available_cores()
    settings.log_severity_level = _ONLY_ERRORS
    try:
        return _Session(package.InferenceSession(str(path), settings, providers=_providers(package, options.device)))
    except Exception as error:  # its errors have no class in common
        raise refused(path, "ONNX Runtime", error) from None


def _providers(package: Any, device: str) -> list[str]:
    there = [kind for kind, provider in _PROVIDERS.items() if provider in package.get_available_providers()]
    chosen = there[-1] if device == "auto" else device
    if chosen not in there:
        raise DeviceError(f"device {device!r} is not there for ONNX Runtime; it has: {', '.join(there)}")
    return [_PROVIDERS[chosen]]


class _Session:
    def __init__(self, session: Any) -> None:
        self._session, self._input = session, session.get_inputs()[0].name

    def run(self, images: Tensor) -> Tensor:
        answers: list[Any] = self._session.run(None, {self._input: images.cpu().numpy()})
        return torch.from_numpy(answers[0])
