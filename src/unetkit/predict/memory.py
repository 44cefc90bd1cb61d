"""What one pixel costs a network in memory, found by following a forward pass.

Counts the tensors that are alive at one time, which torch alone knows. A module is followed on torch's `meta` device,
where nothing is computed. Does not see what a network computes outside torch, nor the scratch space of single
operations, which is small for convolutions in channels-last layout.

Legend of shapes: N batch, C channels, H height, W width.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode


def peak_bytes(network: Callable[[Tensor], Tensor], x_NCHW: Tensor) -> int:
    """Return the most bytes that tensors made by `network(x_NCHW)` hold at one time."""
    if isinstance(network, nn.Module):
        weightless = {name: value.to("meta") for name, value in network.state_dict().items()}
        return _followed(lambda: functional_call(network, weightless, (x_NCHW.to("meta"),)))
    return _followed(lambda: network(x_NCHW))


def _followed(compute: Callable[[], object]) -> int:
    with torch.inference_mode(), _LivingStorages() as storages:
        compute()
    return storages.peak


class _LivingStorages(TorchDispatchMode):
    """Follow storages from the operation that makes them to their end; torch offers this only to its subclasses."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._alive = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(made, Tensor):
                self._add(made.untyped_storage())
        self.peak = max(self.peak, self._alive)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self._alive += storage.nbytes()
            weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, size: int) -> None:
        self._alive -= size
