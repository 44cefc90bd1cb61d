"""What one pixel costs a network in memory, found by following a forward pass that computes nothing.

The modules of a network are followed on torch's `meta` device, and the tensors that they take and give are counted
while they live. Does not see what is computed outside modules, nor the scratch space of single operations, which is
small for convolutions in channels-last layout.

Legend of shapes: N batch, C channels, H height, W width.
"""

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call


def peak_bytes(network: Callable[[Tensor], Tensor], shape_NCHW: tuple[int, int, int, int]) -> int:
    """Return the most bytes that the network's tensors hold at one time, for float32 input of a shape.

    A network that is not a torch module is taken to need its input alone.
    """
    x_NCHW = torch.empty(shape_NCHW, device="meta")
    living = _Living()
    living.add([x_NCHW])
    if not isinstance(network, nn.Module):
        return living.peak
    held = (*network.named_parameters(), *network.named_buffers())
    hooks = [hook for module in network.modules() for hook in living.follow(module)]
    try:
        with torch.inference_mode():
            functional_call(network, {name: value.to("meta") for name, value in held}, (x_NCHW,))
    finally:
        for hook in hooks:
            hook.remove()
    return living.peak


class _Living:
    """The storages that are alive, and the most bytes that they ever had."""

    def __init__(self) -> None:
        self.peak = self._alive = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def follow(self, module: nn.Module) -> Iterable[torch.utils.hooks.RemovableHandle]:
        yield module.register_forward_pre_hook(lambda _, given: self.add(given))
        yield module.register_forward_hook(lambda _, __, made: self.add([made]))

    def add(self, values: Iterable[object]) -> None:
        for value in values:
            if isinstance(value, Tensor) and (storage := value.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._alive += storage.nbytes()
                weakref.finalize(storage, self._drop, storage.nbytes())
        self.peak = max(self.peak, self._alive)

    def _drop(self, size: int) -> None:
        self._alive -= size
