"""Whatever holds a network, read by its content: a run, a checkpoint of ours, a founding system's file or folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from unetkit.checkpoints import Checkpoint
from unetkit.config import ModelConfig, PredictConfig
from unetkit.data.normalize import Normalization
from unetkit.errors import ModelFileError
from unetkit.interop import AdamMoments, ForeignNetwork, read_foreign
from unetkit.remote import local_copy
from unetkit.runs import Run, open_run


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network as it lies on the disk, in our terms.

    Attributes:
        model: its configuration, channels and classes included.
        state: its weights by the names of our state dict.
        normalization: what is done to pixels before it.
        classes: names, index 0 first.
        predict: how it wants to be used.
        border: the last class is the border of objects, which the data does not have.
        moments: Adam's state, where a founding system's file has it.
        notes: what was translated, a line each.
        scores: of the validation that chose the weights, where one did.
        data_sha256: checksum of the pixels that it was trained on, where it is known.
    """

    model: ModelConfig
    state: dict[str, Tensor]
    normalization: Normalization
    classes: tuple[str, ...]
    predict: PredictConfig
    border: bool = False
    moments: AdamMoments | None = None
    notes: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    data_sha256: str = ""


def read_network(source: Run | str | Path) -> StoredNetwork:
    """Read a network from a run (its best weights), a checkpoint, or a founding system's file or folder.

    Raises:
        ModelFileError: no network is there, or its file is damaged.
        RunFolderError: a run without weights yet.
    """
    if isinstance(source, Run):
        return _of_checkpoint(Checkpoint.load(source.weights()))
    path = local_copy(source)
    if (path / "config.yaml").is_file():
        return read_network(open_run(path))
    foreign = read_foreign(path)
    if foreign is not None:
        return _of_foreign(foreign.for_rgb())
    if not path.is_file():
        raise ModelFileError(f"{path}: no network is there; expected a run folder, or a file such as best.safetensors")
    return _of_checkpoint(Checkpoint.load(path))


def _of_checkpoint(checkpoint: Checkpoint) -> StoredNetwork:
    card = checkpoint.card
    normalization = Normalization(card.mean, card.std)
    return StoredNetwork(
        card.model,
        checkpoint.weights(),
        normalization,
        card.classes,
        card.predict,
        card.border,
        scores=card.scores,
        data_sha256=card.data_sha256,
    )


# What each founding system did to 8-bit pixels: subtracted, and divided by.
_EIGHT_BIT = {"minus-one-to-one": (127.5, 127.5), "zero-to-one": (0.0, 255.0), "none": (0.0, 1.0)}


def _of_foreign(foreign: ForeignNetwork) -> StoredNetwork:
    channels, classes = foreign.network.in_channels, foreign.network.num_classes
    assert channels is not None
    assert classes is not None
    mean, std = _EIGHT_BIT[foreign.normalization]
    names = ("background", "foreground") if classes <= 2 else tuple(f"class {index}" for index in range(classes))
    return StoredNetwork(
        model=foreign.network,
        state=foreign.state,
        normalization=Normalization((mean,) * channels, (std,) * channels),
        classes=names,
        # Beyond an image all of them saw zeros. Which size they resized it to is not in the file.
        predict=PredictConfig(outside="zeros", resize="asymmetric" if foreign.system == "TensorFlow" else "half-pixel"),
        moments=foreign.moments,
        notes=foreign.notes,
    )
