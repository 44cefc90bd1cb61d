"""What is exported: the network with all that its user wants inside the file, as one module, and the card for it.

Legend of shapes: N images, C channels, K classes, L logits (1 or K), H height, W width.
"""

import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetkit.errors import UsageError
from unetkit.modelfile.about import About
from unetkit.modelfile.card import ExportCard, Layout, Output, StoredNetwork
from unetkit.models.inference import decision_scores, log_probabilities, without_border

Image = tuple[str, NDArray[Any]]
"""A name, and pixels [C, H, W] as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What a file takes and gives.

    Attributes:
        output: logits, softmax (probabilities), or argmax (int32 class indices).
        layout: of what goes in and comes out: nchw, nhwc, or nchw-nhwc, in this order.
        preprocessing: the file normalises; pixels go in as they are stored.
        size: the only height and width that it takes; None: any.
        batch: the only number of images that it takes; None: any.
        opset: of ONNX; None: the format's default.
        half: weights and arithmetic in float16, for devices that are faster with it.
        int8: weights and activations in eight-bit integers, calibrated on real images.
        about: what only people know of the network, for a format that says it.
    """

    output: Output = "logits"
    layout: Layout = "nchw"
    preprocessing: bool = False
    size: tuple[int, int] | None = None
    batch: int | None = None
    opset: int | None = None
    half: bool = False
    int8: bool = False
    about: About = About()

    def given(self) -> set[str]:
        """Return the names of the options that are not at their default."""
        plain = FileOptions()
        return {name for name in self.__dataclass_fields__ if getattr(self, name) != getattr(plain, name)}


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
        single = logits_NLHW.shape[1] == 1
        if self.card.output == "argmax" and (scores_NKHW := self.decision_scores(logits_NLHW)) is not None:
            return scores_NKHW.argmax(1).to(torch.int32)
        if self.card.output == "argmax":
            return ((logits_NLHW[:, 0] > 0) if single else logits_NLHW.argmax(1)).to(torch.int32)
        if self.card.output == "softmax" and single:
            second_N1HW = logits_NLHW.sigmoid()
            logits_NLHW = torch.cat([1 - second_N1HW, second_N1HW], 1)
        elif self.card.output == "softmax":
            logits_NLHW = logits_NLHW.softmax(1)
        return logits_NLHW.permute(0, 2, 3, 1) if self.card.layout.endswith("nhwc") else logits_NLHW

    def decision_scores(self, logits_NLHW: Tensor) -> Tensor | None:
        """Return scores [N, K, H, W] of the data's classes whose highest is the class that `predict.threshold` gives.

        They are at the temperature if `predict.calibrate` asks for it. None: there is no threshold.
        """
        card = self.card
        thresholds = card.predict.thresholds(card.data_classes)
        if thresholds is None:
            return None
        warm = card.temperature if card.predict.calibrate and card.temperature is not None else 1.0
        log_NKHW = log_probabilities(logits_NLHW / warm)
        if card.border:
            log_NKHW = without_border(log_NKHW.exp()).log()
        return decision_scores(log_NKHW, thresholds)


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

    The layers that lose most are usually the first, which sees the pixels, and the last, which gives the logits.

    Attributes:
        inputs: images as the file takes them, a batch each, to find the ranges of activations with.
        floating: how many convolutions at either end stay in float32.
    """

    inputs: tuple[NDArray[Any], ...]
    floating: int = 0

    def in_float32(self, convolutions: list[str]) -> list[str]:
        """Return the names of the convolutions that stay in float32, of all in their order."""
        if 2 * self.floating >= len(convolutions):
            return convolutions
        return convolutions[: self.floating] + convolutions[len(convolutions) - self.floating :]


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob:
    """A network on its way into a file.

    Attributes:
        graph: the module to write: batch norms folded, on the CPU, in evaluation mode.
        reference: the same before folding, in float32: what the file is compared with.
        card: for the file.
        options: as asked for.
        images: real ones, to compare on in addition to noise.
        quantisation: how it becomes one of integers, where it does.
    """

    graph: nn.Module
    reference: Pipeline
    card: ExportCard
    options: FileOptions
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
    if card.uint8_input:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    images = torch.randn(shape, generator=generator)
    if not card.preprocessing:
        return images
    channels = (1, 1, 1, -1) if card.layout == "nhwc" else (1, -1, 1, 1)
    return images * torch.tensor(card.std).view(channels) + torch.tensor(card.mean).view(channels)


_NOISY = ("torch.onnx", "torch.export", "torch._inductor", "torch.fx")
_WARNINGS: dict[str, type[Warning]] = {
    # PyTorch about itself: torch.export's own copying, and its exporter for opsets below 18.
    r"`isinstance\(treespec, LeafSpec\)`": FutureWarning,
    "You are using the legacy TorchScript-based ONNX export": DeprecationWarning,
    "The feature will be removed": DeprecationWarning,
    "`torch.jit": DeprecationWarning,
    # A question about a size, which is answered the same for every size that the network takes.
    "Converting a tensor to a Python boolean": Warning,
    "Constant folding": UserWarning,
    # A program of torch.export has no modes: its one graph is that of prediction.
    "You are exporting the model in training mode": UserWarning,
    "It is recommended that constant folding be turned off": UserWarning,
}


@contextmanager
def quiet() -> Generator[None]:
    """Keep from the user what PyTorch's exporters log, and the warnings of theirs that are known to be harmless."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    try:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message, kind in _WARNINGS.items():
                warnings.filterwarnings("ignore", message, kind)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def silent() -> Generator[None]:
    """Keep from the user all that a tool logs, warns of and prints: the advice and progress bars of quantisers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
