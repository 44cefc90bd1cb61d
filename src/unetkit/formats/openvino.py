"""OpenVINO's own files, and ONNX files, in OpenVINO.

Computes in float32 where nothing else is asked for, also where the processor would be faster in bfloat16: an exported
network is to give the same numbers on every machine. Layers in int8 stay in int8.

OpenVINO's own files, made from ONNX: FILE.xml with the graph and the card in its rt_info, FILE.bin with weights.

Eight-bit integers for weights and activations, by each runtime's own tool, calibrated on real images.

ONNX files go through ONNX Runtime's static quantisation, OpenVINO's through NNCF. The layers that lose most are usually
the first, which sees the pixels, and the last, which gives the logits: `floating` of each end stay in float32.

Exported files, told by their content, and the card that each carries. No file is run for that, nothing is unpacked.

    onnx          a protobuf message that begins with a version      metadata property `unetkit`
    openvino      an XML text with a <net>; its weights lie beside   <rt_info> <unetkit value="..."/>
    pt2           torch.export's archive                             archive member extra/unetkit
    aoti          an archive with compiled code                      a key in the metadata beside the code
    torchscript   an archive with TorchScript                        archive member extra/unetkit.json
    bioimageio    an archive with rdf.yaml                           that of the ONNX file in it
    mindir        a protobuf message that begins as MindSpore's do   entry `unetkit` of user_info
    air           a protobuf message with a name and a graph         attribute `unetkit` of the model

Does not know how any of them is computed.
"""

import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from unetkit.devices import available_cores
from unetkit.errors import DeviceError
from unetkit.formats.job import ExportJob
from unetkit.formats.onnx import (
    Inputs,
    ends,
    model_proto,
    quiet_nncf,
)
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, head, refused, required

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


def quantised_openvino(model: Any, inputs: Inputs, *, floating: int) -> Any:
    """Return an openvino.Model in int8; arguments and errors are those of `quantised_onnx`."""
    nncf = required("nncf", "quantize")
    ordered = [node for node in model.get_ordered_ops() if "Convolution" in node.get_type_name()]
    kept = ends([node.get_friendly_name() for node in ordered], floating)
    with quiet_nncf():
        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model,
            nncf.Dataset(list(inputs)),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
        )


def is_openvino(path: Path) -> bool:
    """Return whether a file begins as an OpenVINO network does."""
    start = head(path, 512).lstrip(b"\xef\xbb\xbf \r\n")
    return start.startswith((b"<?xml", b"<net")) and b"<net" in start


def openvino_card(path: Path) -> str | None:
    """Return the text of the card in an OpenVINO network; None where it has none."""
    found = None
    for _, element in ElementTree.iterparse(path):
        if element.tag == CARD_KEY:
            found = element.get("value", found)
    return found


def write(job: ExportJob, path: Path) -> None:
    """Write the two files.

    Raises:
        UsageError: a package is not installed.
    """
    package = required("openvino", "openvino")
    model = package.Core().read_model(model_proto(job).SerializeToString())
    if job.quantisation is not None:
        model = quantised_openvino(model, job.quantisation.inputs, floating=job.quantisation.floating)
    model.set_rt_info(job.card.model_dump_json(), [CARD_KEY])
    package.save_model(model, path, compress_to_fp16=job.options.half)
