"""Is what was written what was meant? The file, loaded in its runtime, against PyTorch on the same images.

A difference is measured in the output of the file: the largest absolute one, and the same relative to the largest
output. For class indices it is how much less likely, in logits, the file's class is than the best: 0 where all agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unetkit.errors import ParityError
from unetkit.formats import ExportedNetwork
from unetkit.formats.job import Image, Pipeline, noise
from unetkit.formats.runtime import reason
from unetkit.modelfile.card import ExportCard

BOUNDS = {"float32": 5e-5, "float16": 2e-2, "bfloat16": 0.1, "int8": float("inf")}
"""The largest relative difference that is still the same network, by the type that it computes in."""

_LARGEST_REAL = 256
_LEAST_OUTPUT = 1e-2
"""The single logit of an image of one pixel may be near 0 by chance, where any rounding is large against it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        images: what was shown: "noise" or the name of an image.
        shape: of the input.
        absolute: the largest absolute difference.
        relative: the same, over the largest absolute output, or over 0.01 where that is less.
    """

    images: str
    shape: tuple[int, ...]
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Parity:
    """All comparisons of a file, and the bound that held."""

    cases: tuple[Case, ...]
    bound: float

    @property
    def absolute(self) -> float:
        """The largest absolute difference."""
        return max(case.absolute for case in self.cases)

    @property
    def relative(self) -> float:
        """The largest relative difference."""
        return max(case.relative for case in self.cases)


def compare(exported: ExportedNetwork, reference: Pipeline, real: Sequence[Image] = ()) -> Parity:
    """Compare a file with PyTorch on noise and on real images, of sizes and numbers that it takes.

    Args:
        exported: the loaded file.
        reference: what it should compute.
        real: names and pixels [C, H, W] as stored.

    Raises:
        ParityError: they differ by more than the bound of its type.
    """
    shown = [*_noise_for(exported.card), *real_inputs(exported.card, real)]
    cases = tuple(_measure(name, images, exported, reference) for name, images in shown)
    parity = Parity(cases, max(BOUNDS[dtype] for dtype in exported.dtypes))
    if not parity.relative <= parity.bound:  # NaN is no parity either
        worst = max(cases, key=lambda case: case.relative)
        raise ParityError(
            f"the file computes something else than PyTorch: they differ by {worst.absolute:.2g} "
            f"({worst.relative:.2g} relative, at most {parity.bound:g} is allowed) on {worst.images} {worst.shape}"
        )
    return parity


def _noise_for(card: ExportCard) -> Iterator[tuple[str, Tensor]]:
    """Yield noise of the file's size, or of sizes that fit and sizes that are no multiple of anything."""
    geometry, counts = card.geometry, (card.batch,) * 4 if card.batch else (1, 3, 2, 1)
    least, fits = 2 * geometry.margin + 1, geometry.fitting_input_size(1)
    sides = ((fits, fits), (fits + 1, 2 * fits + 5), (2 * fits + geometry.multiple + 3, fits + 2), (least, least))
    for count, (height, width) in zip(counts, sides, strict=True):
        yield "noise", noise(card, count, *(card.size or (height, width)))
        if card.size and card.batch:
            return


def real_inputs(card: ExportCard, real: Sequence[Image]) -> Iterator[tuple[str, Tensor]]:
    """Yield real images as the file takes them, cut or repeated to a size and a number that it takes."""
    least = 2 * card.geometry.margin + 1
    for name, pixels_CHW in real:
        lengths = pixels_CHW.shape[1:]
        sides = card.size or [max(least, min(length, _LARGEST_REAL)) for length in lengths]
        down, across = (range(side) for side in sides)
        cut_CHW = pixels_CHW.take(down, 1, mode="wrap").take(across, 2, mode="wrap")
        x_CHW = torch.from_numpy(card.normalization.apply(cut_CHW))
        images = x_CHW.expand(card.batch or 1, -1, -1, -1)
        images = images.to(torch.uint8) if card.uint8_input else images
        yield name, (images.movedim(1, -1) if card.layout == "nhwc" else images).contiguous()


def _measure(name: str, images: Tensor, exported: ExportedNetwork, reference: Pipeline) -> Case:
    with torch.inference_mode():
        try:
            found = exported.runtime.run(images).cpu()
        except Exception as error:  # every runtime fails in its own way
            shape = tuple(images.shape)
            raise ParityError(f"the file cannot compute images of {shape} ({reason(error)})") from None
        logits_NLHW = reference.logits(images)
        expected = reference.output(logits_NLHW)
        if found.shape != expected.shape:
            given, shape = tuple(images.shape), tuple(found.shape)
            raise ParityError(f"the file gives {shape} for images of {given}; PyTorch gives {tuple(expected.shape)}")
        if exported.card.outputs_labels:
            # By how much the logit of a class that the file chose is below the highest, at most over all pixels.
            single, both_NKHW = logits_NLHW.shape[1] == 1, reference.decision_scores(logits_NLHW)
            if both_NKHW is None:
                both_NKHW = torch.cat([torch.zeros_like(logits_NLHW), logits_NLHW], 1) if single else logits_NLHW
            chosen_NHW = both_NKHW.gather(1, found.long()[:, None])[:, 0]
            absolute, largest = float((both_NKHW.amax(1) - chosen_NHW).max()), float(logits_NLHW.abs().max())
        else:
            absolute, largest = float((found.float() - expected).abs().max()), float(expected.abs().max())
    return Case(name, tuple(images.shape), absolute, absolute / max(largest, _LEAST_OUTPUT))
