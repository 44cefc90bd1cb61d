"""The MindSpore course's `cfg_unet` in our terms: the zoo's unet_medical on ISBI, with fewer keys and other names.

Its `epochs` is how often the images are repeated in the one epoch that it trains.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unetkit.distributed import launched_world
from unetkit.errors import ConfigError
from unetkit.interop.configurations.counting import Count
from unetkit.interop.configurations.flags import parse_flags
from unetkit.interop.configurations.settings import Settings, checked, near, shown
from unetkit.interop.configurations.translation import Draft
from unetkit.interop.configurations.zoo import translate_settings
from unetkit.interop.configurations.zoo_keys import KEYS

SYSTEM = "the MindSpore course"
_FLAGS = {"data_url": "data_path", "train_url": "output_path"}
_ZOO_NAMES = {"epochs": "repeat", "batchsize": "batch_size"}
_SAME = (
    "lr",
    "distribute_epochs",
    "cross_valid_ind",
    "num_classes",
    "num_channels",
    "keep_checkpoint_max",
    "weight_decay",
    "loss_scale",
    "FixedLossScaleManager",
    "resume",
    "resume_ckpt",
)
_FIXED = {"model_name": "unet_medical", "crop": (388, 388), "image_size": (572, 572)}
_LABELS = {
    "model_name": "its network",
    "crop": "its crop",
    "image_size": "its size",
    "repeat": "epochs",
    "batch_size": "batchsize",
    "data_path": "--data_url",
    "output_path": "--train_url",
}


def translate(
    documents: Sequence[Mapping[str, Any]], words: Sequence[str], *, name: str, draft: Draft, count: Count
) -> None:
    """Translate a `cfg_unet` and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    theirs = {**_ZOO_NAMES, **{key: key for key in _SAME}}
    given = dict(documents[0])
    if "name" in given:
        draft.unused["name"] = f"{shown(given.pop('name'))}: its program always builds its one U-Net"
    values: dict[str, Any] = {"repeat": 400}
    for key, value in given.items():
        if key in theirs:
            values[theirs[key]] = checked(name, key, value, KEYS[theirs[key]])
        elif guess := near(key, theirs, cutoff=0.8):
            raise ConfigError(f"{name}: unknown key {shown(key)}{guess}")
        else:
            draft.unused[shown(key)] = "the course's program does not read it"
    flags = parse_flags(words, _FLAGS, name=name)
    values |= {_FLAGS[flag]: value for flag, value in flags.items()}
    settings = Settings(name, KEYS, {**values, **_FIXED, **_passes(values)}, _LABELS)
    translate_settings(settings, draft, count)
    draft.unused |= dict(settings.leftovers())


def _passes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes one pass of the repeated images, on however many processes."""
    if launched_world().size == 1:
        return {"epochs": values["repeat"]}
    repeat = values.get("distribute_epochs", KEYS["distribute_epochs"].default)
    return {"run_distribute": True, "repeat": repeat, "distribute_epochs": repeat, "epochs": repeat}
