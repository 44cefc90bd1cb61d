"""An exported file as a network: normalised images in, logits out, whatever the file itself takes and gives.

What the file does beyond that is undone: probabilities become their logarithms, whose softmax they are; class indices
become logits so far apart that their softmax is 0 and 1. A file of one size gets smaller images with their last row and
column repeated; a file of one batch gets its last batch filled up.

Legend of shapes: N images, C channels, K classes, H height, W width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.errors import DataError, UsageError
from unetkit.runtimes.card import ExportCard
from unetkit.runtimes.runtime import Runtime

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
    def numbers(self) -> tuple[str, ...]:
        """What it computes with: float32, or the file's own numbers and those that the rest is reduced to."""
        short = dict.fromkeys(name for name in (self.card.numbers, self.precision) if name != "float32")
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
