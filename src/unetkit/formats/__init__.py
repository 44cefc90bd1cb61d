"""The formats that a network is exported to and read from: one table, one file a format.

`FORMATS` says of each how it is written and with which options, by which content its files are recognised, where they
have their card, and which runtimes run them, the best first. No file is run or unpacked to be recognised:

    onnx          a protobuf message that begins with a version      metadata property `unetkit`
    openvino      an XML text with a <net>; weights are next to it   <rt_info> <unetkit value="..."/>
    aoti          an archive with compiled code                      a key in the metadata next to the code
    pt2           torch.export's archive                             archive member extra/unetkit
    torchscript   an archive with TorchScript                        archive member extra/unetkit.json
    bioimageio    an archive with rdf.yaml                           that of the ONNX file in it
    savedmodel    an archive with saved_model.pb                     archive member assets.extra/unetkit.json
    mindir        a protobuf message that begins as MindSpore's do   entry `unetkit` of user_info
    air           a protobuf message with a name and a graph         attribute `unetkit` of the model

The others are weights, which PyTorch itself runs: `prediction.load` reads them. `open_exported` opens a file in its
runtime, as an `ExportedNetwork`. A name that contradicts the content is refused, and so is a file that can run code
and is not an export of this user, unless it is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from unetkit.errors import DamagedFileError, ModelFileError, UsageError
from unetkit.formats import (
    aoti,
    bioimageio,
    foreign,
    mindspore,
    onnx,
    openvino,
    package,
    pt2,
    savedmodel,
    torchscript,
    web,
)
from unetkit.formats.fingerprint import is_own_export
from unetkit.formats.job import ExportJob, FileOptions
from unetkit.formats.package import Reproduced
from unetkit.formats.runtime import Description, ExportedNetwork, Runtime, RuntimeOptions, first_bytes, has_member
from unetkit.modelfile.card import ExportCard, Output
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.modelfile.others import content_of
from unetkit.storage import local_copy
from unetkit.storage.atomic import is_taken
from unetkit.storage.protobuf import WireError
from unetkit.storage.tree import ZIP_DAMAGE

__all__ = [
    "Description",
    "Engine",
    "ExportedNetwork",
    "FORMATS",
    "Format",
    "RUNTIMES",
    "Reproduced",
    "Runtime",
    "RuntimeOptions",
    "format_for",
    "kind_of",
    "open_exported",
    "reproduce",
    "require_name",
]


Load = Callable[[Path, str], Runtime]
"""Loads a file of the format with this name, if the options allow it."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format, both ways.

    Attributes:
        what: it is, in a few words.
        suffix: that the file's name must have; of a folder, that of the file in it.
        main: the network's file in the folder that the format is; empty: it is a file, which the user names.
        write: writes a file, and no other file but ones with the same stem next to it.
        options: names of the fields of `FileOptions` that it can express.
        output: what comes out where nothing is said.
        fixed: a file takes images of one size and number only.
        recognises: whether a file is one, by its first bytes or the members of an archive; None: a file of weights, or
            another format's by its content.
        card: gives the text of a file's card; None: the file has none.
        runtimes: names of those that run it, the best first.
        foreign: opens a file that has no card, other people's; None: there is no such file that could be run.
        shared: whether a file without a card is another reader's, a legacy system's.
        runs_code: whoever makes a file can make it run any code where it is opened.
    """

    what: str
    suffix: str
    write: Callable[[ExportJob, Path], None]
    main: str = ""
    options: frozenset[str] = frozenset()
    output: Output = "logits"
    fixed: bool = False
    recognises: Callable[[Path], bool] | None = None
    card: Callable[[Path], str | None] = lambda path: None
    runtimes: tuple[str, ...] = ()
    foreign: Callable[[Path, RuntimeOptions, Load], ExportedNetwork] | None = None
    shared: Callable[[Path], bool] = lambda path: False
    runs_code: bool = False


def _write_weights(job: ExportJob, path: Path) -> None:
    """Write the weights to predict with, and their card: a network file of unetkit's own."""
    stored = job.stored()
    Checkpoint(card=stored.card, tensors=stored.state).write(path)


_GRAPH = frozenset(("output", "layout", "preprocessing", "size", "batch"))

FORMATS: dict[str, Format] = {
    "onnx": Format(
        "ONNX, for every runtime",
        ".onnx",
        onnx.write,
        options=_GRAPH | {"opset", "half", "int8"},
        recognises=onnx.recognises,
        card=onnx.card,
        runtimes=("onnxruntime", "openvino"),
        foreign=foreign.open_onnx,
        shared=onnx.is_of_mindspore,
    ),
    "openvino": Format(
        "OpenVINO's own, the fastest on a CPU",
        ".xml",
        openvino.write,
        options=_GRAPH | {"half", "int8"},
        recognises=openvino.recognises,
        card=openvino.card,
        runtimes=("openvino",),
    ),
    "aoti": Format(
        "machine code by AOTInductor",
        ".pt2",
        aoti.write,
        options=_GRAPH,
        recognises=aoti.recognises,
        card=aoti.card,
        runtimes=("aoti",),
        runs_code=True,
    ),
    "pt2": Format(
        "a program of torch.export",
        ".pt2",
        pt2.write,
        options=_GRAPH,
        recognises=pt2.recognises,
        card=pt2.card,
        runtimes=("pt2",),
        runs_code=True,
    ),
    "torchscript": Format(
        "TorchScript, for programs that take nothing newer",
        ".pt",
        torchscript.write,
        options=_GRAPH,
        recognises=torchscript.recognises,
        card=torchscript.card,
        runtimes=("torchscript",),
        foreign=foreign.open_torchscript,
        runs_code=True,
    ),
    "bioimageio": Format(
        "a package for the BioImage Model Zoo",
        ".zip",
        bioimageio.write,
        options=frozenset(("output", "opset", "about")),
        output="softmax",
        recognises=package.recognises,
        card=package.card,
        runtimes=("onnxruntime", "openvino", "torchscript"),
        foreign=package.open_network,
    ),
    "savedmodel": Format(
        "SavedModel, for TensorFlow: a .zip of its folder",
        ".zip",
        savedmodel.write,
        options=_GRAPH,
        fixed=True,
        recognises=savedmodel.recognises,
        card=savedmodel.card,
        runtimes=("tensorflow",),
        runs_code=True,
    ),
    "mindir": Format(
        "MindIR, for MindSpore",
        ".mindir",
        mindspore.mindir_writer("ResizeBilinearV2"),
        options=_GRAPH,
        fixed=True,
        recognises=mindspore.is_graph("mindir"),
        card=mindspore.card,
        runtimes=("interpreter", "mindspore"),
        shared=lambda path: True,
    ),
    "mindir-lite": Format(
        "MindIR, for MindSpore Lite and MindSpore 2.0",
        ".mindir",
        mindspore.mindir_writer("ResizeBilinear"),
        options=_GRAPH,
        fixed=True,
    ),
    "air": Format(
        "AIR, for Ascend; never run on one",
        ".air",
        mindspore.write_air,
        options=_GRAPH,
        fixed=True,
        recognises=mindspore.is_graph("air"),
        card=mindspore.card,
        runtimes=("interpreter",),
        shared=lambda path: True,
    ),
    "mindspore-ckpt": Format("the weights, for MindSpore's model zoo", ".ckpt", mindspore.write_checkpoint),
    "safetensors": Format("the weights, for unetkit", ".safetensors", _write_weights),
    "web": Format("a folder with a page that needs no server", ".onnx", web.write, main="model.onnx"),
}


@dataclass(frozen=True, slots=True)
class Engine:
    """A runtime.

    Attributes:
        load: makes a file of a format that it runs ready to compute.
        any_precision: it computes in a shorter type on request; all others in the types that are in the file.
    """

    load: Callable[[Path, RuntimeOptions], Runtime]
    any_precision: bool = False


RUNTIMES: dict[str, Engine] = {
    "onnxruntime": Engine(onnx.load),
    "openvino": Engine(openvino.load, any_precision=True),
    "pt2": Engine(pt2.load),
    "aoti": Engine(aoti.load),
    "torchscript": Engine(torchscript.load),
    "interpreter": Engine(mindspore.load_interpreter),
    "mindspore": Engine(mindspore.load),
    "tensorflow": Engine(savedmodel.load),
}
"""Every runtime but PyTorch itself, by the name that `--runtime` takes."""


def format_for(name: str, out: Path, options: FileOptions) -> Format:
    """Return the format of a name.

    Raises:
        UsageError: there is no such format, it cannot express an option, the file's name has another suffix, or the
            folder is another's.
    """
    chosen = FORMATS.get(name)
    if chosen is None:
        raise UsageError(f"there is no format {name!r}; there are: {', '.join(FORMATS)}")
    if chosen.main:
        if is_taken(out) and not (out / chosen.main).exists():
            raise UsageError(f"{out}: is there, and is no folder of the format {name}; choose a new or empty folder")
    elif out.suffix.lower() != chosen.suffix:
        raise UsageError(f"{out}: a file of the format {name} is called FILE{chosen.suffix}; choose such a name")
    if beyond := sorted(options.given() - chosen.options):
        able = ", ".join(other for other, format in FORMATS.items() if format.options.issuperset(beyond))
        raise UsageError(f"{name} cannot express the option {', '.join(beyond)}; {able} can")
    if chosen.fixed and options.size is None:
        raise UsageError(f"a file of the format {name} takes images of one size; give it as --size H W")
    return chosen


def kind_of(path: Path) -> str | None:
    """Return the name of the format that a file or a package's folder is recognised as; None for all else.

    Raises:
        ModelFileError: the file cannot be read.
    """
    if path.is_dir():
        return "bioimageio" if package.recognises(path) else None
    if not path.is_file():
        return None
    try:
        return next((name for name, one in FORMATS.items() if one.recognises and one.recognises(path)), None)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


SUFFIXES: dict[str, tuple[str, ...]] = {
    **{name: (one.suffix,) for name, one in FORMATS.items() if one.recognises is not None},
    "torchscript": (".pt", ".pth"),
    "safetensors": (".safetensors",),
    "PyTorch checkpoint": (".pt", ".pth", ".ckpt"),
    "other checkpoint": (".pt", ".pth", ".ckpt", ".safetensors"),
}
"""Every kind of file, told by its content, with the suffixes that it may have; other checkpoints: what the readers of
weights tell apart, or refuse as damaged."""

_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def require_name(path: Path, kind: str | None) -> None:
    """Make sure that a file's name does not contradict its content; of `kind`, as `kind_of` returns it.

    A suffix that no kind has is enough for a file that cannot run code.

    Raises:
        ModelFileError: the name of another kind, or one that does not tell that the file can run code.
    """
    if not path.is_file():
        return
    start, suffix = first_bytes(path, 9), path.suffix.lower()
    weights = "other checkpoint"
    if start[5:] == b"\0\0\0{":  # the end of the header's length, and the header's brace
        weights = "safetensors"
    elif start[:1] == b"\x80" or has_member("/data.pkl")(path):
        weights = "PyTorch checkpoint"
    # A file called .air is taken for one by its name, unless its content is known better.
    found = weights if kind is None or (kind == "air" and weights != "other checkpoint") else kind
    runs_code = kind is not None and FORMATS[kind].runs_code
    if suffix in SUFFIXES[found] or (suffix not in _SUFFIXES and not runs_code):
        return
    if found == "other checkpoint" and (what := content_of(path)) is not None:
        raise ModelFileError(f"{path}: holds no network: it is {what}")
    if found == "other checkpoint":
        raise ModelFileError(f"{path}: its content is not that of a {suffix} file; copy it again, or give another file")
    raise ModelFileError(
        f"{path}: its content is of the kind {found}, which contradicts its name; if you expected that kind, call it "
        f"FILE{SUFFIXES[found][0]}"
    )


DEFAULT = RuntimeOptions()


def open_exported(path: str | Path, options: RuntimeOptions = DEFAULT) -> ExportedNetwork | None:
    """Load an exported file, recognised by its content; None for anything else.

    Args:
        path: of the file.
        options: which runtime, how many threads, which device and precision, and whether the file is trusted.

    Raises:
        ModelFileError: cut short, without unetkit's card, with a name of another kind, able to run code and neither
            this user's export nor trusted, or refused by the runtime.
        UsageError: a runtime that does not run such files, or is not installed.
        DeviceError: a device that the runtime does not have, or a precision that the device does not have.
    """
    path = local_copy(path)
    kind = kind_of(path)
    if kind is None:
        return None
    require_name(path, kind)
    try:
        text = FORMATS[kind].card(path)
    except (WireError, ElementTree.ParseError, *ZIP_DAMAGE) as error:
        raise DamagedFileError(f"{path}: a damaged {kind} file ({error}); copy it again or export again") from None
    if text is None and FORMATS[kind].shared(path):
        return None
    load = partial(_load, options)
    if text is None:
        others = FORMATS[kind].foreign
        if others is None:
            raise ModelFileError(
                f"{path}: a file of the kind {kind} without unetkit's card; expected one that `unetkit export` wrote, "
                "or other people's ONNX, TorchScript, or package of bioimage.io"
            )
        return others(path, options, load)
    if options.description != Description():
        raise UsageError(
            f"{path}: unetkit wrote it, and it says all of itself; leave out --classes, --normalization, --multiple, "
            "--size, --activation and --output, which are for other people's files"
        )
    card = ExportCard.from_json(text, path)
    runtime = package.own_weights(path, load) if kind == "bioimageio" else load(path, kind)
    return ExportedNetwork(runtime, card, options.precision)


def reproduce(path: str | Path, options: RuntimeOptions = DEFAULT) -> tuple[Reproduced, ...] | None:
    """Run a package of bioimage.io on its own test tensors; None for any other file.

    Raises:
        ModelFileError, UsageError, DeviceError: as `open_exported`, or there are no test tensors.
    """
    path = local_copy(path)
    return package.reproduce(path, options, partial(_load, options)) if kind_of(path) == "bioimageio" else None


def _load(options: RuntimeOptions, path: Path, kind: str) -> Runtime:
    """Load a file of a kind in its runtime."""
    load = RUNTIMES[_runtime_for(path, kind, options)].load
    if FORMATS[kind].runs_code and not options.trust and not is_own_export(path):
        raise ModelFileError(
            f"{path}: of the kind {kind}, which can run code when it is opened, and not an unchanged export of yours "
            "(it lacks the fingerprint of your key); give --trust if you trust whoever made it, export the network "
            "again, or use ONNX or safetensors, which cannot run code"
        )
    return load(path, options)


def _runtime_for(path: Path, kind: str, options: RuntimeOptions) -> str:
    able = FORMATS[kind].runtimes
    if options.runtime not in (None, *RUNTIMES):
        raise UsageError(f"there is no runtime {options.runtime!r}; there are: {', '.join(RUNTIMES)}")
    if options.runtime not in (None, *able):
        raise UsageError(f"{path}: of the kind {kind}, which {options.runtime} does not run; {' or '.join(able)} does")
    asked = able if options.runtime is None else (options.runtime,)
    chosen = [name for name in asked if options.precision == "float32" or RUNTIMES[name].any_precision]
    if not chosen:
        raise UsageError(
            f"{path}: {' or '.join(asked)} computes in the types that are in the file, not in {options.precision}; "
            "OpenVINO does (its own files and ONNX), and PyTorch (runs and network files)"
        )
    return chosen[0]
