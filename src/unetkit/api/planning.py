"""plan: how to train on a data set, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.api.checking import by_its_own_split
from unetkit.config import Config, load_config
from unetkit.data.forms import open_usable
from unetkit.devices import choose_device, cpu_threads
from unetkit.doctor import Exam, examine, judge
from unetkit.doctor.planning import Choice, as_tree, as_yaml, choices
from unetkit.errors import UsageError
from unetkit.progress import Reporter
from unetkit.training.fitting import fit_memory, fit_time, replaced
from unetkit.version import __version__

_ALIGNED = 12


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train on a data set.

    Attributes:
        choices: every key that was decided on, with its reason.
        heading: what to know before it is used, a line each.
    """

    choices: tuple[Choice, ...]
    heading: tuple[str, ...]

    @property
    def config(self) -> Config:
        """The configuration, as `train` takes it."""
        return load_config(as_tree(self.choices))

    @property
    def yaml(self) -> str:
        """The configuration as text, each line with its reason."""
        return as_yaml(self.choices, self.heading)


def plan(
    data: str | Path,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    memory: float | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> TrainingPlan:
    """Decide how to train on a data set, by what it holds and what this machine can do.

    Args:
        data: a folder or a file with labels, whatever `train` takes.
        overrides: `key=value` texts that are kept as they are.
        minutes: that the training may take; None: steps by the number of images.
        memory: gigabytes that the training may take; None: half of what is free on the device.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        DataError: data that cannot be trained on.
        ConfigError, UsageError, DeviceError: an impossible wish.

    Example:
        >>> print(unetkit.plan("path/to/data", minutes=10).yaml)
    """
    _require_positive(minutes=minutes, memory=memory)
    asked = load_config({"data": {"path": _lasting(data)}}, overrides)
    dataset = open_usable(data, config=asked.data)
    asked = by_its_own_split(asked, dataset, overrides)
    exam = examine(dataset, asked, aligned=_ALIGNED, reporter=reporter)
    judge(exam).require_sound()
    place, chosen = choose_device(device), _with_wishes(choices(exam), asked, overrides)
    with cpu_threads(None):
        chosen = replaced(chosen, fit_memory(_config(chosen), place, gigabytes=memory, resident=_resident(exam)))
        chosen = replaced(chosen, fit_time(_config(chosen), place, minutes=minutes))
    chosen = _with_wishes(chosen, asked, overrides)
    findings = judge(exam.under(_config(chosen), dataset)).lines()
    heading = (f"Written by unetkit {__version__}: unetkit train THIS_FILE --out RUN", *findings)
    return TrainingPlan(tuple(chosen), heading)


def _require_positive(**wishes: float | None) -> None:
    for name, value in wishes.items():
        if value is not None and value <= 0:
            raise UsageError(f"{name}={value:g}: a number above 0 was expected")


def _with_wishes(chosen: list[Choice], asked: Config, overrides: Sequence[str]) -> list[Choice]:
    wishes = [Choice(key, _value(asked, key), "as asked") for key in (word.partition("=")[0] for word in overrides)]
    return replaced(chosen, wishes)


def _value(config: Config, key: str) -> Any:
    node: Any = config.model_dump(mode="json")
    for part in key.split("."):
        node = node[part]
    return node


def _config(chosen: Sequence[Choice]) -> Config:
    return load_config(as_tree(chosen))


def _resident(exam: Exam) -> float:
    """Return the bytes of all images as a training holds them: float32 channels and int32 labels."""
    return float(sum(4 * (one.shape[0] + 1) * one.shape[1] * one.shape[2] for one in exam.facts))


def _lasting(data: str | Path) -> str:
    """Return a path that means the same from any folder."""
    return str(Path(data).resolve()) if Path(data).exists() else str(data)
