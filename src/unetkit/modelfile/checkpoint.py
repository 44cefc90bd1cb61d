"""Network files: safetensors with a card of what they hold and a checksum over all of it. No code can hide in them.

The tensors under plain names are the weights to predict with, named as in the module's state dict. A checkpoint of a
running training has more, under `training/`: what is needed to go on exactly where it stopped.

A model hub has a folder with such a file, model.safetensors, and config.json, which holds the same card for the hub and
for people, so that it must not say something else.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] untyped
from torch import Tensor

from unetkit.config.io import first_complaint
from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.modelfile.card import ModelCard, StoredNetwork
from unetkit.modelfile.others import content_of, unknown_weights
from unetkit.storage.atomic import atomic_path

TRAINING = "training/"


class Checkpoint(BaseModel):
    """A network file in memory: its card, its tensors on the CPU, and the scalars of the training state."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    card: ModelCard
    tensors: dict[str, Tensor]
    state: dict[str, Any] = {}

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors to predict with, by their names in the module's state dict."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(TRAINING)}

    def training(self, group: str) -> dict[str, Tensor]:
        """Return the tensors of one group of the training state, such as "weights", by their names in the group."""
        prefix = f"{TRAINING}{group}/"
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}

    @property
    def network(self) -> StoredNetwork:
        """The network to predict with."""
        return StoredNetwork(self.card, self.weights())

    def with_card(self, card: ModelCard) -> Self:
        """Return the checkpoint of the same network with another card."""
        return self.model_copy(update={"card": card})

    def for_prediction(self) -> Self:
        """Return the checkpoint without the training state."""
        return self.model_copy(update={"tensors": self.weights(), "state": {}})

    def save(self, path: Path) -> None:
        """Write the file whole.

        Raises:
            StorageError: the disk did not take it; an older file at `path` is untouched.
        """
        with atomic_path(path) as temporary:
            self.write(temporary)

    def write(self, path: Path) -> None:
        """Write to a file that nobody takes for whole yet.

        Raises:
            OSError: the disk did not take it.
        """
        tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in self.tensors.items()}
        metadata = {"card": self.card.model_dump_json(), "state": json.dumps(self.state)}
        metadata["sha256"] = digest(tensors, metadata)
        try:
            save_file(tensors, path, metadata)
        except SafetensorError as error:
            found = re.search(r"\(os error (\d+)\)", str(error))
            raise OSError(*((int(found[1]), os.strerror(int(found[1]))) if found else (str(error),))) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file and check its sum.

        Raises:
            ModelFileError: not a network file of unetkit.
            DamagedFileError: cut short or changed since it was written.
        """
        try:
            with safe_open(path, framework="pt", device="cpu") as file:  # pyright: ignore[reportUnknownVariableType] untyped
                opened = cast(_Opened, file)
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 not a dict
                metadata = dict(opened.metadata() or {})
        except (SafetensorError, OSError, ValueError) as error:
            if (what := content_of(path)) is not None:
                raise ModelFileError(f"{path}: holds no network: it is {what}") from None
            raise DamagedFileError(
                f"{path}: not a whole safetensors file, nor of another kind that is read ({error}); use another file"
            ) from None
        if "card" not in metadata or "sha256" not in metadata:
            raise ModelFileError(f"{path}: a safetensors file without unetkit's card: {unknown_weights(tensors)}")
        found = metadata.pop("sha256")
        if digest(tensors, metadata) != found:
            raise DamagedFileError(f"{path}: damaged: its content does not match its checksum; use another checkpoint")
        try:
            card = ModelCard.model_validate_json(metadata["card"])
        except ValidationError as error:
            complaint = first_complaint(error)
            raise ModelFileError(f"{path}: its card is of another version of unetkit ({complaint})") from None
        if card.model is None:
            raise ModelFileError(f"{path}: its card describes no network; expected a checkpoint that unetkit wrote")
        try:
            state = json.loads(metadata.get("state", "{}"))
            return cls.model_validate({"card": card, "tensors": tensors, "state": state})
        except (ValueError, RecursionError):
            raise DamagedFileError(f"{path}: its training state is not JSON's; use another checkpoint") from None


class _Opened(Protocol):
    """What the untyped reader of safetensors offers."""

    def keys(self) -> list[str]: ...

    def get_tensor(self, name: str) -> Tensor: ...

    def metadata(self) -> dict[str, str] | None: ...


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the checksum over tensors and metadata that a file holds."""
    sha256 = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


WEIGHTS, CONFIG = "model.safetensors", "config.json"
_LIBRARY = {"library_name": "unetkit"}
_LARGEST = 2**24  # bytes of config.json
_ADVICE = f"get both files again, or open {WEIGHTS} alone"


def write_hub_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Write both files into a folder that is not whole yet.

    Raises:
        StorageError, OSError: the disk did not take them.
    """
    checkpoint.for_prediction().save(folder / WEIGHTS)
    content = _LIBRARY | checkpoint.card.model_dump(mode="json")
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_hub_files(folder: Path) -> Checkpoint | None:
    """Read the network of such a folder; None for any other path.

    Raises:
        ModelFileError: config.json is not what the weights file says of itself, or one of both is damaged.
    """
    weights, config = folder / WEIGHTS, folder / CONFIG
    if not (weights.is_file() and config.is_file()):
        return None
    checkpoint = Checkpoint.load(weights)
    try:
        if config.stat().st_size > _LARGEST:
            raise ValueError("too large")
        content = json.loads(config.read_text(encoding="utf-8"))
        said = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        card = ModelCard.model_validate_json(json.dumps({key: said[key] for key in said if key not in _LIBRARY}))
    except ValidationError as error:
        raise ModelFileError(f"{config}: not the card of a network ({first_complaint(error)}); {_ADVICE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{config}: cannot be read ({error}); {_ADVICE}") from None
    if changed := [key for key in ModelCard.model_fields if getattr(card, key) != getattr(checkpoint.card, key)]:
        raise ModelFileError(f"{config}: says something else of {changed[0]} than {WEIGHTS} itself; {_ADVICE}")
    return checkpoint
