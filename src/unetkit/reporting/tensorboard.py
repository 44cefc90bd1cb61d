"""The course of a run for TensorBoard: the scalars of its log, and the pictures of its report.

log.jsonl is the truth. When a run goes on, its event files are written anew from the log and then grow with it, so that
no step that was done again appears twice. Does not know what a score means.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
from PIL import Image

from unetkit.errors import UsageError
from unetkit.run import Record, Run

Follow = Callable[[Record], None]
"""Takes every line of the log when it is written."""


def require_tensorboard() -> None:
    """Make sure that TensorBoard's writer is there.

    Raises:
        UsageError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise UsageError("train.tensorboard needs a package that is missing; pip install 'unetkit[tensorboard]'")


@contextmanager
def followed(run: Run, *, wanted: bool) -> Generator[Follow]:
    """Give what takes the lines of the log to RUN/tensorboard, those that are there already included.

    Args:
        run: its log must not hold steps that will be done again.
        wanted: else nothing is written and nothing imported.
    """
    if not wanted:
        yield lambda record: None
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    shutil.rmtree(run.tensorboard, ignore_errors=True)
    with SummaryWriter(run.tensorboard) as writer:

        def follow(record: Record) -> None:
            part = "training" if "loss" in record else "validation"
            for name, value in record.items():
                if name != "step":
                    writer.add_scalar(f"{part}/{name}", value, record["step"])

        for record in run.read_log():
            follow(record)
        yield follow


def show_pictures(run: Run) -> None:
    """Add the pictures of the report, at the last step of the log; where the writer is missing, add nothing."""
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    step = max((record["step"] for record in run.read_log()), default=0)
    with SummaryWriter(run.tensorboard) as writer:
        for path in sorted(run.pictures.glob("*.png")):
            writer.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")
