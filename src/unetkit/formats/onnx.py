"""ONNX: by PyTorch's new exporter from opset 18 on, and by its TorchScript exporter below, for MindSpore Lite and ATC.

The card is the metadata property `unetkit`. The file is checked by ONNX's own checker, and its shapes are inferred.

What PyTorch's ONNX exporters write and runtimes stumble over, said in another way that means the same.

Works on an onnx.ModelProto in place. Assumes that nodes are in an order in which they can be computed.

ONNX files in ONNX Runtime, on the CPU or on CUDA.

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

import io
import logging
import mmap
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.devices import available_cores
from unetkit.errors import DeviceError, UsageError
from unetkit.formats.job import ExportJob
from unetkit.formats.pt2 import open_axes, program_of, quiet
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, head, refused, required
from unetkit.modelfile.card import Output
from unetkit.storage.protobuf import fields

Inputs = Sequence[NDArray[Any]]
"""Images as the file takes them, a batch each."""

_ONNX_OPERATIONS = ["Conv", "ConvTranspose", "Concat", "MaxPool"]


def quantised_onnx(proto: Any, inputs: Inputs, *, floating: int) -> Any:
    """Return an onnx.ModelProto in int8.

    Args:
        proto: the model in float32.
        inputs: to calibrate on.
        floating: how many convolutions at either end stay in float32.

    Raises:
        UsageError: a package is not installed.
    """
    quantization, onnx = required("onnxruntime.quantization", "onnx"), required("onnx", "onnx")
    name, rest = proto.graph.input[0].name, iter(inputs)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            image = next(rest, None)
            return None if image is None else {name: image}

    convolutions = [node.name for node in proto.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    with TemporaryDirectory() as folder, quiet_nncf():
        quantization.quantize_static(
            proto,
            str(Path(folder) / "int8.onnx"),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_ONNX_OPERATIONS,
            nodes_to_exclude=ends(convolutions, floating),
        )
        return onnx.load(Path(folder) / "int8.onnx")


def ends(names: list[str], count: int) -> list[str]:
    """Return the names of the layers next to input and output, outermost first."""
    return names if 2 * count >= len(names) else names[:count] + names[len(names) - count :]


@contextmanager
def quiet_nncf() -> Generator[None]:
    """Keep the tools' own advice and progress bars away from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


_RANK = 4


def slice_cuts(onnx: Any, proto: Any) -> None:
    """Say every cut of the output as a Slice: exporters write a Pad by negative numbers.

    OpenVINO takes such a Pad for one that never makes a map smaller, and computes small images wrongly; TensorRT and
    others refuse it.
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


def drop_dilations(proto: Any) -> None:
    """Take from every MaxPool the attribute that says it is not dilated: MindSpore Lite refuses it."""
    for node in proto.graph.node:
        if node.op_type == "MaxPool":
            kept = [attribute for attribute in node.attribute if attribute.name != "dilations"]
            del node.attribute[:]
            node.attribute.extend(kept)


# Fields of onnx.ModelProto and of onnx.StringStringEntryProto.
_IR_VERSION, _METADATA, _KEY, _VALUE = 1, 14, 1, 2


def is_onnx(path: Path) -> bool:
    """Return whether a file begins as an ONNX model does."""
    start = head(path, 9)
    # A safetensors file begins with the length of its header, which may look like a version, and the header's brace.
    is_safetensors = start[4:] == b"\0\0\0\0{"
    return len(start) > 1 and start[0] == _IR_VERSION << 3 and 0 < start[1] < 64 and not is_safetensors


def onnx_card(path: Path) -> str | None:
    """Return the text of the card in an ONNX file; None where it has none."""
    with path.open("rb") as file:
        return card_in_onnx(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # closes itself with its last view


def card_in_onnx(content: bytes | mmap.mmap) -> str | None:
    """Return the text of the card in the bytes of an ONNX model; None where it has none."""
    for number, value in fields(memoryview(content)):
        if number == _METADATA and isinstance(value, memoryview):
            entry = {key: bytes(text).decode() for key, text in fields(value) if isinstance(text, memoryview)}
            if entry.get(_KEY) == CARD_KEY:
                return entry.get(_VALUE)
    return None


OPSET = 18
LEAST_OPSET = 11
INPUT = "image"
OUTPUTS: dict[Output, str] = {"logits": "logits", "softmax": "probabilities", "argmax": "labels"}
"""Names of the output in the graph."""


def write(job: ExportJob, path: Path) -> None:
    """Write an ONNX file.

    Raises:
        UsageError: a package is not installed, or the opset is not known.
    """
    proto = model_proto(job)
    if job.quantisation is not None:
        proto = quantised_onnx(proto, job.quantisation.inputs, floating=job.quantisation.floating)
    path.write_bytes(proto.SerializeToString())


def model_proto(job: ExportJob) -> Any:
    """Return the job as an onnx.ModelProto.

    Raises:
        UsageError: as `write`.
    """
    onnx = required("onnx", "onnx")
    required("onnxscript", "onnx")
    opset, newest = job.options.opset or OPSET, onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise UsageError(f"there is no opset {opset} to export to; choose one from {LEAST_OPSET} to {newest}")
    proto = _by_program(job, opset) if opset >= OPSET else _by_tracing(onnx, job, opset)
    slice_cuts(onnx, proto)
    proto.producer_name, proto.producer_version = "unetkit", job.card.unetkit
    onnx.helper.set_model_props(proto, {CARD_KEY: job.card.model_dump_json()})
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _by_program(job: ExportJob, opset: int) -> Any:
    with quiet(), torch.no_grad():
        exported = torch.onnx.export(
            job.graph,
            (job.example(),),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUTS[job.card.output]],
            dynamic_shapes=(open_axes(job.card, "batch", "height", "width"),),
            verbose=False,
        )
    assert exported is not None
    return exported.model_proto


def _by_tracing(onnx: Any, job: ExportJob, opset: int) -> Any:
    """Return the model of PyTorch's older exporter, in the form that MindSpore Lite and ATC accept."""
    card = job.card
    fixed = card.size is not None and card.batch is not None
    # A program of fixed sizes holds them as plain numbers; tracing the module would compute them in the graph.
    module: torch.nn.Module = program_of(job).module() if fixed else job.graph
    module.training = False
    axes = open_axes(card, "batch", "height", "width")
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
    drop_dilations(proto)
    return proto


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
