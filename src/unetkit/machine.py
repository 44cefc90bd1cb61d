"""What the machine gives to a process: cores, memory, signals. Loads no PyTorch, so that readers start without it."""

import ctypes
import os
import signal
import sys
from contextlib import suppress

from unetkit.errors import UsageError


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to end, but for those that this one ignores, as under nohup."""
    known = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


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


def resident_memory() -> float:
    """Return the bytes of memory that this process holds; where the system does not say, the most that it ever held."""
    pages = words_in("/proc/self/statm", "")[1:2]
    if pages and sys.platform != "win32":
        return float(pages[0]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def peak_memory() -> float:
    """Return the most bytes of memory that this process ever held; NaN where the system does not say."""
    if known := sizes_in("/proc/self/status", "VmHWM:"):
        return 1024 * known[0]  # getrusage counts what the process held that started this one
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def sizes_in(path: str, name: str = "") -> list[float]:
    """Return the number in the first line of a file that begins with a name, if there is one."""
    return [float(word) for word in words_in(path, name)[:1] if word.isdigit()]


def words_in(path: str, name: str) -> list[str]:
    """Return the words after a name in the first line of a file that begins with it; none where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.removeprefix(name).split() for line in file if line.startswith(name)), list[str]())
    except OSError:
        return []
