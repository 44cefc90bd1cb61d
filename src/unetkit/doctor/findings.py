"""What the doctor says: a finding, and all findings of a data set together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unetkit.doctor.alignment import Correction
from unetkit.errors import DataError

Severity = Literal["error", "warning", "note"]
Show = Literal["nothing", "image", "outlines", "labels"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""An error spoils a training, a warning may spoil what it is worth, a note is worth knowing."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: error, warning or note.
        found: what was found, and where.
        advice: what to do.
        images: names of the samples that it is about; of pairs, one after the other. Empty: the set as a whole.
        show: what a picture of those images would have to show.
        correction: what would put the labels right.
        check: the name in `CHECKS` of the check that found it.
    """

    severity: Severity
    found: str
    advice: str
    images: tuple[str, ...] = ()
    show: Show = "nothing"
    correction: Correction | None = None
    check: str = ""

    def __str__(self) -> str:
        """The finding as one line."""
        return f"{self.found}; {self.advice}" if self.advice else self.found


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that the doctor found.

    Attributes:
        path: the data set.
        places: the name of every image that could be read, and its index.
        facts: the set in a few words, by what they are about.
        findings: the worst first.
        checks: the names of the checks that were made.
    """

    path: str
    places: Mapping[str, int]
    facts: dict[str, str]
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def count(self) -> str:
        """Say how many findings there are of each severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return ", ".join(f"{counted[name]} {name}{'' if counted[name] == 1 else 's'}" for name in SEVERITIES)

    def require_sound(self) -> None:
        """Refuse a set that cannot be trained on.

        Raises:
            DataError: there are errors; the message is the first of them.
        """
        errors = self.of("error")
        if errors:
            rest = f" ({len(errors) - 1} more errors: unetkit data check {self.path})" if len(errors) > 1 else ""
            raise DataError(f"{next(iter(errors))}{rest}")

    def lines(self, most: int = 6) -> tuple[str, ...]:
        """Return warnings and notes as lines that begin with what they are; of many the first, and how many more."""
        told = [f"{one.severity}: {one}" for one in self.findings]
        rest = len(told) - most
        more = (f"note: {rest} more findings: unetkit data check {self.path}",) if rest > 0 else ()
        return (*told[:most], *more)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "path": self.path,
            "samples": len(self.places),
            "facts": self.facts,
            "errors": len(self.of("error")),
            "warnings": len(self.of("warning")),
            "notes": len(self.of("note")),
            "findings": [asdict(finding) for finding in self.findings],
            "checks": list(self.checks),
        }


def named(names: Sequence[str]) -> str:
    """Name the first few of many."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
