"""What is exported: the network with all that its user wants inside the file, as one module, and the card for it.

Legend of shapes: N images, C channels, K classes, L logits (1 or K), H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetkit.errors import UsageError
from unetkit.models import fold_norms
from unetkit.models.geometry import Geometry
from unetkit.networks import StoredNetwork
from unetkit.prediction import Predictor
from unetkit.prediction.memory import bytes_per_pixel
from unetkit.runtimes import ExportCard
from unetkit.runtimes.card import LAYOUTS, OUTPUTS, Layout, Output
from unetkit.version import __version__

Image = tuple[str, NDArray[Any]]
"""A name, and pixels [C, H, W] as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What the file takes and gives.

    Attributes:
        output: logits, softmax (probabilities), or argmax (int32 class indices).
        layout: of what goes in and comes out: nchw, nhwc, or nchw-nhwc, in this order.
        preprocessing: the file normalises; pixels go in as they are stored.
        size: the only height and width that it takes; None: any.
        batch: the only number of images that it takes; None: any.
        opset: of ONNX; None: the format's default.
        half: weights and arithmetic in float16, for devices that are faster with it.
        int8: weights and activations in eight-bit integers, calibrated on real images.
    """

    output: Output = "logits"
    layout: Layout = "nchw"
    preprocessing: bool = False
    size: tuple[int, int] | None = None
    batch: int | None = None
    opset: int | None = None
    half: bool = False
    int8: bool = False

    def given(self) -> dict[str, object]:
        """Return the options that are not at their default."""
        plain = ExportOptions()
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value != getattr(plain, name)}


class Pipeline(nn.Module):
    """Images as the file takes them -> what the file gives."""

    def __init__(self, network: nn.Module, card: ExportCard) -> None:
        """Put normalisation, layout and output around a network."""
        super().__init__()
        self.network, self.card = network, card
        self.mean = nn.Buffer(torch.tensor(card.mean).view(1, -1, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(card.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the file's output."""
        return self.output(self.logits(images))

    def logits(self, images: Tensor) -> Tensor:
        """Return the network's logits [N, L, H, W] for images as the file takes them."""
        x_NCHW = images.permute(0, 3, 1, 2) if self.card.layout == "nhwc" else images
        if self.card.preprocessing:
            x_NCHW = (x_NCHW.float() - self.mean) / self.std
        return self.network(x_NCHW)

    def output(self, logits_NLHW: Tensor) -> Tensor:
        """Return the file's output for the network's logits."""
        if self.card.output == "argmax":
            if logits_NLHW.shape[1] == 1:
                return (logits_NLHW[:, 0] > 0).to(torch.int32)
            return logits_NLHW.argmax(1).to(torch.int32)
        if self.card.output == "softmax":
            logits_NLHW = _probabilities(logits_NLHW)
        return logits_NLHW.permute(0, 2, 3, 1) if self.card.layout.endswith("nhwc") else logits_NLHW


class Half(nn.Module):
    """A network in float16 between float32 ends."""

    def __init__(self, network: nn.Module) -> None:
        """Convert the network's weights."""
        super().__init__()
        self.network = network.half()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return float32 logits."""
        return self.network(x_NCHW.half()).float()


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """How a network becomes one of eight-bit integers.

    Attributes:
        inputs: images as the file takes them, to find the ranges of activations with.
        floating: how many convolutions at either end stay in float32.
    """

    inputs: tuple[NDArray[Any], ...]
    floating: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob:
    """A network on its way into a file.

    Attributes:
        graph: the module to write: batch norms folded, on the CPU, in evaluation mode.
        reference: the same before folding, in float32: what the file is compared with.
        card: for the file.
        options: as asked for.
        stored: the network as it lay on the disk, where it is a single one.
        images: real ones, to compare on beside noise.
        quantisation: how it becomes one of integers, where it does.
    """

    graph: nn.Module
    reference: Pipeline
    card: ExportCard
    options: ExportOptions
    stored: StoredNetwork | None
    images: tuple[Image, ...]
    quantisation: Quantisation | None = None

    def example(self) -> Tensor:
        """Return an input of the file, of noise; of two images where any number of them goes in."""
        geometry = self.card.geometry
        height, width = self.card.size or (geometry.fitting_input_size(33), geometry.fitting_input_size(49))
        return noise(self.card, self.card.batch or 2, height, width)


def make_job(
    predictor: Predictor,
    options: ExportOptions,
    *,
    stored: StoredNetwork | None = None,
    images: Sequence[Image] = (),
    eight_bit: bool = True,
) -> ExportJob:
    """Prepare an export.

    Args:
        predictor: a torch network with its preprocessing, on the CPU.
        options: what the file takes and gives.
        stored: the network as it lay on the disk.
        images: real ones, to compare on.
        eight_bit: with preprocessing, the file takes uint8 pixels, unless images are resized before the network, which
            gives fractions; False: float32 in stored units.

    Raises:
        UsageError: the network is no torch module, or the options contradict it or each other.
    """
    _require_possible(predictor.geometry, options)
    card = _card(predictor, options, stored, eight_bit=eight_bit)
    reference = pipeline_of(predictor, card)
    folded = fold_norms(reference.network)
    graph = Pipeline(Half(folded) if options.half else folded, card).eval()
    return ExportJob(graph, reference, card, options, stored, tuple(images))


def pipeline_of(predictor: Predictor, card: ExportCard) -> Pipeline:
    """Return what a file with this card should compute, in PyTorch.

    Raises:
        UsageError: the network is no torch module.
    """
    if not isinstance(predictor.network, nn.Module):
        raise UsageError("this is an exported file already; give the run or the checkpoint that it was made from")
    return Pipeline(predictor.network, card).eval()


def noise(card: ExportCard, count: int, height: int, width: int) -> Tensor:
    """Return random images as a file takes them."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    shape = (count, height, width, card.channels) if card.layout == "nhwc" else (count, card.channels, height, width)
    if card.input == "uint8":
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    images = torch.randn(shape, generator=generator)
    if not card.preprocessing:
        return images
    places = (1, 1, 1, -1) if card.layout == "nhwc" else (1, -1, 1, 1)
    return images * torch.tensor(card.std).view(places) + torch.tensor(card.mean).view(places)


def _card(predictor: Predictor, options: ExportOptions, stored: StoredNetwork | None, *, eight_bit: bool) -> ExportCard:
    geometry, predict = predictor.geometry, predictor.config
    if options.preprocessing:
        # No stored pixel need mean 0 after normalisation, so that whoever runs the file could not give it one.
        predict = predict.model_copy(update={"outside": "mirror"})
    return ExportCard(
        unetkit=__version__,
        model=stored.model if stored else None,
        classes=predictor.classes,
        border=predictor.border,
        mean=predictor.normalization.mean,
        std=predictor.normalization.std,
        preprocessing=options.preprocessing,
        input="uint8" if options.preprocessing and eight_bit and predictor.config.size is None else "float32",
        output=options.output,
        layout=options.layout,
        size=options.size,
        batch=options.batch,
        geometry=replace(geometry, fixed=options.size),
        numbers="int8" if options.int8 else "float16" if options.half else "float32",
        predict=predict,
        objects=predictor.object_config,
        bytes_per_pixel=bytes_per_pixel(
            predictor.network, geometry, channels=len(predictor.normalization.mean), device=predictor.device
        ),
        scores=dict(stored.scores) if stored else {},
        data_sha256=stored.data_sha256 if stored else "",
    )


def _require_possible(geometry: Geometry, options: ExportOptions) -> None:
    if options.half and options.int8:
        raise UsageError("float16 and int8 were both asked for; choose one")
    for name, value, known in (("head", options.output, OUTPUTS), ("layout", options.layout, LAYOUTS)):
        if value not in known:
            raise UsageError(f"{name}: found {value!r}; expected one of {', '.join(known)}")
    least = geometry.fitting_input_size(geometry.multiple)
    if options.size and min(options.size) < least:
        found = " x ".join(map(str, options.size))
        raise UsageError(f"size {found} is too small for the network; give sides of {least} or more")
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"batch {options.batch}: at least one image goes into a file")


def _probabilities(logits_NLHW: Tensor) -> Tensor:
    if logits_NLHW.shape[1] > 1:
        return logits_NLHW.softmax(1)
    second_N1HW = logits_NLHW.sigmoid()
    return torch.cat([1 - second_N1HW, second_N1HW], 1)
