"""Programs of torch.export, .pt2: for PyTorch without unetkit. The card is the extra file `unetkit`."""

from pathlib import Path

import torch

from unetkit.exporting.job import ExportJob
from unetkit.exporting.program import program_of, quiet
from unetkit.runtimes import CARD_KEY


def write(job: ExportJob, path: Path) -> None:
    """Write a program."""
    program = program_of(job)
    program.example_inputs = None  # would be stored as a pickle
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={CARD_KEY: job.card.model_dump_json()})
