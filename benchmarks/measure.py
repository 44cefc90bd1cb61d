"""What every benchmark says beside its numbers: machine, versions, command, date; and where it keeps them.

Assumes Linux for the memory's size and the load. Does not know what is measured.
"""

import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from unetkit.config import Config
from unetkit.run import environment
from unetkit.version import __version__

RECORDS = Path(__file__).resolve().parent / "RECORDS.md"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which a benchmark ran, each field one readable line.

    Attributes:
        date: day, UTC.
        command: as it was typed.
        machine: processor, cores, memory, system, accelerator.
        load: processes that waited for a core in the minute before the benchmark began; a quiet machine has none.
        versions: of Python, unetkit, torch and the packages that the benchmark names.
    """

    date: str
    command: str
    machine: str
    load: str
    versions: str


def circumstances(packages: Sequence[str], device: torch.device) -> Circumstances:
    """Describe this process's surroundings; call it before the first measurement.

    Args:
        packages: further distributions whose versions matter.
        device: where the benchmark computes.
    """
    known = environment(Config())
    parts = [f"{known['processor']}, {known['cores']} cores", f"{_memory_gb():.0f} GB", platform.system()]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    versions = {"Python": platform.python_version(), "unetkit": __version__, "torch": torch.__version__}
    versions |= {name: metadata.version(name) for name in packages}
    return Circumstances(
        date=datetime.now(UTC).date().isoformat(),
        command=shlex.join(["python", *sys.argv]),
        machine=", ".join(parts),
        load=f"{os.getloadavg()[0]:.2f}",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def import_seconds(*modules: str) -> float:
    """Return the seconds that a fresh interpreter takes to start and import the modules, files already cached."""
    command = [sys.executable, "-c", "; ".join(f"import {name}" for name in modules)]
    subprocess.run(command, check=True, capture_output=True)
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Write the median, and the lowest and the highest behind it: `4.1 (3.9 to 4.4)`."""
    ordered = sorted(values)
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(ordered), ordered[0], ordered[-1]))
    return f"{middle} ({low} to {high})"


def append_record(title: str, around: Circumstances, lines: Iterable[str], *, path: Path = RECORDS) -> None:
    """Add a section at the end of the records: its circumstances as a list, then what was printed."""
    facts = [f"- {name}: {value}" for name, value in _facts(around).items()]
    section = ["", f"## {title}, {around.date}", "", *facts, "", "```text", *lines, "```", ""]
    with path.open("a", encoding="utf-8") as records:
        records.write("\n".join(section))


def _facts(around: Circumstances) -> dict[str, str]:
    return {
        "command": f"`{around.command}`",
        "machine": around.machine,
        "load before": around.load,
        "versions": around.versions,
    }


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
