"""ONNX: by PyTorch's new exporter from opset 18 on, and by its TorchScript exporter below, for MindSpore Lite and ATC.

The card is the metadata property `unetkit`. The file is checked by ONNX's own checker, and its shapes are inferred.
"""

import io
from pathlib import Path
from typing import Any

import torch

from unetkit.errors import UsageError
from unetkit.exporting.int8 import quantised_onnx
from unetkit.exporting.job import ExportJob
from unetkit.exporting.program import open_axes, program_of, quiet
from unetkit.exporting.repairs import drop_dilations, slice_cuts
from unetkit.runtimes import CARD_KEY, required
from unetkit.runtimes.card import Output

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
