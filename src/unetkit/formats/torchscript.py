"""TorchScript in PyTorch. Such a file is a program: open only files from people you trust.

TorchScript, for programs that take nothing newer, such as readers of bioimage.io packages. PyTorch deprecates it.

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

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import jit, nn

from unetkit.devices import choose_device
from unetkit.formats.job import ExportJob
from unetkit.formats.pt2 import TorchModule, quiet
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load a program.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: it is no whole program.
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


TORCHSCRIPT_CARD = f"{CARD_KEY}.json"


def write(job: ExportJob, path: Path) -> None:
    """Trace and write the network."""
    with quiet(), torch.no_grad():
        traced = cast("jit.ScriptModule", jit.trace(job.graph, job.example(), check_trace=False))  # pyright: ignore[reportUnknownMemberType] untyped
        jit.save(traced, str(path), _extra_files={TORCHSCRIPT_CARD: job.card.model_dump_json()})
