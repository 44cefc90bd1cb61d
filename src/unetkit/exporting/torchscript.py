"""TorchScript, for programs that take nothing newer, such as readers of bioimage.io packages. PyTorch deprecates it."""

from pathlib import Path
from typing import cast

import torch
from torch import jit

from unetkit.exporting.job import ExportJob
from unetkit.exporting.program import quiet
from unetkit.runtimes import TORCHSCRIPT_CARD


def write(job: ExportJob, path: Path) -> None:
    """Trace and write the network."""
    with quiet(), torch.no_grad():
        traced = cast("jit.ScriptModule", jit.trace(job.graph, job.example(), check_trace=False))  # pyright: ignore[reportUnknownMemberType] untyped
        jit.save(traced, str(path), _extra_files={TORCHSCRIPT_CARD: job.card.model_dump_json()})
