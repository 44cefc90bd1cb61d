"""Packages of AOTInductor in PyTorch: compiled for the kind of processor that they were made on.

Such a file is machine code: open only files from people you trust.

Packages of AOTInductor: the network compiled to machine code, for PyTorch in Python and in C++.

Needs a C++ compiler here; runs on processors like this one. The card is in the package's metadata.

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

import importlib
import json
import shutil
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from unetkit.devices import choose_device, cpu_threads
from unetkit.errors import UsageError
from unetkit.formats.job import ExportJob
from unetkit.formats.pt2 import program_of, quiet
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, member, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a package.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: it is no whole package, or one for another kind of machine.
    """
    device = choose_device("cpu" if options.device == "auto" else options.device)
    try:
        return _Package(path, device, options.threads)
    except Exception as error:  # whatever a damaged package makes of its loader
        raise refused(path, "AOTInductor", error) from None


class _Package:
    def __init__(self, path: Path, device: torch.device, threads: int | None) -> None:
        inductor = importlib.import_module("torch._inductor")  # documented, though its name is not public
        self._call = inductor.aoti_load_package(str(path))
        self._device, self._threads = device, threads

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        with cpu_threads(self._threads):
            return self._call(images.to(self._device))


def aoti_card(path: Path) -> str | None:
    """Return the text of the card in an AOTInductor archive; None where it has none."""
    text = member("_metadata.json")(path)
    values = json.loads(text) if text else None
    card = cast("dict[str, object]", values).get(CARD_KEY) if isinstance(values, dict) else None
    return card if isinstance(card, str) else None


def write(job: ExportJob, path: Path) -> None:
    """Compile and write a package; takes a minute or more.

    Raises:
        UsageError: there is no compiler.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UsageError("aoti compiles the network to machine code; install a C++ compiler, such as g++")
    inductor = importlib.import_module("torch._inductor")  # documented, though its name is not public
    with quiet():
        inductor.aoti_compile_and_package(
            program_of(job),
            package_path=str(path),
            inductor_configs={"aot_inductor.metadata": {CARD_KEY: job.card.model_dump_json()}},
        )
