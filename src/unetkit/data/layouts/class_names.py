"""Names of classes from a file next to the masks: nnU-Net's and the Decathlon's dataset.json, CVAT's labelmap.txt.

`dataset.json` has `labels`, either names with their value ({"background": 0, "cell": 1, "ignore": 2}) or values with
their name ({"0": "background", "1": "cell"}); regions, which are lists of values, are not read. A line of
`labelmap.txt` is `name:red,green,blue:parts:actions`. Names that do not fit the values of the masks are not taken.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from unetkit.data.kinds import ClassNames
from unetkit.errors import DataError
from unetkit.storage.tree import Tree

_FILES = ("dataset.json", "labelmap.txt")
_IGNORED = ("ignore", "ignored", "void", "unlabeled", "unlabelled")


def class_names(tree: Tree) -> ClassNames | None:
    """Return what the file next to the masks says; None where there is none that can be read."""
    for path in sorted(tree.files, key=lambda path: path.count("/")):
        name = path.rpartition("/")[2].lower()
        if name in _FILES:
            try:
                text = tree.read(path).decode("utf-8-sig")
                rows = _of_json(text) if name.endswith(".json") else _of_labelmap(text)
            except (DataError, UnicodeDecodeError, json.JSONDecodeError):
                continue
            if rows:
                return _ordered(tree.source(path), rows)
    return None


def _of_json(text: str) -> dict[str, str]:
    """Return the name of every value."""
    content: Any = json.loads(text)
    labels: Any = cast(Mapping[str, Any], content).get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        return {}
    rows = cast(dict[str, Any], labels)
    if all(isinstance(value, int) for value in rows.values()):
        return {str(value): name for name, value in rows.items()}
    by_value = all(key.isdecimal() and isinstance(name, str) for key, name in rows.items())
    return dict(rows) if by_value else {}


def _of_labelmap(text: str) -> dict[str, str]:
    """Return the name of every colour."""
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


def _ordered(source: str, rows: Mapping[str, str]) -> ClassNames | None:
    """Return the classes in the order of the file, the background first."""
    kept = {key: name for key, name in rows.items() if name.lower() not in _IGNORED}
    order = sorted(kept.values(), key=lambda name: name.lower() != "background")
    classes = tuple(dict.fromkeys(order))
    if len(classes) < 2:
        return None
    values: dict[str, int | Literal["ignore"]] = {
        key: classes.index(name) if key in kept else "ignore" for key, name in rows.items()
    }
    return ClassNames(source, values, classes)
