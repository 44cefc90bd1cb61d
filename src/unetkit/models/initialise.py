"""How the weights of a network start: one function a rule, drawn from PyTorch's global generator as modules do.

Norms start as the identity and biases at zero in all rules but PyTorch's own.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal

from torch import nn

Rule = Literal["he", "torch", "mindspore-medical", "mindspore-normal", "glorot"]
Layer = nn.Conv2d | nn.ConvTranspose2d


def initialise(network: nn.Module, rule: Rule) -> None:
    """Draw all convolution weights of a network afresh.

    Args:
        network: changed in place.
        rule: "he": normal with variance 2 / fan-in (He et al. 2015; the U-Net paper's rule), the fan-in of a transposed
            convolution being the inputs that meet in one output; "torch": left as PyTorch made them;
            "mindspore-medical": normal with deviation 0.06, cut at two deviations, and 0.01 uncut for transposed
            convolutions; "mindspore-normal": normal with deviation 0.01; "glorot": uniform (Glorot and Bengio 2010).
    """
    if rule == "torch":
        return
    for layer in _layers(network):
        RULES[rule](layer)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _layers(network: nn.Module) -> Iterator[Layer]:
    return (module for module in network.modules() if isinstance(module, Layer))


def _he(layer: Layer) -> None:
    meeting = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
    if isinstance(layer, nn.ConvTranspose2d):
        meeting /= layer.stride[0] * layer.stride[1]
    nn.init.normal_(layer.weight, std=math.sqrt(2 / meeting))


def _mindspore_medical(layer: Layer) -> None:
    if isinstance(layer, nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=0.01)
    else:
        nn.init.trunc_normal_(layer.weight, std=0.06, a=-0.12, b=0.12)


def _mindspore_normal(layer: Layer) -> None:
    nn.init.normal_(layer.weight, std=0.01)


def _glorot(layer: Layer) -> None:
    nn.init.xavier_uniform_(layer.weight)


RULES: dict[Rule, Callable[[Layer], None]] = {
    "he": _he,
    "mindspore-medical": _mindspore_medical,
    "mindspore-normal": _mindspore_normal,
    "glorot": _glorot,
}
