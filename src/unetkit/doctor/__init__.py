"""The doctor: looks at a data set before a training and says what is wrong with it, in which file, and what to do.

`examine` looks at every image once and keeps what the checks need; `diagnose` makes the checks of the table `CHECKS`.
Does not change the data, and does not know networks.
"""

from dataclasses import replace

from unetkit.config import Config
from unetkit.data import Dataset
from unetkit.doctor.checks import CHECKS, ESSENTIAL
from unetkit.doctor.exam import Exam, examine
from unetkit.doctor.findings import SEVERITIES, Diagnosis, Finding
from unetkit.progress import Reporter

__all__ = [
    "CHECKS",
    "ESSENTIAL",
    "SEVERITIES",
    "Diagnosis",
    "Exam",
    "Finding",
    "before_training",
    "diagnose",
    "examine",
    "judge",
]

_ALIGNED_BEFORE_TRAINING = 12


def diagnose(
    dataset: Dataset,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    aligned: int | None = None,
    reporter: Reporter | None = None,
) -> Diagnosis:
    """Examine a data set.

    Args:
        dataset: what a reader gave; what it complains about is told, too.
        config: what it is to be trained with: its split, patch and normalisation are judged; with
            `data.check: essential` only what would stop a training is looked for.
        aligned: how many images, evenly spread, to compare labels and edges of; None: all.
        reporter: hears about the course.
    """
    closely = config.data.check == "full"
    return judge(examine(dataset, config, closely=closely, aligned=aligned, reporter=reporter))


def before_training(dataset: Dataset, config: Config) -> Diagnosis:
    """Examine a data set in the time that a training may take to start: labels and edges of a dozen images.

    Raises:
        DataError: the set cannot be trained on.
    """
    diagnosis = diagnose(dataset, config, aligned=_ALIGNED_BEFORE_TRAINING)
    diagnosis.require_sound()
    return diagnosis


def judge(exam: Exam) -> Diagnosis:
    """Make the checks on what was seen."""
    checks = CHECKS if exam.config.data.check == "full" else ESSENTIAL
    findings = [replace(finding, check=name) for name, check in checks.items() for finding in check(exam)]
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    places = {one.name: one.index for one in exam.facts}
    return Diagnosis(str(exam.config.data.path), places, exam.words(), tuple(ordered), tuple(checks))
