"""Network files of unetkit itself: the weights without a training state, and their card."""

from pathlib import Path

from unetkit.errors import UsageError
from unetkit.formats.job import ExportJob
from unetkit.modelfile.card import Card
from unetkit.modelfile.checkpoint import Checkpoint


def write(job: ExportJob, path: Path) -> None:
    """Write the weights to predict with.

    Raises:
        UsageError: the network is none of ours alone.
    """
    stored = job.stored
    if stored is None:
        raise UsageError("safetensors holds the weights of one network; this is none that was read from one")
    card = Card(
        model=stored.model,
        classes=stored.classes,
        mean=stored.normalization.mean,
        std=stored.normalization.std,
        predict=stored.predict,
        objects=stored.objects,
        border=stored.border,
        step=0,
        train_seconds=0.0,
        scores=dict(stored.scores),
        data_sha256=stored.data_sha256,
        unetkit=job.card.unetkit,
    )
    Checkpoint(card=card, tensors=stored.state).save(path)
