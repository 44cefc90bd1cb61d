"""Names of classes from a file next to the masks: dataset.json, labelmap.txt, and tables of colours or values.

`dataset.json`, of nnU-Net and the Decathlon, has `labels`: names with their value ({"background": 0, "cell": 1}) or
values with their name ({"0": "background", "1": "cell"}); regions, which are lists of values, are not read. A line of
CVAT's `labelmap.txt` is `name:red,green,blue:parts:actions`. Tables are `class_dict.csv` with the columns name, r, g,
b; `_classes.csv` with Pixel Value and Class, and `label_colors.txt` with lines `red green blue name`. Names that do not
fit the values of the masks are not taken.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

from unetkit.data.kinds import ClassNames
from unetkit.errors import DataError
from unetkit.storage.tree import Tree

_COLOUR_LINE = re.compile(r"([0-9]{1,3})\s+([0-9]{1,3})\s+([0-9]{1,3})\s+(\S.*)")
_VALUE = re.compile("[0-9]{1,9}")
_IGNORED = ("ignore", "ignored", "void", "unlabeled", "unlabelled")


def class_names(tree: Tree) -> ClassNames | None:
    """Return what the file next to the masks says, the background first; None where there is none that can be read."""
    for path in sorted(tree.files, key=lambda path: path.count("/")):
        name = path.rpartition("/")[2].lower()
        reader = next((reader for pattern, reader in FILES.items() if fnmatchcase(name, pattern)), None)
        if reader is None:
            continue
        try:
            rows = reader(tree.read(path).decode("utf-8-sig"))
        except (DataError, ValueError, RecursionError):
            continue
        kept = {key: name for key, name in rows.items() if name.lower() not in _IGNORED}
        classes = tuple(dict.fromkeys(sorted(kept.values(), key=lambda name: name.lower() != "background")))
        if len(classes) > 1:
            values: dict[str, int | Literal["ignore"]] = {
                key: classes.index(name) if key in kept else "ignore" for key, name in rows.items()
            }
            return ClassNames(tree.source(path), values, classes)
    return None


def read_dataset_json(text: str) -> dict[str, str]:
    """Return the name of every value; none where the file says something else."""
    content: Any = json.loads(text)
    labels: Any = cast(Mapping[str, Any], content).get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        return {}
    rows = cast(dict[str, Any], labels)
    if all(type(value) is int for value in rows.values()):
        rows = {str(value): name for name, value in rows.items()}
    fits = all(_VALUE.fullmatch(key) and isinstance(name, str) for key, name in rows.items())
    return dict(sorted(rows.items(), key=lambda row: int(row[0]))) if fits else {}


def read_labelmap(text: str) -> dict[str, str]:
    """Return the name of every colour; none where the file says something else."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split(":")[0].split(",")
        if line.startswith("#") or len(parts) != 3:
            continue
        if not all(part.strip().isdecimal() and int(part) < 256 for part in parts):
            return {}
        rows["#" + "".join(f"{int(part):02x}" for part in parts)] = name.strip()
    return rows


def read_class_table(text: str) -> dict[str, str]:
    """Return the name of every colour or value of a .csv with the columns name, r, g, b, or Pixel Value, Class."""
    rows: dict[str, str] = {}
    for row in csv.DictReader(text.splitlines(), skipinitialspace=True):
        cells = {str(key).strip().lower(): str(value).strip() for key, value in row.items()}
        name = cells.get("name") or cells.get("class") or ""
        value = cells.get("pixel value", "")
        colour = [cells.get(key, "") for key in "rgb"]
        if not name or not (value.isdecimal() or all(one.isdecimal() and int(one) < 256 for one in colour)):
            return {}
        rows[str(int(value)) if value else "#" + "".join(f"{int(one):02x}" for one in colour)] = name
    return rows


def read_label_colours(text: str) -> dict[str, str]:
    """Return the name of every colour; none where a line is not three numbers and a name."""
    found = [_COLOUR_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if not all(match and all(int(match[place]) < 256 for place in (1, 2, 3)) for match in found):
        return {}
    return {"#" + "".join(f"{int(match[place]):02x}" for place in (1, 2, 3)): match[4] for match in found if match}


FILES: dict[str, Callable[[str], dict[str, str]]] = {
    "dataset.json": read_dataset_json,
    "labelmap.txt": read_labelmap,
    "*class_dict*.csv": read_class_table,
    "_classes.csv": read_class_table,
    "label_colo*rs.txt": read_label_colours,
}
"""How each file is read, by a pattern of its name in lower case."""
