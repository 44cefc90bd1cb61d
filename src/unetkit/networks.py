"""Whatever holds a network, read by its content: a run, a checkpoint of ours, a founding system's file or folder.

The folder of a cross-validation holds several, its members: `read_members`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from unetkit.checkpoints import Checkpoint
from unetkit.config import ModelConfig, ObjectsConfig, PredictConfig
from unetkit.data.normalize import Normalization
from unetkit.errors import ModelFileError, RunFolderError
from unetkit.interop import AdamMoments, ForeignNetwork, read_foreign, read_own_graph
from unetkit.remote import local_copy
from unetkit.runs import Run, open_run
from unetkit.runtimes import kind_of

CROSSVAL = "crossval.json"
"""The file that makes a folder that of a cross-validation: its configuration and the names of its members."""

LAST = "last.safetensors"


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network as it lies on the disk, in our terms.

    Attributes:
        model: its configuration, channels and classes included.
        state: its weights by the names of our state dict.
        normalization: what is done to pixels before it.
        classes: names, index 0 first.
        predict: how it wants to be used.
        objects: how objects are made of its probabilities.
        border: the last class is the border of objects, which the data does not have.
        moments: Adam's state, where a founding system's file has it.
        notes: what was translated, a line each.
        scores: of the validation that chose the weights, where one did.
        data_sha256: checksum of the pixels that it was trained on, where it is known.
        temperature: what its logits are divided by to make its probabilities trustworthy, where it was fitted.
    """

    model: ModelConfig
    state: dict[str, Tensor]
    normalization: Normalization
    classes: tuple[str, ...]
    predict: PredictConfig
    objects: ObjectsConfig = ObjectsConfig()
    border: bool = False
    moments: AdamMoments | None = None
    notes: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    data_sha256: str = ""
    temperature: float | None = None


def read_network(source: Run | str | Path) -> StoredNetwork:
    """Read a network from a run (its best weights), a checkpoint, or a founding system's file or folder.

    Raises:
        ModelFileError: no network is there, its file is damaged, or it was exported for a runtime.
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
    own = read_own_graph(path)
    if own is not None:
        return _of_checkpoint(own)
    if not path.is_file():
        raise ModelFileError(f"{path}: no network is there; expected a run folder, or a file such as best.safetensors")
    if kind_of(path) is not None:
        raise ModelFileError(
            f"{source}: was exported for a runtime, its weights are not read back; "
            "give the run or the checkpoint that it was made from"
        )
    return _of_checkpoint(Checkpoint.load(path))


def read_members(source: Run | str | Path) -> tuple[StoredNetwork, ...]:
    """Read the networks of all folds of a cross-validation, or the one network that anything else holds.

    The members are those of the last step: nothing was chosen on the images that they were scored on.

    Raises:
        ModelFileError, RunFolderError: as `read_network`, or a fold is not trained yet.
    """
    members = None if isinstance(source, Run) else member_folders(local_copy(source))
    if members is None:
        return (read_network(source),)
    missing = [path.name for path in members if not (path / LAST).is_file()]
    if missing:
        raise RunFolderError(
            f"{source}: {len(missing)} of {len(members)} trainings are not finished ({missing[0]}); run the same "
            "crossval command again to go on with it"
        )
    return tuple(_of_checkpoint(Checkpoint.load(path / LAST)) for path in members)


def member_folders(path: Path) -> tuple[Path, ...] | None:
    """Return the run folders of a cross-validation; None where `path` is not the folder of one.

    Raises:
        RunFolderError: its list of members is damaged.
    """
    file = path / CROSSVAL
    if not file.is_file():
        return None
    try:
        return tuple(path / str(name) for name in json.loads(file.read_text(encoding="utf-8"))["members"])
    except (ValueError, KeyError, TypeError):
        raise RunFolderError(f"{file}: is not what `unetkit crossval` wrote; bring it back") from None


def _of_checkpoint(checkpoint: Checkpoint) -> StoredNetwork:
    card = checkpoint.card
    normalization = Normalization(card.mean, card.std)
    return StoredNetwork(
        model=card.model,
        state=checkpoint.weights(),
        normalization=normalization,
        classes=card.classes,
        predict=card.predict,
        objects=card.objects,
        border=card.border,
        scores=card.scores,
        data_sha256=card.data_sha256,
        temperature=card.temperature,
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
