"""The formats that a network is exported to: an explicit table, one file a format.

A format says which of the options it can express; any other is refused before anything is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unetkit.errors import UsageError
from unetkit.exporting import aoti, bioimageio, mindspore, onnx, openvino, pt2, safetensors, torchscript
from unetkit.exporting.job import ExportJob, ExportOptions
from unetkit.runtimes.card import Output

_GRAPH = frozenset(("output", "layout", "preprocessing", "size", "batch"))


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        write: writes a file, and no other file but ones with the same stem beside it.
        suffix: that the file's name must have.
        options: names of the options that it can express.
        what: it is, in a few words.
        output: what comes out where nothing is said.
        fixed: a file takes images of one size and number only.
    """

    write: Callable[[ExportJob, Path], None]
    suffix: str
    options: frozenset[str]
    what: str
    output: Output = "logits"
    fixed: bool = False


FORMATS: dict[str, Format] = {
    "onnx": Format(onnx.write, ".onnx", _GRAPH | {"opset", "half", "int8"}, "ONNX, for every runtime"),
    "openvino": Format(openvino.write, ".xml", _GRAPH | {"half", "int8"}, "OpenVINO's own, the fastest on a CPU"),
    "pt2": Format(pt2.write, ".pt2", _GRAPH, "a program of torch.export"),
    "aoti": Format(aoti.write, ".pt2", _GRAPH, "machine code by AOTInductor"),
    "torchscript": Format(torchscript.write, ".pt", _GRAPH, "TorchScript, for programs that take nothing newer"),
    "bioimageio": Format(
        bioimageio.write, ".zip", frozenset(("output", "opset")), "a package for the BioImage Model Zoo", "softmax"
    ),
    "mindir": Format(mindspore.write_mindir, ".mindir", _GRAPH, "MindIR, for MindSpore", fixed=True),
    "mindir-lite": Format(
        mindspore.write_mindir_for_lite, ".mindir", _GRAPH, "MindIR, for MindSpore Lite and MindSpore 2.0", fixed=True
    ),
    "air": Format(mindspore.write_air, ".air", _GRAPH, "AIR, for Ascend; never run on one", fixed=True),
    "mindspore-ckpt": Format(
        mindspore.write_checkpoint, ".ckpt", frozenset(), "the weights, for MindSpore's model zoo"
    ),
    "safetensors": Format(safetensors.write, ".safetensors", frozenset(), "the weights, for unetkit"),
}


def format_for(name: str, out: Path, options: ExportOptions) -> Format:
    """Return the format of a name.

    Raises:
        UsageError: there is no such format, it cannot express an option, or the file's name has another suffix.
    """
    chosen = FORMATS.get(name)
    if chosen is None:
        raise UsageError(f"there is no format {name!r}; there are: {', '.join(FORMATS)}")
    if out.suffix.lower() != chosen.suffix:
        raise UsageError(f"{out}: a file of the format {name} is called FILE{chosen.suffix}; choose such a name")
    foreign = [option for option in options.given() if option not in chosen.options]
    if foreign:
        able = ", ".join(other for other, format in FORMATS.items() if set(foreign) <= format.options)
        raise UsageError(f"{name} cannot express the option {', '.join(foreign)}; {able} can")
    if chosen.fixed and options.size is None:
        raise UsageError(f"a file of the format {name} takes images of one size; give it as --size H W")
    return chosen
