"""What is exported: the network with all that its user wants inside the file, as one module, and the card for it.

Legend of shapes: N images, C channels, K classes, L logits (1 or K), H height, W width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetkit.errors import UsageError
from unetkit.modelfile.card import ExportCard, Layout, Output, StoredNetwork

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
        images: real ones, to compare on beside noise.
        quantisation: how it becomes one of integers, where it does.
    """

    graph: nn.Module
    reference: Pipeline
    card: ExportCard
    options: ExportOptions
    images: tuple[Image, ...]
    quantisation: Quantisation | None = None

    def example(self) -> Tensor:
        """Return an input of the file, of noise; of two images where any number of them goes in."""
        geometry = self.card.geometry
        height, width = self.card.size or (geometry.fitting_input_size(33), geometry.fitting_input_size(49))
        return noise(self.card, self.card.batch or 2, height, width)

    def stored(self) -> StoredNetwork:
        """Return the network as one that was read from a file, for formats that hold weights alone.

        Raises:
            UsageError: no configuration describes the network, as of an ensemble.
        """
        if self.card.model is None:
            raise UsageError("such a file holds the weights of one network as trained; give a run or a checkpoint")
        return StoredNetwork(self.card.of_network, self.reference.network.state_dict())


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


def _probabilities(logits_NLHW: Tensor) -> Tensor:
    if logits_NLHW.shape[1] > 1:
        return logits_NLHW.softmax(1)
    second_N1HW = logits_NLHW.sigmoid()
    return torch.cat([1 - second_N1HW, second_N1HW], 1)
