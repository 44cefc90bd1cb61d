"""A network in the form of a model hub: a folder with model.safetensors and config.json.

The weights file is a checkpoint with its card and checksum, as everywhere here, and all that is needed. config.json
holds the same card for the hub and for people, so that it must not say something else.
"""

import json
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from unetkit.config.io import first_complaint
from unetkit.errors import ModelFileError
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_LIBRARY = {"library_name": "unetkit"}
_LARGEST = 2**24


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


_ADVICE = f"get both files again, or open {WEIGHTS} alone"
