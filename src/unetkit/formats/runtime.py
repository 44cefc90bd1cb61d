"""What every runtime is to us, and what its user may choose.

Does not know networks, cards or files' formats.

An exported file as a network: normalised images in, logits out, whatever the file itself takes and gives.

What the file does beyond that is undone: probabilities become their logarithms, whose softmax they are; class indices
become logits so far apart that their softmax is 0 and 1. A file of one size gets smaller images with their last row and
column repeated; a file of one batch gets its last batch filled up.

Legend of shapes: N images, C channels, K classes, H height, W width.

Exported files, told by their content, and the card that each carries. No file is run for that, nothing is unpacked.

    onnx          a protobuf message that begins with a version      metadata property `unetkit`
    openvino      an XML text with a <net>; its weights lie beside   <rt_info> <unetkit value="..."/>
    pt2           torch.export's archive                             archive member extra/unetkit
    aoti          an archive with compiled code                      a key in the metadata beside the code
    torchscript   an archive with TorchScript                        archive member extra/unetkit.json
    bioimageio    an archive with rdf.yaml                           that of the ONNX file in it
    mindir        a protobuf message that begins as MindSpore's do   entry `unetkit` of user_info
    air           a protobuf message with a name and a graph         attribute `unetkit` of the model

Does not know how any of them is computed.
"""

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.errors import DataError, ModelFileError, UsageError
from unetkit.modelfile.card import ExportCard

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


_CERTAIN = 200.0  # the exponential of its negative is 0 in float32


@dataclass(frozen=True, slots=True, eq=False)
class ExportedNetwork:
    """A callable that a Predictor takes as its network.

    Attributes:
        runtime: the loaded file.
        card: what the file says of itself.
        precision: that the runtime was asked to compute in.
    """

    runtime: Runtime
    card: ExportCard
    precision: str = "float32"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What it computes with: float32, or the file's own numbers and those that the rest is reduced to."""
        short = dict.fromkeys(name for name in (self.card.dtype, self.precision) if name != "float32")
        return tuple(short) or ("float32",)

    @property
    def bytes_per_pixel(self) -> float | None:
        """The memory that one pixel of a call takes, roughly; None: not known."""
        return self.card.bytes_per_pixel

    def __call__(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits [N, K, H - 2 margin, W - 2 margin] of float32 images [N, C, H, W].

        The images are normalised as `card.normalization` says: not at all where the file does it.

        Raises:
            UsageError: larger images than a file of one size takes.
            DataError: pixels that are no whole numbers of 8 bits, of a file that takes no others.
        """
        height, width = (self.card.geometry.valid_output_size(size) for size in x_NCHW.shape[2:])
        step = self.card.batch or len(x_NCHW)
        batches = (x_NCHW[start : start + step] for start in range(0, len(x_NCHW), step))
        answers = [self._logits(self.outputs(self._filled(batch_NCHW))) for batch_NCHW in batches]
        return torch.cat(answers)[: len(x_NCHW), :, :height, :width]

    def outputs(self, x_NCHW: Tensor) -> Tensor:
        """Return what the file itself gives for images of a size and number that it takes."""
        if self.card.input == "uint8":
            x_NCHW = _whole(x_NCHW)
        images = x_NCHW.movedim(1, -1) if self.card.layout == "nhwc" else x_NCHW
        return self.runtime.run(images.contiguous())

    def _filled(self, x_NCHW: Tensor) -> Tensor:
        """Return the images with rows, columns and images repeated up to the size and number that the file takes."""
        height, width = self.card.size or x_NCHW.shape[2:]
        below, right = height - x_NCHW.shape[2], width - x_NCHW.shape[3]
        if min(below, right) < 0:
            found = f"{x_NCHW.shape[2]} x {x_NCHW.shape[3]}"
            raise UsageError(f"found an image of {found} px; the file takes {height} x {width} at most")
        if below or right:
            x_NCHW = F.pad(x_NCHW, (0, right, 0, below), mode="replicate")
        missing = (self.card.batch or len(x_NCHW)) - len(x_NCHW)
        return torch.cat([x_NCHW, x_NCHW[-1:].expand(missing, -1, -1, -1)]) if missing else x_NCHW

    def _logits(self, output: Tensor) -> Tensor:
        if self.card.output == "argmax":
            one_hot_NHWK = F.one_hot(output.long(), len(self.card.classes))
            return one_hot_NHWK.movedim(-1, 1) * _CERTAIN
        logits_NKHW = output.movedim(-1, 1) if self.card.layout.endswith("nhwc") else output
        return logits_NKHW.float().log() if self.card.output == "softmax" else logits_NKHW.float()


def _whole(pixels: Tensor) -> Tensor:
    small = pixels.clamp(0, 255).to(torch.uint8)
    if not torch.equal(small.to(pixels.dtype), pixels):
        low, high = pixels.aminmax()
        raise DataError(
            f"this file takes pixels of 8 bits; found values from {float(low):g} to {float(high):g}, or fractions; "
            "give images as those of the training were stored, or export without --with-preprocessing"
        )
    return small


CARD_KEY = "unetkit"
"""Under this name a file's metadata hold the card."""


def members(path: Path) -> list[str]:
    """Return the names in a zip archive; none for any other file."""
    if head(path, 2) != b"PK":
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return []


def has(part: str) -> Callable[[Path], bool]:
    """Return a test whether a name in an archive contains this part."""
    return lambda path: any(part in name for name in members(path))


def member(ending: str) -> Callable[[Path], str | None]:
    """Return a reader of the archive member whose name ends so."""

    def read(path: Path) -> str | None:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith(ending)), None)
            return None if name is None else archive.read(name).decode()

    return read


def head(path: Path, size: int) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)
