"""The weights in what MindSpore exports: MindIR, AIR and its own ONNX.

Weights keep the names of MindSpore's parameters there, so that the network is recognised as in a checkpoint, and runs
at any size. MindSpore's ONNX is read by its initialisers alone: its transposed convolutions have an `output_shape` of
four lengths, where ONNX has two, and no ONNX runtime takes them. Files with unetkit's own card are left to others.
"""

from pathlib import Path

import torch
from torch import Tensor

from unetkit.errors import ModelFileError
from unetkit.interop.archive import LONGEST_NAME, MOST_TENSORS, Archive, one_line, to_tensor
from unetkit.interop.graphs import CARD, read_graph
from unetkit.interop.mindspore import SYSTEM
from unetkit.interop.protobuf import WireError, as_bytes, as_number, as_text, grouped, integers, only

_BEGIN = b"\x08"  # onnx.ModelProto.ir_version
_PRODUCER = b"\x12\x09MindSpore"
_TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}


def read(path: Path) -> Archive | None:
    """Read the weights of an exported file; None for one that MindSpore did not write.

    Raises:
        ModelFileError: cut short, or contradicting itself.
    """
    if not path.is_file():
        return None
    graph = read_graph(path)
    if graph is not None:
        weights = {name: tensor for name, tensor in graph.weights.items() if tensor.is_floating_point()}
        return None if CARD in graph.notes else Archive(SYSTEM, weights)
    with path.open("rb") as file:
        head = file.read(LONGEST_NAME)
    if not head.startswith(_BEGIN) or head[2 : 2 + len(_PRODUCER)] != _PRODUCER:
        return None
    try:
        model = grouped(path.read_bytes())
        initialisers = grouped(as_bytes(only(model, 7))).get(5, [])
        if len(initialisers) > MOST_TENSORS:
            raise WireError(f"{len(initialisers):,} tensors")
        found = dict(_initialiser(part) for part in initialisers)
    except WireError as error:
        raise ModelFileError(
            f"{path}: MindSpore's ONNX, cut short or damaged ({one_line(error)}); copy it again"
        ) from None
    return Archive(SYSTEM, {name: tensor for name, tensor in found.items() if tensor is not None})


def _initialiser(part: int | memoryview) -> tuple[str, Tensor | None]:
    """Return the name and the values of an onnx.TensorProto; None for what no weights are."""
    tensor = grouped(as_bytes(part))
    name, number = as_text(only(tensor, 8)), as_number(only(tensor, 2))
    if number not in _TYPES or 9 not in tensor:
        return name, None
    values = to_tensor(as_bytes(only(tensor, 9)), _TYPES[number], tuple(integers(tensor.get(1, []))))
    if values is None:
        raise WireError(f"{name} has another size than its shape says")
    return name, values
