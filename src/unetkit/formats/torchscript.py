"""TorchScript, for programs that take nothing newer, such as readers of bioimage.io packages. PyTorch deprecates it.

Such a file is a program: `open_exported` gives only the user's own, or trusted ones, to `load`. The card is the extra
file `unetkit.json`.
"""

import io
import warnings
from pathlib import Path
from typing import cast

import torch
from torch import jit, nn

from unetkit.devices import choose_device
from unetkit.formats.job import ExportJob, quiet
from unetkit.formats.pt2 import TorchModule
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, has_member, read_member, refused

_CARD = f"{CARD_KEY}.json"

recognises = has_member("/code/__torch__")
card = read_member(f"/extra/{_CARD}")


def write(job: ExportJob, path: Path) -> None:
    """Trace and write the network."""
    with quiet(), torch.no_grad():
        traced = cast("jit.ScriptModule", jit.trace(job.graph, job.example(), check_trace=False))  # pyright: ignore[reportUnknownMemberType] untyped
        content = io.BytesIO()  # on a full disk PyTorch's own writing ends the process
        jit.save(traced, content, _extra_files={_CARD: job.card.model_dump_json()})
    path.write_bytes(content.getbuffer())


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a program.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: not a whole program.
    """
    device = choose_device(options.device)
    try:
        with warnings.catch_warnings():
            # PyTorch deprecates TorchScript; files of it are still what some targets take.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            module = cast("nn.Module", torch.jit.load(str(path), map_location=device))  # pyright: ignore[reportUnknownMemberType] untyped
    except Exception as error:  # whatever a damaged program makes of its loader
        raise refused(path, "TorchScript", error) from None
    return TorchModule(module.eval(), device, options.threads)
