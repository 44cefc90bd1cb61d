"""Names of classes from a file next to the masks: nnU-Net's and the Decathlon's dataset.json, CVAT's labelmap.txt.

`dataset.json` has `labels`, either names with their value ({"background": 0, "cell": 1, "ignore": 2}) or values with
their name ({"0": "background", "1": "cell"}); regions, which are lists of values, are not read. A line of
`labelmap.txt` is `name:red,green,blue:parts:actions`. Names that do not fit the values of the masks are not taken.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from unetkit.data.kinds import ClassNames
from unetkit.errors import DataError
from unetkit.storage.tree import Tree

_VALUE = re.compile("[0-9]{1,9}")
_IGNORED = ("ignore", "ignored", "void", "unlabeled", "unlabelled")


def class_names(tree: Tree) -> ClassNames | None:
    """Return what the file next to the masks says, the background first; None where there is none that can be read."""
    for path in sorted(tree.files, key=lambda path: path.count("/")):
        reader = FILES.get(path.rpartition("/")[2].lower())
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


FILES: dict[str, Callable[[str], dict[str, str]]] = {
    "dataset.json": read_dataset_json,
    "labelmap.txt": read_labelmap,
}
"""How each file is read, by its name."""
