"""A network that is served: its name, what it can give, in which files, and how a client may ask for it otherwise.

Assumes that a client is not trusted: of the keys of a prediction it may choose those that cost neither memory nor more
than eight times the time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from unetkit.config import read_override
from unetkit.errors import ConfigError, UsageError
from unetkit.objects import object_classes
from unetkit.objects.find import colour_of, method_for
from unetkit.prediction.load import LoadOptions, load, members
from unetkit.prediction.predictor import Predictor

Output = Literal["masks", "probabilities", "uncertainty", "objects"]
"""What a file holds."""

_ALLOWED = {"threshold", "tta", "calibrate", "close_gaps", "channels", "padding_mode"}
_MOST_KEYS, _LONGEST_KEY = 32, 1000

MEDIA_TYPES = {
    ".tif": "image/tiff",
    ".png": "image/png",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".zip": "application/zip",
}


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A network, ready to predict.

    Attributes:
        name: in addresses.
        predictor: as `unetkit predict` makes it.
        uncertain: the members that uncertainty is measured with.
    """

    name: str
    predictor: Predictor
    uncertain: tuple[Predictor, ...]

    @property
    def can(self) -> dict[Output, list[str]]:
        """What it gives, and the endings of the files that hold it."""
        found: dict[Output, list[str]] = {"masks": [".tif", ".png"]}
        if self.predictor.card.outputs_labels:
            return found
        found |= {"probabilities": [".tif"], "uncertainty": [".tif"]}
        if object_classes(self.predictor.classes):
            needed = {".json": "pycocotools", ".zip": "roifile"}
            suffixes = [".tif", ".json", ".geojson", ".zip", ".png"]
            found["objects"] = [one for one in suffixes if one not in needed or find_spec(needed[one]) is not None]
        return found

    @property
    def colours(self) -> list[str]:
        """Of every class, `#rrggbb`; the background has none that is drawn."""
        return ["#000000", *(f"#{bytes(colour_of(index)).hex()}" for index in range(1, len(self.predictor.classes)))]

    def described(self) -> dict[str, Any]:
        """Return what a client knows of it."""
        card, context = self.predictor.card, self.predictor.geometry.overlap
        return {
            "name": self.name,
            "classes": list(self.predictor.classes),
            "colours": self.colours,
            "channels": card.image_channels,
            "context": context,
            "can": list(self.can),
            "formats": self.can,
        }

    def asked(self, output: str, suffix: str) -> Output:
        """Return what a client asks for.

        Raises:
            UsageError: the network does not give it, or not in such a file.
        """
        for known, suffixes in self.can.items():
            if known == output:
                if suffix in suffixes:
                    return known
                raise UsageError(f"format {suffix!r}: {output} are written as {', '.join(suffixes)}")
        raise UsageError(f"output {output!r}: {self.name} gives {', '.join(self.can)}")

    def with_keys(self, keys: Sequence[str]) -> "Served":
        """Return the network used as a client asks for by texts such as "objects.threshold=0.4".

        Raises:
            ConfigError: an unknown key, an impossible value, or a key that is the server's alone.
        """
        if len(keys) > _MOST_KEYS or any(len(key) > _LONGEST_KEY or set("&*!") & set(key) for key in keys):
            raise ConfigError(
                f"found {len(keys)} keys; at most {_MOST_KEYS} of {_LONGEST_KEY} characters, without & * !, are taken"
            )
        for key in keys:
            name = read_override(key)[0].removeprefix("predict.")
            if not name.startswith("objects.") and name.split(".")[0] not in _ALLOWED:
                allowed = ", ".join(sorted(_ALLOWED))
                raise ConfigError(f"{name[:100]}: is the server's to choose; a request may give {allowed}, objects.*")
        if not keys:
            return self
        options: LoadOptions = {"overrides": list(keys)}
        predictor = self.predictor.with_options({"overrides": list(keys)})
        if object_classes(predictor.classes):
            method_for(predictor.classes, predictor.object_config)
        uncertain = tuple(load(one, options=options) for one in self.uncertain)
        return Served(self.name, predictor, uncertain)


def load_served(paths: Sequence[Path], *, device: str = "auto", options: LoadOptions | None = None) -> list[Served]:
    """Load networks under names that are their files' or folders', made fit for an address, each once.

    Raises:
        ModelFileError, UsageError, ConfigError, DeviceError: as `load`.
    """
    found = list[Served]()
    for path in paths:
        predictor = load(path, device=device, options=options).folded()
        uncertain = members(path, predictor, device=device, options=options)
        bare = (
            re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name if path.is_dir() else path.stem).strip("-.") or "net"
        )
        taken, name, number = {one.name for one in found}, bare, 2
        while name in taken:
            name, number = f"{bare}-{number}", number + 1
        found.append(Served(name, predictor, uncertain))
    return found
