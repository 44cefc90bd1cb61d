"""OpenVINO's own files, and ONNX files, in OpenVINO.

Computes in float32 where the file has float32 weights, also where the processor would be faster in bfloat16: an
exported network is to give the same numbers on every machine.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.devices import available_cores
from unetkit.errors import DeviceError
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused, required

_DEVICES = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load and compile a file.

    Raises:
        UsageError: the package is not installed, or has no such device.
        ModelFileError: it is no graph that OpenVINO takes, or its weights are not beside it.
    """
    package = required("openvino", "openvino")
    core = package.Core()
    device = _DEVICES.get(options.device)
    if device not in core.available_devices:
        raise DeviceError(
            f"device {options.device!r} is not there for OpenVINO; it has: {', '.join(core.available_devices).lower()}"
        )
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"} if device == "CPU" else {}
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = options.threads or available_cores()
    try:
        return _Compiled(core.compile_model(core.read_model(path), device, settings))
    except RuntimeError as error:
        raise refused(path, "OpenVINO", error) from None


class _Compiled:
    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def run(self, images: Tensor) -> Tensor:
        answers = self._request.infer([images.cpu().contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(answers[0].copy())  # its own memory holds the next answer
