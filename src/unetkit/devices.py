"""Where to compute, in which dtype, with how many threads, and how much memory is free there."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import torch

from unetkit.errors import DeviceError, UsageError
from unetkit.machine import sizes_in, threads_of, words_in


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: the device is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name, False):
        found = ", ".join(kind for kind, yes in there.items() if yes)
        raise DeviceError(f"device {name!r} is not there; this machine and this build of PyTorch have: {found}")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a device is, for a record: the maker's name of a CUDA device, else cpu or mps."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The dtypes that a network computes in, by the names that users write."""


def dtype(name: str) -> torch.dtype:
    """Return the dtype of a name.

    Raises:
        UsageError: there is no such name.
    """
    if name not in PRECISIONS:
        raise UsageError(f"there is no precision {name!r}; there are: {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the network's arithmetic in training.

    "auto": bfloat16 where the device multiplies it in hardware, float16 on older CUDA devices, float32 elsewhere.

    Raises:
        DeviceError: the device has no such arithmetic.
    """
    if name == "auto":
        if multiplies_bfloat16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    if name == "float16" and device.type == "cpu":
        raise DeviceError("precision float16 trains on CUDA only; use bfloat16 or float32 on a CPU")
    return dtype(name)


@cache
def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware; others imitate it, a CPU a hundred times as slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = words_in("/proc/cpuinfo", "flags") if device.type == "cpu" else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def imitation_note(precision: str, device: torch.device) -> tuple[str, ...]:
    """Return the line that says so where a precision is only imitated on a device; none elsewhere."""
    if precision != "bfloat16" or multiplies_bfloat16(device):
        return ()
    return ("note: this processor does not multiply bfloat16 in hardware: float32 is many times faster here",)


_UNTOLD_MEMORY = 4e9
"""Bytes that are taken to be free where the system does not say; `train.memory` and `--memory` say it better."""


def free_memory(device: torch.device) -> float:
    """Return the bytes that a process may still take on a device; on a CPU, what its control group leaves, too."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    known = [_UNTOLD_MEMORY]
    if sys.platform != "win32":
        known = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    known += [1024 * size for size in sizes_in("/proc/meminfo", "MemAvailable:")]
    limits, taken = sizes_in("/sys/fs/cgroup/memory.max"), sizes_in("/sys/fs/cgroup/memory.current")
    return min([*known, *(limit - used for limit, used in zip(limits, taken, strict=False))])


def bound_memory() -> None:
    """Let this process have no more memory than is free now, where the system can say so: what asks for more fails.

    Otherwise the system gives what it does not have, and ends the process when that is used. A process that computes on
    CUDA is left alone: its driver reserves more than there is.
    """
    taken = sizes_in("/proc/self/status", "VmData:")
    if sys.platform != "linux" or not taken or torch.cuda.is_initialized():
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = int(1024 * taken[0] + free_memory(torch.device("cpu")))
    resource.setrlimit(resource.RLIMIT_DATA, (allowed if most < 0 else min(allowed, most), most))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that there was no memory, in the words of Python, PyTorch or ONNX Runtime."""
    known = ("DefaultCPUAllocator", "bad_alloc", "Failed to allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in known)


@contextmanager
def cpu_threads(count: int | None) -> Generator[int]:
    """Compute with this many CPU threads, or one for every core that the process may use; restore the number after.

    Raises:
        UsageError: as `threads_of`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of(count))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
