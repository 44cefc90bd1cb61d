"""What one pixel costs a network in memory, found by following three small forward passes.

The tensors that the network's modules take and give are counted while they live. At every step their bytes are a
quadratic function of the image's side, whose leading coefficient three sides give exactly: so images of a few pixels
tell what large ones need. Does not see what is computed outside torch's modules, nor the scratch space of single
operations, which is small for convolutions in channels-last layout.

Legend of shapes: N batch, C channels, H height, W width.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from unetkit.models.geometry import Geometry


def bytes_per_pixel(
    network: Callable[[Tensor], Tensor], geometry: Geometry, *, channels: int, device: torch.device
) -> float:
    """Return the bytes that a large input and the tensors made from it hold at most, for each of its pixels.

    Of a network that is no torch module, its own word is taken, the attribute `bytes_per_pixel`, or the input counted.
    """
    if not isinstance(network, nn.Module):
        return getattr(network, "bytes_per_pixel", None) or float(channels * torch.float32.itemsize)
    step, smallest = geometry.multiple, geometry.fitting_input_size(1)
    small, middle, large = (
        _course(network, torch.zeros(1, channels, side, side, device=device))
        for side in (smallest, smallest + step, smallest + 2 * step)
    )
    return max(a - 2 * b + c for a, b, c in zip(small, middle, large, strict=True)) / (2 * step**2)


def _course(network: nn.Module, x_NCHW: Tensor) -> list[int]:
    """Return the bytes that are alive when the input is there, and before and after every module of the network."""
    living = _Living()
    living.add([x_NCHW])
    hooks = [hook for module in network.modules() for hook in living.follow(module)]
    try:
        with torch.inference_mode():
            network(x_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return living.course


class _Living:
    """The storages that are alive."""

    def __init__(self) -> None:
        self.course: list[int] = []
        self._alive = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def follow(self, module: nn.Module) -> Iterator[RemovableHandle]:
        yield module.register_forward_pre_hook(lambda _, given: self.add(given))
        yield module.register_forward_hook(lambda _, __, made: self.add([made]))

    def add(self, values: Iterable[object]) -> None:
        for value in values:
            if isinstance(value, Tensor) and (storage := value.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._alive += storage.nbytes()
                weakref.finalize(storage, self._drop, storage.nbytes())
        self.course.append(self._alive)

    def _drop(self, size: int) -> None:
        self._alive -= size
