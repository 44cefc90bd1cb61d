"""From a path to a network that computes: which runtime runs a file, and that it is there.

A runtime is one function in `RUNTIMES`, a kind of file one entry of `FILES`.

The formats that a network is exported to: an explicit table, one file a format.

A format says which of the options it can express; any other is refused before anything is computed.

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

Exported files, ready to compute: one file a runtime, and the card that says what each file takes and gives.

`open_exported` tells a file by its content. Does not know how files are written; `exporting` does.
"""

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from unetkit.errors import DamagedFileError, ModelFileError, UsageError
from unetkit.formats import aoti, bioimageio, mindspore, onnx, openvino, pt2, safetensors, torchscript
from unetkit.formats.aoti import aoti_card
from unetkit.formats.bioimageio import ZOO_WEIGHTS, bioimageio_card
from unetkit.formats.job import ExportJob, ExportOptions
from unetkit.formats.mindspore import graph_card, is_graph
from unetkit.formats.onnx import is_onnx, onnx_card
from unetkit.formats.openvino import is_openvino, openvino_card
from unetkit.formats.pt2 import TorchModule
from unetkit.formats.runtime import (
    CARD_KEY,
    ExportedNetwork,
    Runtime,
    RuntimeOptions,
    has,
    member,
    required,
)
from unetkit.formats.torchscript import TORCHSCRIPT_CARD
from unetkit.modelfile.card import ExportCard, Output
from unetkit.storage import local_copy
from unetkit.storage.protobuf import WireError

__all__ = [
    "CARD_KEY",
    "ExportCard",
    "ExportedNetwork",
    "FILES",
    "RUNTIMES",
    "Runtime",
    "RuntimeOptions",
    "TORCHSCRIPT_CARD",
    "TorchModule",
    "ZOO_WEIGHTS",
    "kind_of",
    "open_exported",
    "required",
]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of exported file.

    Attributes:
        recognises: by the first bytes, or the members of an archive.
        card: gives the text of the card; None: the file has none.
        runtimes: names of those that run it, the best first.
        inner: the member of an archive that they run; None: the file itself.
    """

    recognises: Callable[[Path], bool]
    card: Callable[[Path], str | None]
    runtimes: tuple[str, ...]
    inner: str | None = None


def kind_of(path: Path) -> str | None:
    """Return the name of the kind in `FILES`; None for what is not an exported file."""
    if not path.is_file():
        return None
    return next((name for name, kind in FILES.items() if kind.recognises(path)), None)


def card_text(path: Path, kind: str) -> str | None:
    """Return the text of the card in a file of this kind; None where it has none.

    Raises:
        DamagedFileError: cut short or changed.
    """
    try:
        return FILES[kind].card(path)
    except (WireError, ElementTree.ParseError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise DamagedFileError(f"{path}: a damaged {kind} file ({error}); copy it again or export again") from None


FILES: dict[str, FileKind] = {
    "onnx": FileKind(is_onnx, onnx_card, ("onnxruntime", "openvino")),
    "openvino": FileKind(is_openvino, openvino_card, ("openvino",)),
    "aoti": FileKind(has("/data/aotinductor/"), aoti_card, ("aoti",)),
    "pt2": FileKind(has("/models/model.json"), member(f"/extra/{CARD_KEY}"), ("pt2",)),
    "bioimageio": FileKind(has("rdf.yaml"), bioimageio_card, ("onnxruntime", "openvino"), ZOO_WEIGHTS),
    "mindir": FileKind(is_graph("mindir"), graph_card, ("interpreter", "mindspore")),
    "air": FileKind(is_graph("air"), graph_card, ("interpreter",)),
    "torchscript": FileKind(has("/code/__torch__"), member(f"/extra/{TORCHSCRIPT_CARD}"), ("torchscript",)),
}

RUNTIMES: dict[str, Callable[[Path, RuntimeOptions], Runtime]] = {
    "onnxruntime": onnx.load,
    "openvino": openvino.load,
    "pt2": pt2.load,
    "aoti": aoti.load,
    "torchscript": torchscript.load,
    "interpreter": mindspore.load_interpreter,
    "mindspore": mindspore.load,
}
"""Every runtime beside PyTorch itself, by the name that `--runtime` takes."""

_REDUCE = ("openvino",)
"""Runtimes that compute in a shorter number format on request; all others in the numbers that are in the file."""

_OTHERS_WRITE = ("onnx", "mindir", "air")
"""Kinds that an older system writes, too: a file without our card is another reader's."""

DEFAULT = RuntimeOptions()


def open_exported(path: str | Path, options: RuntimeOptions = DEFAULT) -> ExportedNetwork | None:
    """Load an exported file, told by its content; None for anything else.

    Args:
        path: of the file.
        options: which runtime, how many threads, which device and precision.

    Raises:
        ModelFileError: cut short, without unetkit's card, or refused by the runtime.
        UsageError: a runtime that does not run such files, or is not installed.
        DeviceError: a device that the runtime does not have, or a precision that the device does not have.
    """
    path = local_copy(path)
    kind = kind_of(path)
    text = None if kind is None else card_text(path, kind)
    if kind is None or (text is None and kind in _OTHERS_WRITE):
        return None
    if text is None:
        raise ModelFileError(
            f"{path}: a file of the kind {kind} without unetkit's card; expected one that `unetkit export` wrote"
        )
    card, load = ExportCard.from_json(text, path), RUNTIMES[_chosen(path, kind, options)]
    inner = FILES[kind].inner
    if inner is None:
        return ExportedNetwork(load(path, options), card, options.precision)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        return ExportedNetwork(load(Path(archive.extract(inner, folder)), options), card, options.precision)


def _chosen(path: Path, kind: str, options: RuntimeOptions) -> str:
    able = FILES[kind].runtimes
    if options.runtime not in (None, *RUNTIMES):
        raise UsageError(f"there is no runtime {options.runtime!r}; there are: {', '.join(RUNTIMES)}")
    if options.runtime not in (None, *able):
        raise UsageError(f"{path}: of the kind {kind}, which {options.runtime} does not run; {' or '.join(able)} does")
    asked = able if options.runtime is None else (options.runtime,)
    chosen = asked if options.precision == "float32" else tuple(name for name in asked if name in _REDUCE)
    if not chosen:
        raise UsageError(
            f"{path}: {' or '.join(asked)} computes in the file's own numbers, not in {options.precision}; "
            "OpenVINO does (its own files and ONNX), and PyTorch (runs and network files)"
        )
    return chosen[0]


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
    legacy = [option for option in options.given() if option not in chosen.options]
    if legacy:
        able = ", ".join(other for other, format in FORMATS.items() if set(legacy) <= format.options)
        raise UsageError(f"{name} cannot express the option {', '.join(legacy)}; {able} can")
    if chosen.fixed and options.size is None:
        raise UsageError(f"a file of the format {name} takes images of one size; give it as --size H W")
    return chosen
