"""From a path to a network that computes: which runtime runs a file, and that it is there.

A runtime is one function in `RUNTIMES`, a kind of file one entry of `FILES`.
"""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from unetkit.errors import ModelFileError, UsageError
from unetkit.remote import local_copy
from unetkit.runtimes import aoti, interpreter, mindspore, onnxruntime, openvino, pt2, torchscript
from unetkit.runtimes.card import ExportCard
from unetkit.runtimes.exported import ExportedNetwork
from unetkit.runtimes.files import FILES, card_text, kind_of
from unetkit.runtimes.runtime import Runtime, RuntimeOptions

RUNTIMES: dict[str, Callable[[Path, RuntimeOptions], Runtime]] = {
    "onnxruntime": onnxruntime.load,
    "openvino": openvino.load,
    "pt2": pt2.load,
    "aoti": aoti.load,
    "torchscript": torchscript.load,
    "interpreter": interpreter.load,
    "mindspore": mindspore.load,
}
"""Every runtime beside PyTorch itself, by the name that `--runtime` takes."""

_REDUCE = ("openvino",)
"""Runtimes that compute in a shorter number format on request; all others in the numbers that are in the file."""

_OTHERS_WRITE = ("onnx", "mindir", "air")
"""Kinds that a founding system writes, too: a file without our card is another reader's."""

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
