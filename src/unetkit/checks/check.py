"""check_data: what is wrong with a data set, in which file, and what to do, before anything is trained on it.

`examine` looks at every image once and keeps what the checks need; `make_checks` makes the checks of the table
`CHECKS`; the page shows what they found, with pictures. Does not change the data, and does not know networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from unetkit.checks.checks import CHECKS, ESSENTIAL
from unetkit.checks.findings import SEVERITIES, CheckReport, DatasetFacts, Finding, Severity, examine
from unetkit.config import Config, load_config
from unetkit.data.dataset import Dataset
from unetkit.data.layouts import open_usable
from unetkit.data.targets import instances_of
from unetkit.errors import listed
from unetkit.progress import Progress
from unetkit.reporting.html import Content, Picture, Table, render
from unetkit.reporting.pictures import BLUE, ORANGE, Rgb, image_picture, label_picture, outlined_picture, png
from unetkit.storage.atomic import atomic_write

_ALIGNED_BEFORE_TRAINING = 12
_PICTURED = 3  # images of a finding
_PICTURES = 60  # of the page
_MOST_NAMES = 40
_TITLES: dict[Severity, str] = {
    "error": "Errors: these would spoil the training",
    "warning": "Warnings: these may spoil what it is worth",
    "note": "Notes: worth knowing",
}


def check_data(
    data: str | Path,
    *,
    overrides: Sequence[str] = (),
    html: str | Path | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Examine a data set: files, values, masks, misaligned labels, duplicates, leaks, objects.

    Args:
        data: a folder or a file with labels, whatever `train` takes.
        overrides: `key=value` texts of a configuration; the split, the patch and the normalisation that are meant to be
            used are judged, too.
        html: a page with pictures to write.
        progress: follows the work.

    Raises:
        DataError: there is nothing at the path, or nothing that is known.
        ConfigError: an unknown key or an impossible value.
        StorageError: the page could not be written.

    Example:
        >>> for finding in unetkit.check_data("path/to/data").findings:
        ...     print(finding)
    """
    config = load_config({"data": {"path": str(data)}}, overrides)
    dataset = open_usable(data, config=config.data)
    report = check_dataset(dataset, config, progress=progress)
    if html is not None:
        write_page(Path(html), report, dataset)
    return report


def before_training(dataset: Dataset, config: Config) -> CheckReport:
    """Examine a data set in the time that a training may take to start: labels and edges of a dozen images.

    Raises:
        DataError: the set cannot be trained on.
    """
    report = check_dataset(dataset, config, aligned=_ALIGNED_BEFORE_TRAINING)
    report.require_sound()
    return report


def check_dataset(
    dataset: Dataset,
    config: Config = Config(),
    *,
    aligned: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Examine a data set that is open.

    Args:
        dataset: what a reader gave; what it complains about is reported, too.
        config: what it is to be trained with: its split, patch and normalisation are judged; with
            `data.check: essential` only what would stop a training is looked for.
        aligned: how many images, evenly spread, to compare labels and edges of; None: all.
        progress: follows the work.
    """
    closely = config.data.check == "full"
    return make_checks(examine(dataset, config, closely=closely, aligned=aligned, progress=progress))


def make_checks(data: DatasetFacts) -> CheckReport:
    """Make the checks on what is known of a data set."""
    checks = CHECKS if data.config.data.check == "full" else ESSENTIAL
    findings = [replace(finding, check=name) for name, check in checks.items() for finding in check(data)]
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    indices = {one.name: one.index for one in data.images}
    return CheckReport(str(data.config.data.path), indices, data.words(), data.account, tuple(ordered), tuple(checks))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A finding with the names and pictures of its images."""

    finding: Finding
    names: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class _Group:
    """The findings of one severity, check by check."""

    title: str
    checks: Sequence[tuple[str, Sequence[_Shown]]]


def write_page(path: Path, report: CheckReport, dataset: Dataset) -> None:
    """Write what the checks found as a page, with pictures of the data set, whose images are read again.

    Raises:
        StorageError: the disk did not take it; an older file stands.
    """
    left = _PICTURES

    def shown(finding: Finding) -> _Shown:
        """Return a finding with pictures of its first images, as long as the page has pictures left."""
        nonlocal left
        names = listed(finding.images, _MOST_NAMES)
        pictures: list[Picture] = []
        for place, name in enumerate(finding.images[:_PICTURED] if finding.show != "nothing" else ()):
            if left <= 0:
                break
            sample, views = dataset[report.indices[name]], list[tuple[str, Rgb]]()
            if finding.show == "outlines" and sample.labels is not None:
                regions = instances_of(sample)
                views.append((f"{name}: labels as they are", outlined_picture(sample.pixels, regions, ORANGE)))
                if finding.corrections:
                    correction = finding.corrections[place]
                    corrected = outlined_picture(sample.pixels, correction.apply(regions), BLUE)
                    views.append((f"{name}: labels {correction}", corrected))
            else:
                views.append((name, image_picture(sample.pixels)))
                if finding.show == "labels" and sample.labels is not None:
                    painted = label_picture(sample.labels, classes=int(sample.labels.max()) + 1)
                    views.append((f"{name}: labels", painted))
            pictures += [Picture(png(pixels), title) for title, pixels in views[:left]]
            left -= len(views)
        return _Shown(finding, f"{len(finding.images)} images: {names}" if len(finding.images) > 1 else "", pictures)

    found: list[_Group] = []
    for severity in SEVERITIES:
        if of_severity := report.of(severity):
            by_check = groupby(of_severity, key=lambda one: one.check)
            checks = [(name.capitalize(), [shown(one) for one in findings]) for name, findings in by_check]
            found.append(_Group(_TITLES[severity], checks))
    verdict = "cannot be trained on as it is" if report.of("error") else "can be trained on"
    summary: list[tuple[str, Content]] = [
        ("Result", Markup("<b>{}</b>: this data {}.").format(report.count(), verdict)),
        ("Images", str(len(report.indices))),
        *((name.capitalize(), words) for name, words in report.account.taken),
        *((("Unsure", "; ".join(report.account.unsure)),) if report.account.unsure else ()),
        *((name.capitalize(), words) for name, words in report.summary.items()),
    ]
    counts = {name: sum(one.check == name for one in report.findings) for name in report.checks}
    checked = Table(
        "Every check that was made, and the number of its findings.",
        ["Check", "What it does", "Findings"],
        [
            [name, (CHECKS[name].__doc__ or "").strip().splitlines()[0], str(count) if count else "–"]
            for name, count in counts.items()
        ],
        numbers=(2,),
        marked=[place for place, count in enumerate(counts.values()) if count],
    )
    title = f"Data check: {report.path}"
    atomic_write(path, render("checks.html", title, summary=summary, found=found, checked=checked))
