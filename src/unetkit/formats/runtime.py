"""What a runtime is to unetkit, and an exported file in one as a network: normalised images in, logits out.

What the file does beyond that is undone: probabilities become their logarithms, whose softmax they are; class indices
become logits so far apart that their softmax is 0 and 1. A file of one size gets smaller images with their last row and
column repeated; a file of one batch gets its last batch filled up. Does not know any single format.

Legend of shapes: N images, C channels, K classes, H height, W width.
"""

import importlib
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from unetkit.errors import DataError, ModelFileError, UsageError
from unetkit.modelfile.card import ExportCard
from unetkit.storage.tree import ZIP_DAMAGE, read_entry

_LONGEST_REASON = 200


class Runtime(Protocol):
    """A file that is loaded and ready to compute."""

    def run(self, images: Tensor) -> Tensor:
        """Return the file's output for its input, both as its card says; the tensors may be on any device."""
        ...


class GraphRuntime(Runtime, Protocol):
    """A runtime that gives all outputs of a graph."""

    def run_all(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return all outputs, in their order."""
        ...


Activation = Literal["none", "sigmoid", "softmax"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


@dataclass(frozen=True, slots=True)
class Description:
    """What the user says of other people's file, because it does not say it itself.

    Attributes:
        classes: names, index 0 first; empty: not said.
        normalization: what is done to pixels; a key of `foreign.NORMALIZATIONS`, or numbers.
        multiple: pixels; sides that are multiples of it go in.
        size: the only height and width that go in.
        activation: what makes probabilities of the output; none: they are some.
        output: the name of the output that has the classes, where there are several.
    """

    classes: tuple[str, ...] = ()
    normalization: str | None = None
    multiple: int | None = None
    size: tuple[int, int] | None = None
    activation: Activation | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a file is run.

    Attributes:
        runtime: by name; None: the first that runs the file's format, in that precision.
        threads: of the CPU; None: one for every core that the process may use.
        device: as `choose_device` names it; "auto": the runtime's choice.
        precision: of the arithmetic, where the file does not settle it: float32, bfloat16 or float16.
        trust: open a file that can run code even where it is not an export of this user.
        description: of other people's file.
    """

    runtime: str | None = None
    threads: int | None = None
    device: str = "auto"
    precision: str = "float32"
    trust: bool = False
    description: Description = Description()


def required(module: str, extra: str) -> ModuleType:
    """Import a package that only some users have; runtimes are kept from telling their makers that they are used.

    Args:
        module: to import.
        extra: of unetkit that brings it.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NNCF_CI", "1")
    # OpenVINO's import sends a message by this package, but does without where it is missing.
    cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UsageError(f"{package} is not installed; write: pip install 'unetkit[{extra}]'") from None


def reason(error: Exception) -> str:
    """Return the beginning of what a runtime says of its failure, as one line."""
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__


def refused(path: Path, runtime: str, error: Exception) -> ModelFileError:
    """Return the error for a file that a runtime does not load."""
    return ModelFileError(
        f"{path}: {runtime} does not load it ({reason(error)}); export it again, or get it again from its makers"
    )


_CERTAIN = 200.0  # the exponential of its negative is 0 in float32


@dataclass(frozen=True, slots=True, eq=False)
class ExportedNetwork:
    """A callable that a Predictor takes as its network.

    Attributes:
        runtime: the loaded file.
        card: what the file says of itself.
        precision: that the runtime was asked to compute in.
        prepare: what is done to the pixels [C, H, W] of a whole image, as stored, before anything else; None: nothing.
        notes: sentences on how other people's file was understood.
        foreign: the file is not unetkit's, and its card was made of what it and the user say.
    """

    runtime: Runtime
    card: ExportCard
    precision: str = "float32"
    prepare: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None
    notes: tuple[str, ...] = ()
    foreign: bool = False

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What it computes in: float32, or the file's own type and the one that the rest is reduced to."""
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
            DataError: pixels that are not whole numbers of 8 bits, for a file that takes no others.
            ModelFileError: the file does not compute what its card says.
        """
        count, _, height, width = x_NCHW.shape
        out_height, out_width = (self.card.geometry.valid_output_size(side) for side in (height, width))
        if self.card.size is not None:
            below, right = self.card.size[0] - height, self.card.size[1] - width
            if min(below, right) < 0:
                most = " x ".join(map(str, self.card.size))
                raise UsageError(f"found an image of {height} x {width} px; the file takes {most} at most")
            if below or right:
                x_NCHW = F.pad(x_NCHW, (0, right, 0, below), mode="replicate")
        batch, answers = self.card.batch or count, list[Tensor]()
        for start in range(0, count, batch):
            part_NCHW = x_NCHW[start : start + batch]
            if missing := batch - len(part_NCHW):
                part_NCHW = torch.cat([part_NCHW, part_NCHW[-1:].expand(missing, -1, -1, -1)])
            answers.append(self._logits(part_NCHW, out_height, out_width))
        return torch.cat(answers)[:count]

    def _logits(self, x_NCHW: Tensor, height: int, width: int) -> Tensor:
        """Return the logits of images of a size and number that the file takes, cut to their upper left corner."""
        if self.card.uint8_input:
            x_NCHW = _as_uint8(x_NCHW)
        images = (x_NCHW.movedim(1, -1) if self.card.layout == "nhwc" else x_NCHW).contiguous()
        try:
            output, classes = self.runtime.run(images), len(self.card.classes)
        except Exception as error:  # every runtime fails in its own way
            if self.foreign and isinstance(error, UsageError):
                raise
            says, advice = "its card says it takes", "export it again"
            if self.foreign:
                says, advice = "fit what is said of it", "give another --multiple, or --size H W"
            raise ModelFileError(
                f"the file does not compute images of {tuple(images.shape)}, which {says} ({reason(error)}); {advice}"
            ) from error
        inside = tuple(self.card.geometry.valid_output_size(side) for side in x_NCHW.shape[2:])
        if self.card.outputs_labels:
            if tuple(output.shape[1:]) == inside and 0 <= int(output.min()) <= int(output.max()) < classes:
                return F.one_hot(output.long(), classes).movedim(-1, 1)[:, :, :height, :width] * _CERTAIN
        elif output.ndim == 4:
            logits_NKHW = output.movedim(-1, 1) if self.card.layout.endswith("nhwc") else output
            single = self.card.output == "logits" and classes == 2 and logits_NKHW.shape[1] == 1
            if tuple(logits_NKHW.shape[2:]) == inside and (single or logits_NKHW.shape[1] == classes):
                logits_NKHW = logits_NKHW[:, :, :height, :width].float()
                return logits_NKHW.log() if self.card.output == "softmax" else logits_NKHW
        raise ModelFileError(
            f"the file gives {self.card.output} of shape {tuple(output.shape)} for images of {tuple(images.shape)}, "
            f"which are not those of {classes} classes and a margin of {self.card.geometry.margin} px, as "
            f"{'is said of it; name its --classes' if self.foreign else 'its card says; export it again'}"
        )


def _as_uint8(pixels: Tensor) -> Tensor:
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


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(count)


def has_member(part: str) -> Callable[[Path], bool]:
    """Return a test whether a file is a zip archive with a member whose name contains this part."""

    def test(path: Path) -> bool:
        if first_bytes(path, 2) != b"PK":
            return False
        try:
            with zipfile.ZipFile(path) as archive:
                return any(part in name for name in archive.namelist())
        except ZIP_DAMAGE:
            return False

    return test


_LARGEST_CARD = 2**24


def read_member(ending: str) -> Callable[[Path], str | None]:
    """Return a reader of the archive member whose name ends so, a text of 16 MB at most; None where there is none."""

    def read(path: Path) -> str | None:
        content = member_of(path, ending, _LARGEST_CARD)
        return None if content is None else content.decode()

    return read


def member_of(path: Path, ending: str, at_most: int | None = None) -> bytes | None:
    """Return the first archive member whose name ends so; None where there is none.

    Raises:
        ModelFileError: it is damaged, or larger than `at_most` bytes (None: `limits.MOST_BYTES`).
    """
    with zipfile.ZipFile(path) as archive:
        entry = next((entry for entry in archive.infolist() if entry.filename.endswith(ending)), None)
        try:
            return None if entry is None else read_entry(archive, entry, f"{path}/{entry.filename}", at_most)
        except DataError as error:
            raise ModelFileError(str(error)) from None
