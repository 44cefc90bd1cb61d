"""OpenVINO's own files, and ONNX files, in OpenVINO.

Computes in float32 where nothing else is asked for, also where the processor would be faster in bfloat16: an exported
network is to give the same numbers on every machine. Layers in int8 stay in int8.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.devices import available_cores
from unetkit.errors import DeviceError
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused, required

_DEVICES = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load and compile a file.

    Raises:
        UsageError: the package is not installed.
        DeviceError: it has no such device, or the device no arithmetic of this precision.
        ModelFileError: it is no graph that OpenVINO takes, or its weights are not beside it.
    """
    package = required("openvino", "openvino")
    core = package.Core()
    device = _DEVICES.get(options.device)
    if device not in core.available_devices:
        raise DeviceError(
            f"device {options.device!r} is not there for OpenVINO; it has: {', '.join(core.available_devices).lower()}"
        )
    hint, capability = _HINTS[options.precision], _CAPABILITIES[options.precision]
    if capability not in core.get_property(device, "OPTIMIZATION_CAPABILITIES"):
        raise _lacking(options.precision, device)
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = options.threads or available_cores()
    try:
        compiled = core.compile_model(core.read_model(path), device, settings)
    except RuntimeError as error:
        raise refused(path, "OpenVINO", error) from None
    if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:  # a CPU may pass over it in silence
        raise _lacking(options.precision, device)
    return _Compiled(compiled)


def _lacking(precision: str, device: str | None) -> DeviceError:
    others = " or ".join(name for name in _HINTS if name != precision)
    return DeviceError(f"OpenVINO does not compute in {precision} on this {device}; try --precision {others}")


class _Compiled:
    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def run(self, images: Tensor) -> Tensor:
        answers = self._request.infer([images.cpu().contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(answers[0].copy())  # its own memory holds the next answer
