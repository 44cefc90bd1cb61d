"""Network files of unetkit itself: the weights without a training state, and their card."""

from pathlib import Path

from unetkit.formats.job import ExportJob
from unetkit.modelfile.checkpoint import Checkpoint


def write(job: ExportJob, path: Path) -> None:
    """Write the weights to predict with.

    Raises:
        UsageError: no configuration describes the network.
    """
    stored = job.stored()
    Checkpoint(card=stored.card, tensors=stored.state).write(path)
