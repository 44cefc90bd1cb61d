"""A PyTorch module as a graph of MindSpore's operations: what MindIR and AIR are written from.

The module is recorded by torch.export for one size and batch, and each of PyTorch's operations is handed to its
translation. In-place operations are taken as others: the networks use them only on results that nobody else reads.
Batch norms stay as they are, so that weights keep their names. Does not know any single operation.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from unetkit.errors import UsageError
from unetkit.exporting.program import quiet
from unetkit.exporting.translations import TRANSLATIONS, Known, Sheet
from unetkit.interop.graphs import Graph
from unetkit.models.blocks import Enlarge, legacy_bilinear

INPUT = "x"


@torch.library.custom_op("unetkit::legacy_bilinear", mutates_args=())
def _legacy(x_NCHW: Tensor) -> Tensor:
    """Compute `legacy_bilinear`, and be recorded as one operation."""
    return legacy_bilinear(x_NCHW)


@_legacy.register_fake
def _(x_NCHW: Tensor) -> Tensor:
    count, channels, height, width = x_NCHW.shape
    return x_NCHW.new_empty(count, channels, 2 * height, 2 * width)


def record(
    module: nn.Module, images: Tensor, *, names: Mapping[str, str], resize: str, notes: Mapping[str, str]
) -> Graph:
    """Return what a module computes as a graph.

    Args:
        module: with one input and one output, in evaluation mode.
        images: an input of the size and number that the graph will take.
        names: of the weights in the graph, by their names in the module; others keep theirs.
        resize: what the graph calls the bilinear resizing: ResizeBilinear or ResizeBilinearV2.
        notes: of the graph.

    Raises:
        UsageError: it computes something that MindSpore's operations do not express.
    """
    program = _program(module, images)
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors: dict[str, Any] = {**program.state_dict, **program.constants}
    sheet, known = Sheet(resize), dict[fx.Node, Known]()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = stored.get(node.name)
            known[node] = Known.of(node, INPUT if name is None else names.get(name, name))
            if name is not None:
                sheet.tensors[known[node].name] = tensors[name]
        elif node.op == "call_function" and node.users:  # checks of types have none
            known[node] = Known.of(node, _translated(sheet, node, known))
    output = known[_output(program)]
    return Graph(INPUT, tuple(images.shape), images.dtype, tuple(sheet.nodes), sheet.weights, output.name, notes)


def _program(module: nn.Module, images: Tensor) -> Any:
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, Enlarge) and part.interpolate is legacy_bilinear:
            part.interpolate = _legacy
    with quiet(), torch.no_grad():
        return torch.export.export(module, (images,))


def _output(program: Any) -> fx.Node:
    (outputs,) = next(node for node in program.graph.nodes if node.op == "output").args
    (output,) = outputs
    return output


def _translated(sheet: Sheet, node: fx.Node, known: Mapping[fx.Node, Known]) -> str:
    """Put one of PyTorch's operations on the sheet and return the name of its result."""
    target: Any = node.target
    operation = str(target).split(".")[1].rstrip("_")
    if operation not in TRANSLATIONS:
        raise UsageError(
            f"the network computes {operation}, which is written to no file of MindSpore's; export it to onnx"
        )
    given = {
        argument.name: node.args[place]
        if place < len(node.args)
        else node.kwargs.get(argument.name, argument.default_value)
        for place, argument in enumerate(target._schema.arguments)  # noqa: SLF001 - nothing else tells the defaults
    }
    settled = {name: _settled(value, known) for name, value in given.items()}
    return TRANSLATIONS[operation](sheet, given=settled, result=Known.of(node, ""))


def _settled(value: Any, known: Mapping[fx.Node, Known]) -> Any:
    """Return an argument with what is known of the nodes in it."""
    if isinstance(value, fx.Node):
        return known[value]
    return [_settled(item, known) for item in cast("list[Any]", value)] if isinstance(value, list) else value
