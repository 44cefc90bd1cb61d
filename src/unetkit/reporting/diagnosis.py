"""The page of the doctor: what was found, with pictures, what to do about it, and what was looked for.

Assumes that the images can be read again. Does not judge anything.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from unetkit.data import Dataset, Sample
from unetkit.data.targets import instances_of
from unetkit.doctor import CHECKS, SEVERITIES, Diagnosis, Finding
from unetkit.reporting.markup import Content, Html, facts, joined, picture, table, tag
from unetkit.reporting.page import assembled
from unetkit.reporting.panels import png
from unetkit.reporting.pictures import BLUE, ORANGE, Rgb, image_picture, label_picture, outlined_picture
from unetkit.storage import write_whole

_PICTURED = 3  # images of a finding
_PICTURES = 60  # of the page
_MOST_NAMES = 40

_TITLES = {
    "error": "Errors: these would spoil the training",
    "warning": "Warnings: these may spoil what it is worth",
    "note": "Notes: worth knowing",
}


def write_diagnosis(path: Path, diagnosis: Diagnosis, dataset: Dataset) -> None:
    """Write what the doctor found as a page, with pictures of the data set.

    Raises:
        StorageError: the disk did not take it; an older file stands.
    """
    pictures = _Pictures(diagnosis, dataset)
    parts: dict[str, list[Content]] = {"Summary": [_summary(diagnosis)]}
    for severity in SEVERITIES:
        if found := diagnosis.of(severity):
            parts[_TITLES[severity]] = [
                joined(tag("h3", check.capitalize()), *(_finding(one, pictures) for one in findings))
                for check, findings in groupby(found, key=lambda one: one.check)
            ]
    parts["What was looked for"] = [_checks(diagnosis)]
    write_whole(path, assembled(f"Data check: {diagnosis.path}", parts))


def _summary(diagnosis: Diagnosis) -> Html:
    verdict = "cannot be trained on as it is" if diagnosis.of("error") else "can be trained on"
    rows: list[tuple[str, Content]] = [
        ("Result", joined(tag("b", diagnosis.count()), f": this data {verdict}.")),
        ("Images", str(len(diagnosis.places))),
        *((name.capitalize(), words) for name, words in diagnosis.facts.items()),
    ]
    return facts(rows)


def _finding(finding: Finding, pictures: "_Pictures") -> Html:
    parts = [tag("p", f"{finding.found}."), tag("p", tag("b", "What to do: "), f"{finding.advice}.")]
    if len(finding.images) > 1:
        rest = len(finding.images) - _MOST_NAMES
        names = ", ".join(finding.images[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
        parts.append(tag("p", f"{len(finding.images)} images: {names}", class_="names"))
    if tiles := list(pictures.of(finding)):
        parts.append(tag("div", *tiles, class_="tiles"))
    return tag("div", *parts, class_="finding")


def _checks(diagnosis: Diagnosis) -> Html:
    counts = {name: sum(one.check == name for one in diagnosis.findings) for name in diagnosis.checks}
    rows: list[list[Content]] = [
        [name, (CHECKS[name].__doc__ or "").strip().splitlines()[0], str(count) if count else "–"]
        for name, count in counts.items()
    ]
    marked = [place for place, count in enumerate(counts.values()) if count]
    caption = "Every check that was made, and the number of its findings."
    return table(caption, ["Check", "What it does", "Findings"], rows, numbers=(2,), marked=marked)


class _Pictures:
    """The pictures of a page: so many and no more, each image read when it is shown."""

    def __init__(self, diagnosis: Diagnosis, dataset: Dataset) -> None:
        self._places, self._dataset, self._left = diagnosis.places, dataset, _PICTURES

    def of(self, finding: Finding) -> Iterator[Html]:
        """Yield what a finding has to show."""
        for name in finding.images[:_PICTURED] if finding.show != "nothing" else ():
            for title, pixels in _views(self._dataset[self._places[name]], finding):
                if self._left > 0:
                    self._left -= 1
                    yield tag("div", picture(png(pixels), "image/png", title), tag("span", title))


def _views(sample: Sample, finding: Finding) -> Iterator[tuple[str, Rgb]]:
    """Yield the pictures of one image with their titles."""
    if finding.show != "outlines" or sample.labels is None:
        yield sample.name, image_picture(sample.pixels)
        if finding.show == "labels" and sample.labels is not None:
            yield f"{sample.name}: labels", label_picture(sample.labels, classes=int(sample.labels.max()) + 1)
        return
    regions = instances_of(sample)
    yield f"{sample.name}: labels as they are", outlined_picture(sample.pixels, regions, ORANGE)
    if finding.correction is not None:
        corrected = outlined_picture(sample.pixels, finding.correction.apply(regions), BLUE)
        yield f"{sample.name}: labels {finding.correction}", corrected
