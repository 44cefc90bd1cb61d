"""Eight-bit integers for weights and activations, by each runtime's own tool, calibrated on real images.

ONNX files go through ONNX Runtime's static quantisation, OpenVINO's through NNCF. The layers that lose most are usually
the first, which sees the pixels, and the last, which gives the logits: `floating` of each end stay in float32.
"""

import io
import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from unetkit.runtimes import required

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
    with TemporaryDirectory() as folder, _quiet():
        quantization.quantize_static(
            proto,
            str(Path(folder) / "int8.onnx"),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_ONNX_OPERATIONS,
            nodes_to_exclude=_ends(convolutions, floating),
        )
        return onnx.load(Path(folder) / "int8.onnx")


def quantised_openvino(model: Any, inputs: Inputs, *, floating: int) -> Any:
    """Return an openvino.Model in int8; arguments and errors are those of `quantised_onnx`."""
    nncf = required("nncf", "quantize")
    ordered = [node for node in model.get_ordered_ops() if "Convolution" in node.get_type_name()]
    kept = _ends([node.get_friendly_name() for node in ordered], floating)
    with _quiet():
        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model,
            nncf.Dataset(list(inputs)),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
        )


def _ends(names: list[str], count: int) -> list[str]:
    return names if 2 * count >= len(names) else names[:count] + names[len(names) - count :]


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the tools' own advice and progress bars away from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
