"""Exported files, ready to compute: one file a runtime, and the card that says what each file takes and gives.

`open_exported` tells a file by its content. Does not know how files are written; `exporting` does.
"""

from unetkit.runtimes.card import ExportCard
from unetkit.runtimes.exported import ExportedNetwork
from unetkit.runtimes.files import CARD_KEY, FILES, TORCHSCRIPT_CARD, ZOO_WEIGHTS, kind_of
from unetkit.runtimes.opening import RUNTIMES, open_exported
from unetkit.runtimes.pt2 import TorchModule
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, required

__all__ = [
    "CARD_KEY",
    "FILES",
    "RUNTIMES",
    "TORCHSCRIPT_CARD",
    "ZOO_WEIGHTS",
    "ExportCard",
    "ExportedNetwork",
    "Runtime",
    "RuntimeOptions",
    "TorchModule",
    "kind_of",
    "open_exported",
    "required",
]
