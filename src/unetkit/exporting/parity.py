"""Is what was written what was meant? The file, loaded in its runtime, against PyTorch on the same images.

A difference is measured in the output of the file: the largest absolute one, and the same relative to the largest
output. For class indices it is how much less likely, in logits, the file's class is than the best: 0 where all agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unetkit.errors import ParityError
from unetkit.formats import ExportCard, ExportedNetwork
from unetkit.formats.job import Image, Pipeline, noise

BOUNDS = {"float32": 5e-5, "float16": 2e-2, "bfloat16": 0.1, "int8": float("inf")}
"""The largest relative difference that is still the same network, by the numbers that it computes with."""

_LARGEST_REAL = 256
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        images: what was shown: "noise" or the name of an image.
        shape: of the input.
        absolute: the largest absolute difference.
        relative: the same, over the largest absolute output.
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
        ParityError: they differ by more than the bound of its numbers.
    """
    card = exported.card
    cases = tuple(
        _measure(name, images, exported, reference) for name, images in [*_noise_for(card), *real_inputs(card, real)]
    )
    parity = Parity(cases, max(BOUNDS[dtype] for dtype in exported.dtypes))
    if not parity.relative <= parity.bound:  # NaN is no parity either
        worst = max(cases, key=lambda case: case.relative)
        raise ParityError(
            f"the file computes something else than PyTorch: they differ by {worst.absolute:.2g} "
            f"({worst.relative:.2g} relative, at most {parity.bound:g} is allowed) on {worst.images} {worst.shape}"
        )
    return parity


def _measure(name: str, images: Tensor, exported: ExportedNetwork, reference: Pipeline) -> Case:
    with torch.inference_mode():
        found, logits = _computed(exported, images), reference.logits(images)
        expected = reference.output(logits)
        if found.shape != expected.shape:
            given, shape = tuple(images.shape), tuple(found.shape)
            raise ParityError(f"the file gives {shape} for images of {given}; PyTorch gives {tuple(expected.shape)}")
        if exported.card.output == "argmax":
            absolute, largest = _shortfall(logits, found), float(logits.abs().max())
        else:
            absolute, largest = float((found.float() - expected).abs().max()), float(expected.abs().max())
    return Case(name, tuple(images.shape), absolute, absolute / max(largest, torch.finfo(torch.float32).tiny))


def _computed(exported: ExportedNetwork, images: Tensor) -> Tensor:
    try:
        return exported.runtime.run(images).cpu()
    except Exception as error:  # every runtime fails in its own way
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ParityError(f"the file cannot compute images of {tuple(images.shape)} ({reason})") from None


def _shortfall(logits_NLHW: Tensor, found_NHW: Tensor) -> float:
    """Return by how much the logit of a class that the file chose is below the highest, at most over all pixels."""
    if logits_NLHW.shape[1] == 1:
        logits_NLHW = torch.cat([torch.zeros_like(logits_NLHW), logits_NLHW], 1)
    chosen_NHW = logits_NLHW.gather(1, found_NHW.long()[:, None])[:, 0]
    return float((logits_NLHW.amax(1) - chosen_NHW).max())


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
    """Yield real images as the file takes them, cut or repeated to a size that it takes, and soon."""
    least = 2 * card.geometry.margin + 1
    for name, pixels_CHW in real:
        lengths = pixels_CHW.shape[1:]
        sides = card.size or [max(least, min(length, _LARGEST_REAL)) for length in lengths]
        down, across = (range(side) for side in sides)
        cut_CHW = pixels_CHW.take(down, 1, mode="wrap").take(across, 2, mode="wrap")
        x_CHW = torch.from_numpy(card.normalization.apply(cut_CHW))
        images = x_CHW.expand(card.batch or 1, -1, -1, -1)
        images = images.to(torch.uint8) if card.input == "uint8" else images
        yield name, (images.movedim(1, -1) if card.layout == "nhwc" else images).contiguous()
