"""MindSpore's and Ascend's files, written and run without either: MindIR, AIR, and the model zoo's checkpoints.

A graph is recorded by torch.export for one size and number of images, and each of PyTorch's operations is handed to its
translation. In-place operations are taken as others: the networks use them only on results that nobody else reads.
Weights are called as in MindSpore's model zoo where the network is one of its three, and by unetkit's names otherwise;
batch norms stay, so that the weights can be read from the graph: with them the network can be trained on, or run at any
size. Colour images have the channels R, G, B, as in all files that unetkit exports; a checkpoint has the zoo's order.

Two runtimes: MindSpore itself from 2.0 on, where it is installed (it takes 2.8 GB, and no extra of unetkit brings it),
and an interpreter that computes a graph operation by operation in PyTorch. The interpreter is there to check files and
to use them where MindSpore is not; it is not fast.
"""

import copy
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from unetkit.config import ModelConfig
from unetkit.devices import choose_device, cpu_threads
from unetkit.errors import ModelFileError, UsageError, listed
from unetkit.formats.job import ExportJob, noise, quiet
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, refused
from unetkit.legacy.checkpoints import to_mindspore, write_mindspore_checkpoint
from unetkit.legacy.graphs import kind_of_graph, notes_of, read_graph
from unetkit.legacy.graphs.air import encode as encode_air
from unetkit.legacy.graphs.from_torch import TRANSLATIONS, GraphBuilder, ValueInfo
from unetkit.legacy.graphs.graph import Graph, GraphError, execute, padding_of, pair_of, results, steps
from unetkit.legacy.graphs.mindir import encode as encode_mindir
from unetkit.legacy.networks import mindspore_names
from unetkit.modelfile.card import ExportCard, StoredNetwork
from unetkit.models import build_outline
from unetkit.models.blocks import Upsample, legacy_bilinear

__all__ = [
    "INPUT",
    "card",
    "graph_of",
    "is_graph",
    "load",
    "load_interpreter",
    "mindir_writer",
    "padding_of",
    "pair_of",
    "read_own_graph",
    "record",
    "steps",
    "write_air",
    "write_checkpoint",
]

INPUT = "x"

_ZOO = ((127.5, 127.5), "x / 127.5 - 1")
_MOST_BYTES = 10**9  # above, MindSpore itself puts weights into files of their own


def is_graph(kind: str) -> Callable[[Path], bool]:
    """Return a test whether a file is a graph of this kind, by its content."""
    return lambda path: kind_of_graph(path) == kind


def card(path: Path) -> str | None:
    """Return the text of the card in a MindIR or AIR file; None where it has none."""
    return notes_of(path).get(CARD_KEY)


def mindir_writer(resize: str) -> Callable[[ExportJob, Path], None]:
    """Return what writes MindIR that MindSpore loads; raises UsageError where the network does not go into it.

    Args:
        resize: what it calls the bilinear resizing: ResizeBilinearV2, as MindSpore 2.0 to 2.10 do, or ResizeBilinear,
            as MindSpore up to 2.0 and MindSpore Lite do.
    """

    def write(job: ExportJob, path: Path) -> None:
        content = encode_mindir(graph_of(job, resize), version=job.card.unetkit)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"MindIR in one file holds up to 1 GB, and this network takes {len(content):,} bytes")
        path.write_bytes(content)

    return write


def write_air(job: ExportJob, path: Path) -> None:
    """Write AIR.

    Raises:
        UsageError: the network computes what AIR does not express.
    """
    path.write_bytes(encode_air(graph_of(job, "ResizeBilinear")))


def write_checkpoint(job: ExportJob, path: Path) -> None:
    """Write a `.ckpt` byte for byte as MindSpore writes one of the same weights.

    Raises:
        UsageError: the network is none of MindSpore's model zoo, or sees other pixels than its programs give it.
    """
    stored, (zoo, formula) = job.stored(), _ZOO
    tensors = to_mindspore(stored.model, stored.state)
    found = set(zip(stored.card.mean, stored.card.std, strict=True))
    if found != {zoo}:
        pairs = ", ".join(f"(x - {mean:g}) / {std:g}" for mean, std in sorted(found))
        raise UsageError(
            f"this network sees {pairs}, and MindSpore's programs would show it {formula}; train it with "
            "data.normalization=minus-one-to-one, or export to mindir with --with-preprocessing"
        )
    write_mindspore_checkpoint(path, tensors)


def graph_of(job: ExportJob, resize: str = "ResizeBilinearV2") -> Graph:
    """Return the job as a graph of MindSpore's operations, its card among the notes."""
    card = job.card.model_copy(update={"batch": job.card.batch or 1})
    assert card.size is not None, "formats of one size are not written without it"
    assert card.batch is not None
    names = {name: name.removeprefix("network.") for name in job.reference.state_dict()}
    if card.model is not None:
        names |= {f"network.{ours}": f"net.{theirs}" for ours, theirs in mindspore_names(card.model).items()}
    images = noise(card, card.batch, *card.size)
    return record(job.reference, images, names=names, resize=resize, notes={CARD_KEY: card.model_dump_json()})


@torch.library.custom_op("unetkit::legacy_bilinear", mutates_args=())
def _recorded_bilinear(x_NCHW: Tensor) -> Tensor:
    """Compute `legacy_bilinear`, and be recorded as one operation."""
    return legacy_bilinear(x_NCHW)


@_recorded_bilinear.register_fake
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
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, Upsample) and part.interpolate is legacy_bilinear:
            part.interpolate = _recorded_bilinear
    with quiet(), torch.no_grad():
        program: Any = torch.export.export(module, (images,))
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors: dict[str, Any] = {**program.state_dict, **program.constants}
    builder, known, output = GraphBuilder(resize), dict[fx.Node, ValueInfo](), ""
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = stored.get(node.name)
            known[node] = ValueInfo.of(node, INPUT if name is None else names.get(name, name))
            if name is not None:
                builder.tensors[known[node].name] = tensors[name]
        elif node.op == "call_function" and node.users:  # checks of types have none
            known[node] = ValueInfo.of(node, _translated(builder, node, known))
        elif node.op == "output":
            ((result,),) = node.args
            output = known[result].name
    return Graph(INPUT, tuple(images.shape), images.dtype, tuple(builder.nodes), builder.weights, output, notes)


def _translated(builder: GraphBuilder, node: fx.Node, known: Mapping[fx.Node, ValueInfo]) -> str:
    """Add one of PyTorch's operations to the graph and return the name of its result."""
    target: Any = node.target
    operation = str(target).split(".")[1].rstrip("_")
    if operation not in TRANSLATIONS:
        raise UsageError(
            f"the network computes {operation}, which is written to no file of MindSpore's; export it to onnx"
        )

    def settled(value: Any) -> Any:
        """Return an argument with what is known of the nodes in it."""
        if isinstance(value, fx.Node):
            return known[value]
        return [settled(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value

    given = dict[str, Any]()
    for place, argument in enumerate(target._schema.arguments):  # noqa: SLF001 - nothing else knows the defaults
        named = node.kwargs.get(argument.name, argument.default_value)
        given[argument.name] = settled(node.args[place] if place < len(node.args) else named)
    return TRANSLATIONS[operation](builder, given=given, result=ValueInfo.of(node, ""))


def read_own_graph(path: Path) -> StoredNetwork | None:
    """Read the network behind a graph with unetkit's card; None for any other file.

    A file of a UNet++ has what its head needs: with the last head that is all but the others.

    Raises:
        ModelFileError: damaged, or without a part of the network.
    """
    graph = read_graph(path)
    if graph is None or CARD_KEY not in graph.notes:
        return None
    card = ExportCard.from_json(graph.notes[CARD_KEY], path).of_network
    if card.model is None:
        raise ModelFileError(f"{path}: its card describes no network; give the run that it was made from")
    state, missing = _weights(graph, card.model)
    if missing and all(name.startswith("heads.") for name in missing):
        model = card.model.model_copy(update={"deep_supervision": False, "head": None})
        card, (state, missing) = card.model_copy(update={"model": model}), _weights(graph, model)
    if missing:
        raise ModelFileError(
            f"{path}: holds a part of the network, without {listed(missing, 1)}; give the run that it was made from"
        )
    return StoredNetwork(card, state)


def _weights(graph: Graph, model: ModelConfig) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a network by our names, and the names of those that the graph lacks."""
    shapes = build_outline(model).state_dict()
    names = {ours: f"net.{theirs}" for ours, theirs in mindspore_names(model).items()}
    state, missing = dict[str, Tensor](), list[str]()
    for ours, shape in shapes.items():
        weight = graph.weights.get(names.get(ours, ours))
        if ours.endswith("num_batches_tracked"):
            state[ours] = torch.zeros((), dtype=torch.int64)
        elif weight is None or weight.shape != shape.shape:
            missing.append(ours)
        else:
            state[ours] = weight
    return state, missing


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a file into MindSpore, on the CPU or on the device that MindSpore was set to use.

    Raises:
        UsageError: MindSpore is not installed.
        ModelFileError: not a graph that MindSpore takes.
    """
    try:
        package: Any = import_module("mindspore")
    except ImportError:
        raise UsageError("mindspore is not installed; write: pip install mindspore==2.10.0") from None
    try:
        return _Cell(package, package.nn.GraphCell(package.load(str(path))))
    except Exception as error:  # its errors have no class in common
        raise refused(path, "MindSpore", error) from None


class _Cell:
    def __init__(self, package: Any, cell: Any) -> None:
        self._package, self._cell = package, cell

    def run(self, images: Tensor) -> Tensor:
        answer = self._cell(self._package.Tensor(images.cpu().contiguous().numpy()))
        return torch.from_numpy(answer.asnumpy().copy())


def load_interpreter(path: Path, options: RuntimeOptions) -> Runtime:
    """Read a file and make sure that it can be computed operation by operation.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: cut short, or not a graph that can be computed.
    """
    device, graph = choose_device("cpu" if options.device == "auto" else options.device), read_graph(path)
    if graph is None:
        raise ModelFileError(f"{path}: neither MindIR nor AIR; expected a file that `unetkit export` wrote")
    try:
        results(graph)
    except GraphError as error:
        raise refused(path, "the interpreter", error) from None
    return _Interpreter(graph, device, options.threads)


class _Interpreter:
    def __init__(self, graph: Graph, device: torch.device, threads: int | None) -> None:
        self._graph, self._device, self._threads = graph, device, threads

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        with cpu_threads(self._threads):
            return execute(self._graph, images.to(self._device))
