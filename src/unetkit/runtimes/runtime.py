"""What every runtime is to us, and what its user may choose.

Does not know networks, cards or files' formats.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from torch import Tensor

from unetkit.errors import ModelFileError, UsageError

_LONGEST_REASON = 200


class Runtime(Protocol):
    """A file that is loaded and ready to compute."""

    def run(self, images: Tensor) -> Tensor:
        """Return the file's output for its input, both as its card says; the tensors may be on any device."""
        ...


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a file is run.

    Attributes:
        runtime: by name; None: the first that runs the file's format, in that precision.
        threads: of the CPU; None: one for every core that the process may use.
        device: as `choose_device` names it; "auto": the runtime's choice.
        precision: of the arithmetic, where the file does not settle it: float32, bfloat16 or float16.
    """

    runtime: str | None = None
    threads: int | None = None
    device: str = "auto"
    precision: str = "float32"


def required(module: str, extra: str) -> ModuleType:
    """Import a package that only some users have.

    Args:
        module: to import.
        extra: of unetkit that brings it.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UsageError(f"{package} is not installed; write: pip install 'unetkit[{extra}]'") from None


def refused(path: Path, runtime: str, error: Exception) -> ModelFileError:
    """Return the error for a file that a runtime does not load."""
    reason = " ".join(str(error).split())
    return ModelFileError(f"{path}: {runtime} does not load it ({reason[:_LONGEST_REASON]}); export it again")
