"""Packages of AOTInductor, .pt2: the network compiled to machine code, for PyTorch in Python and in C++.

Needs a C++ compiler here; runs on processors like this one. The card is a key of the metadata next to the code. Such a
file is machine code: `open_exported` gives only the user's own, or trusted ones, to `load`.
"""

import importlib
import io
import json
import shutil
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from unetkit.devices import choose_device, cpu_threads
from unetkit.errors import UsageError
from unetkit.formats.job import ExportJob, quiet
from unetkit.formats.pt2 import program_of
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, has_member, read_member, refused

recognises = has_member("/data/aotinductor/")


def card(path: Path) -> str | None:
    """Return the text of the card in a package; None where it has none."""
    text = read_member("_metadata.json")(path)
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
    content = io.BytesIO()  # on a full disk PyTorch's own writing ends the process
    with quiet():
        inductor.aoti_compile_and_package(
            program_of(job),
            package_path=content,
            inductor_configs={"aot_inductor.metadata": {CARD_KEY: job.card.model_dump_json()}},
        )
    path.write_bytes(content.getbuffer())


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a package.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: not a whole package, or one for another kind of machine.
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
