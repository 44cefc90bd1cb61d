"""OpenVINO: its own files, made from ONNX, and the runtime, which takes ONNX files, too.

FILE.xml has the graph, and the card in its rt_info; FILE.bin has the weights. Computes in float32 where nothing else is
asked for, also where the processor would be faster in bfloat16: an exported network is to give the same numbers on
every machine. Layers in int8 stay in int8; they are made by NNCF.
"""

import logging
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from unetkit.errors import DeviceError
from unetkit.formats.job import ExportJob, silent
from unetkit.formats.onnx import model_proto
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, first_bytes, reason, refused, required
from unetkit.machine import threads_of

# OpenVINO shows what it does not take for its own to the readers of all other formats that it has.
_FORM = re.compile(rb'\s*(<\?xml[^<>]*>\s*)?<net [^<>]*\bversion="1[01]"')


def recognises(path: Path) -> bool:
    """Return whether a file begins as an OpenVINO network does."""
    return _FORM.match(first_bytes(path, 512).removeprefix(b"\xef\xbb\xbf")) is not None


def card(path: Path) -> str | None:
    """Return the text of the card in a file; None where it has none."""
    found = None
    for _, element in ElementTree.iterparse(path):
        if element.tag == CARD_KEY:
            found = element.get("value", found)
    return found


def write(job: ExportJob, path: Path) -> None:
    """Write the two files.

    Raises:
        UsageError: a package is not installed.
        OSError: the disk did not take it.
    """
    package = required("openvino", "openvino")
    model = package.Core().read_model(model_proto(job).SerializeToString())
    if job.quantisation is not None:
        nncf, inputs = required("nncf", "quantize"), job.quantisation.inputs
        ordered = [node for node in model.get_ordered_ops() if "Convolution" in node.get_type_name()]
        kept = job.quantisation.in_float32([node.get_friendly_name() for node in ordered])
        with silent():
            nncf.set_log_level(logging.ERROR)
            model = nncf.quantize(
                model,
                nncf.Dataset(list(inputs)),
                subset_size=len(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
            )
    model.set_rt_info(job.card.model_dump_json(), [CARD_KEY])
    try:
        package.save_model(model, path, compress_to_fp16=job.options.half)
    except RuntimeError as error:  # its stream says no more than that it failed
        raise OSError(f"OpenVINO: {reason(error)}") from error


_DEVICES = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load and compile a file.

    Raises:
        UsageError: the package is not installed.
        DeviceError: it has no such device, or the device no arithmetic of this precision.
        ModelFileError: not a graph that OpenVINO takes, or its weights are not next to it.
    """
    core = required("openvino", "openvino").Core()
    device = _DEVICES.get(options.device)
    if device not in core.available_devices:
        raise DeviceError(
            f"device {options.device!r} is not there for OpenVINO; it has: {', '.join(core.available_devices).lower()}"
        )
    others = " or ".join(name for name in _HINTS if name != options.precision)
    lacking = DeviceError(
        f"OpenVINO does not compute in {options.precision} on this {device}; try --precision {others}"
    )
    hint = _HINTS[options.precision]
    if _CAPABILITIES[options.precision] not in core.get_property(device, "OPTIMIZATION_CAPABILITIES"):
        raise lacking
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = threads_of(options.threads)
    try:
        compiled = core.compile_model(core.read_model(path), device, settings)
    except RuntimeError as error:
        raise refused(path, "OpenVINO", error) from None
    if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:  # a CPU may ignore it silently
        raise lacking
    return _Compiled(compiled)


class _Compiled:
    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def run(self, images: Tensor) -> Tensor:
        return self.run_all(images)[0]

    def run_all(self, images: Tensor) -> tuple[Tensor, ...]:
        answers = self._request.infer([images.cpu().contiguous().numpy()], share_inputs=True)
        # Its own memory holds the next answer.
        return tuple(torch.from_numpy(answers[place].copy()) for place in range(len(answers)))
