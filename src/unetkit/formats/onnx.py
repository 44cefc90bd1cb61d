"""ONNX: by PyTorch's new exporter from opset 18 on, and by its TorchScript exporter below, for MindSpore Lite and ATC.

The card is the metadata property `unetkit`. The file is checked by ONNX's own checker, and its shapes are inferred.
What PyTorch's exporters write and runtimes misunderstand is replaced by what means the same. Eight-bit integers come
from ONNX Runtime's static quantisation. `load` runs a file in ONNX Runtime, on the CPU or on CUDA.
"""

import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unetkit.errors import DeviceError, ModelFileError, UsageError
from unetkit.formats.job import ExportJob, Quantisation, quiet, silent
from unetkit.formats.pt2 import open_axes, program_of
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, first_bytes, refused, required
from unetkit.machine import threads_of
from unetkit.modelfile.card import Output
from unetkit.storage.atomic import temporary_folder
from unetkit.storage.protobuf import fields

OPSET = 18
LEAST_OPSET = 11
INPUT = "image"
OUTPUTS: dict[Output, str] = {"logits": "logits", "softmax": "probabilities", "argmax": "labels"}
"""Names of the output in the graph."""

_MINDSPORE = b"\x12\x09MindSpore"
"""The producer, a field at the beginning of a file."""

# Fields of onnx.ModelProto and of onnx.StringStringEntryProto.
_IR_VERSION, _METADATA, _KEY, _VALUE = 1, 14, 1, 2


def recognises(path: Path) -> bool:
    """Return whether a file begins as an ONNX model does."""
    start = first_bytes(path, 9)
    # A safetensors file begins with the length of its header, which may look like a version, and the header's brace.
    is_safetensors = start[4:] == b"\0\0\0\0{"
    return len(start) > 1 and start[0] == _IR_VERSION << 3 and 0 < start[1] < 64 and not is_safetensors


def is_of_mindspore(path: Path) -> bool:
    """Return whether MindSpore wrote a file: ONNX of its own, which runtimes refuse, and whose weights are read."""
    return _MINDSPORE in first_bytes(path, 64)


def card(path: Path) -> str | None:
    """Return the text of the card in a file; None where it has none."""
    with path.open("rb") as file:
        return card_in(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)  # closes itself with its last view


def card_in(content: bytes | mmap.mmap, source: Path) -> str | None:
    """Return the text of the card in the bytes of a model; None where it has none.

    Raises:
        ModelFileError: a model with a card whose weights are in other files, which nobody has named.
    """
    for number, value in fields(memoryview(content)):
        if number == _METADATA and isinstance(value, memoryview):
            entry = {key: bytes(text).decode() for key, text in fields(value) if isinstance(text, memoryview)}
            if entry.get(_KEY) == CARD_KEY:
                if _names_other_files(content):
                    raise ModelFileError(f"{source}: names other files that hold its weights; export the network again")
                return entry.get(_VALUE)
    return None


_PARTS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
"""Where tensors are in a model: of every message the fields that lead to them, and what each holds."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def _names_other_files(content: bytes | mmap.mmap) -> bool:
    left = [("Model", memoryview(content))]
    while left:
        kind, message = left.pop()
        for number, value in fields(message):
            if kind == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                return True
            if number in _PARTS[kind] and isinstance(value, memoryview):
                left.append((_PARTS[kind][number], value))
    return False


def write(job: ExportJob, path: Path) -> None:
    """Write an ONNX file.

    Raises:
        UsageError: a package is not installed, or the opset is not known.
    """
    proto = model_proto(job)
    if job.quantisation is not None:
        proto = _quantised(proto, job.quantisation)
    path.write_bytes(proto.SerializeToString())


def model_proto(job: ExportJob) -> Any:
    """Return the job as an onnx.ModelProto.

    Raises:
        UsageError: as `write`.
    """
    onnx = required("onnx", "onnx")
    required("onnxscript", "onnx")
    card, opset, newest = job.card, job.options.opset or OPSET, onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise UsageError(f"there is no opset {opset} to export to; choose one from {LEAST_OPSET} to {newest}")
    axes = open_axes(card, "batch", "height", "width")
    if opset >= OPSET:
        with quiet(), torch.no_grad():
            exported = torch.onnx.export(
                job.graph,
                (job.example(),),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUTS[card.output]],
                dynamic_shapes=(axes,),
                verbose=False,
            )
        assert exported is not None
        proto: Any = exported.model_proto
    else:
        fixed = card.size is not None and card.batch is not None
        # A program of fixed sizes holds them as plain numbers; tracing the module would compute them in the graph.
        module: torch.nn.Module = program_of(job).module() if fixed else job.graph
        module.training = False
        buffer = io.BytesIO()
        with quiet(), torch.no_grad():
            torch.onnx.export(
                module,
                (job.example(),),
                buffer,  # pyright: ignore[reportArgumentType] the older exporter writes to buffers
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUTS[card.output]],
                dynamic_axes={INPUT: axes},
                training=torch.onnx.TrainingMode.PRESERVE,
            )
        proto = onnx.load_from_string(buffer.getvalue())
        for node in proto.graph.node:
            if node.op_type == "MaxPool":  # MindSpore Lite refuses the attribute that says it is not dilated
                kept = [attribute for attribute in node.attribute if attribute.name != "dilations"]
                del node.attribute[:]
                node.attribute.extend(kept)
    _cut_by_slices(onnx, proto)
    proto.producer_name, proto.producer_version = "unetkit", card.unetkit
    onnx.helper.set_model_props(proto, {CARD_KEY: card.model_dump_json()})
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


_RANK = 4


def _cut_by_slices(onnx: Any, proto: Any) -> None:
    """Replace every Pad by negative numbers, as which exporters write a cut of the output, by a Slice, in place.

    OpenVINO takes such a Pad for one that never makes a map smaller, and computes small images wrongly; TensorRT and
    others refuse it. Assumes that nodes are in an order in which they can be computed.
    """
    helper, nodes, needed = onnx.helper, list[Any](), set[str]()
    for node in reversed(proto.graph.node):
        if node.op_type == "Conv" or not needed.isdisjoint(node.output):
            needed.update(node.input)
        if node.op_type == "Pad" and needed.isdisjoint(node.output):
            name, (x, pads) = node.name or node.output[0], node.input[:2]
            made = [
                helper.make_node("Shape", [x], [f"{name}.shape"]),
                helper.make_node("Slice", [pads, f"{name}.ends", f"{name}.length"], [f"{name}.added"]),
                helper.make_node("Add", [f"{name}.shape", f"{name}.added"], [f"{name}.size"]),
                helper.make_node("Slice", [x, f"{name}.begin", f"{name}.size"], node.output),
            ]
            nodes += reversed(made)
            for part, values in (("begin", [0] * _RANK), ("ends", [_RANK]), ("length", [2 * _RANK])):
                tensor = helper.make_tensor(f"{name}.{part}", onnx.TensorProto.INT64, [len(values)], values)
                proto.graph.initializer.append(tensor)
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))


_QUANTISED = ["Conv", "ConvTranspose", "Concat", "MaxPool"]
"""The operations that are computed in integers."""


def _quantised(proto: Any, quantisation: Quantisation) -> Any:
    """Return an onnx.ModelProto in int8."""
    quantization, onnx = required("onnxruntime.quantization", "onnx"), required("onnx", "onnx")
    name, rest = proto.graph.input[0].name, iter(quantisation.inputs)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            image = next(rest, None)
            return None if image is None else {name: image}

    convolutions = [node.name for node in proto.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    with temporary_folder() as folder, silent():
        quantization.quantize_static(
            proto,
            str(folder / "int8.onnx"),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=quantisation.in_float32(convolutions),
        )
        return onnx.load(folder / "int8.onnx")


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ONLY_ERRORS = 3


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a file.

    Raises:
        UsageError: the package is not installed.
        DeviceError: it has no such device.
        ModelFileError: not a graph that ONNX Runtime takes.
    """
    package = required("onnxruntime", "onnx")
    settings = package.SessionOptions()
    settings.intra_op_num_threads = threads_of(options.threads)
    settings.log_severity_level = _ONLY_ERRORS
    there = [kind for kind, provider in _PROVIDERS.items() if provider in package.get_available_providers()]
    device = there[-1] if options.device == "auto" else options.device
    if device not in there:
        raise DeviceError(f"device {device!r} is not there for ONNX Runtime; it has: {', '.join(there)}")
    try:
        return _Session(package.InferenceSession(str(path), settings, providers=[_PROVIDERS[device]]))
    except Exception as error:  # its errors have no class in common
        raise refused(path, "ONNX Runtime", error) from None


class _Session:
    def __init__(self, session: Any) -> None:
        self._session, self._input = session, session.get_inputs()[0].name

    def run(self, images: Tensor) -> Tensor:
        return self.run_all(images)[0]

    def run_all(self, images: Tensor) -> tuple[Tensor, ...]:
        answers: list[Any] = self._session.run(None, {self._input: images.cpu().numpy()})
        return tuple(torch.from_numpy(answer) for answer in answers)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a graph; None: a length that is open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a graph, and what comes out."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def signature(path: Path) -> Signature:
    """Read the inputs and outputs of a file.

    Raises:
        UsageError: the package is not installed.
        ModelFileError: not a whole ONNX file.
    """
    onnx = required("onnx", "onnx")
    try:
        graph = onnx.load(path, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}  # which older files list among the inputs

        def port(value: Any) -> Port:
            kind = value.type.tensor_type
            sides = (side.dim_value if side.HasField("dim_value") else 0 for side in kind.shape.dim)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            return Port(value.name, tuple(side if side > 0 else None for side in sides), np.dtype(dtype))

        inputs = tuple(port(value) for value in graph.input if value.name not in weights)
        return Signature(inputs, tuple(map(port, graph.output)))
    except Exception as error:  # the package's errors have no class in common
        raise refused(path, "onnx", error) from None
