"""Where to compute and in which dtype; the only file that asks the machine what it has."""

import ctypes
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache

import torch

from unetkit.errors import DeviceError, UsageError


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
    flags = _words_of("/proc/cpuinfo", "flags") if device.type == "cpu" else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def imitation_note(precision: str, device: torch.device) -> tuple[str, ...]:
    """Return the line that says so where a precision is only imitated on a device; none elsewhere."""
    if precision != "bfloat16" or multiplies_bfloat16(device):
        return ()
    return ("note: this processor does not multiply bfloat16 in hardware: float32 is many times faster here",)


def keep_freed_memory() -> None:
    """Let this process keep the memory that a training step or a tile frees, for the next one, where glibc manages it.

    Otherwise every step gives its large blocks back to the kernel and pays for fetching them again, page by page: a
    quarter of a step's time on two cores, half of a large tile's in bfloat16. The price is that the process stays as
    large as its largest step.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    adjust(_MMAP_THRESHOLD, 1 << 30)
    adjust(_TRIM_THRESHOLD, (1 << 31) - 1)


def release_freed_memory() -> None:
    """Give the memory that this process has freed back to the kernel, where glibc manages it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


_UNTOLD_MEMORY = 4e9
"""Bytes that are taken to be free where the system does not say; `train.memory` and `--memory` say it better."""


def free_memory(device: torch.device) -> float:
    """Return the bytes that a process may still take on a device; on a CPU, what its control group leaves, too."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    known = [_UNTOLD_MEMORY]
    if sys.platform != "win32":
        known = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    known += [1024 * size for size in _sizes("/proc/meminfo", "MemAvailable:")]
    limits, taken = _sizes("/sys/fs/cgroup/memory.max"), _sizes("/sys/fs/cgroup/memory.current")
    return min([*known, *(limit - used for limit, used in zip(limits, taken, strict=False))])


def bound_memory() -> None:
    """Let this process have no more memory than is free now, where the system can say so: what asks for more fails.

    Otherwise the system gives what it does not have, and ends the process when that is used. A process that computes on
    CUDA is left alone: its driver reserves more than there is.
    """
    taken = _sizes("/proc/self/status", "VmData:")
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


def resident_memory() -> float:
    """Return the bytes of memory that this process holds; where the system does not say, the most that it ever held."""
    pages = _words_of("/proc/self/statm", "")[1:2]
    if pages and sys.platform != "win32":
        return float(pages[0]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def peak_memory() -> float:
    """Return the most bytes of memory that this process ever held; NaN where the system does not say."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _sizes(path: str, name: str = "") -> list[float]:
    """Return the number in the first line of a file that begins with a name, if there is one."""
    return [float(word) for word in _words_of(path, name)[:1] if word.isdigit()]


def _words_of(path: str, name: str) -> list[str]:
    """Return the words after a name in the first line of a file that begins with it; none where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.removeprefix(name).split() for line in file if line.startswith(name)), list[str]())
    except OSError:
        return []


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(count: int | None) -> int:
    """Return how many CPU threads to compute with: as many as asked for, or one for every core of this process.

    Raises:
        UsageError: more than could be of any use; each takes memory, and a machine has a limit.
    """
    cores = available_cores()
    most = max(64, 4 * cores)
    if count is not None and count > most:
        raise UsageError(f"found {count:,} threads; this process may use {cores} cores: give {most} at most")
    return count or cores


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
