"""MindIR and AIR, computed operation by operation in PyTorch: what MindSpore and Ascend should make of them.

It is there to check files and to use them where MindSpore is not; it is not fast.
"""

from pathlib import Path

import torch
from torch import Tensor

from unetkit.devices import choose_device, cpu_threads
from unetkit.errors import ModelFileError
from unetkit.interop.graphs import Graph, GraphError, execute, read_graph, results
from unetkit.runtimes.runtime import Runtime, RuntimeOptions, refused


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Read a file and make sure that it can be computed.

    Raises:
        DeviceError: the device is not there.
        ModelFileError: cut short, or no graph that can be computed.
    """
    device, graph = choose_device("cpu" if options.device == "auto" else options.device), read_graph(path)
    if graph is None:
        raise ModelFileError(f"{path}: neither MindIR nor AIR; expected a file that `unetkit export` wrote")
    try:
        results(graph)
    except GraphError as error:
        raise refused(path, "the interpreter", error) from None
    return _Graph(graph, device, options.threads)


class _Graph:
    def __init__(self, graph: Graph, device: torch.device, threads: int | None) -> None:
        self._graph, self._device, self._threads = graph, device, threads

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        with cpu_threads(self._threads):
            return execute(self._graph, images.to(self._device))
