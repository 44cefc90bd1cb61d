"""The licences of what an installation brings: a table of every distribution, and 1 where one has a copyleft licence.

    python scripts/licences.py [EXTRA ...]

Follows the requirements of unetkit, and of the extras that are named, through what is installed in this Python. A
licence is read from the metadata of the distribution: the SPDX expression, else the classifiers, else the free text.
`MPL-2.0` and `LGPL` are weak copyleft: they bind changes of those packages, not what uses them. Does not read the
licences of native libraries inside wheels.
"""

import re
import sys
from importlib import metadata

from packaging.requirements import Requirement

_COPYLEFT = re.compile(r"\bA?GPL|GNU (Affero )?General Public|EUPL|SSPL|CC-BY-(NC|SA)", re.IGNORECASE)
_WEAK = re.compile(r"\bLGPL|Lesser General Public|\bMPL|Mozilla Public|EPL", re.IGNORECASE)


def brought_by(name: str, extras: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """Return every distribution that an installation of `name` with these extras brings, by its name."""
    found, left = dict[str, metadata.Distribution](), [(name, extras)]
    seen = set[tuple[str, tuple[str, ...]]]()
    while left:
        name, extras = one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform, or not installed
        found[distribution.name.lower().replace("_", "-")] = distribution
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                left.append((needed.name, tuple(sorted(needed.extras))))
    return found


def licence_of(distribution: metadata.Distribution) -> str:
    """Return the licence that a distribution names."""
    about = distribution.metadata
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [line for line in classifiers if line != "OSI Approved"]
    return "; ".join(named) or next(iter((about.get("License") or "not named").strip().splitlines()))[:60]


def kind_of(licence: str) -> str:
    """Return whether a licence is copyleft, weak copyleft or neither; one of several that may be chosen counts."""
    choices = re.split(r"\bOR\b", licence)
    if all(_COPYLEFT.search(_WEAK.sub("", choice)) for choice in choices):
        return "copyleft"
    return "weak" if all(_WEAK.search(choice) for choice in choices) else ""


def main() -> None:
    """Print the table."""
    rows = [
        (distribution.name, distribution.version, licence, kind_of(licence))
        for _, distribution in sorted(brought_by("unetkit", tuple(sys.argv[1:])).items())
        for licence in (licence_of(distribution),)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)).rstrip())
    bad = [row[0] for row in rows if row[3] == "copyleft"]
    print(f"\n{len(rows)} distributions; copyleft: {', '.join(bad) or 'none'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
