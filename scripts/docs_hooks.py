"""Fill the pages of the documentation that repeat the code: the scores' definitions and the configuration's keys.

MkDocs calls `on_page_markdown` for every page; a mark such as `<!-- metrics -->` is replaced by what it names.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from unetkit.config import load_config
from unetkit.metrics import DEFINITIONS, Definition


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page."""
    for mark, text in {"<!-- metrics -->": metrics, "<!-- configuration -->": configuration}.items():
        if mark in markdown:
            markdown = markdown.replace(mark, text())
    return markdown


def metrics() -> str:
    """Return a section for every score, in Markdown."""
    return "\n".join(_section(card) for card in DEFINITIONS.values())


def configuration() -> str:
    """Return a table of the keys of every section, with the values of the `isbi` preset, in Markdown."""
    config = load_config("isbi", [])
    return "\n".join(f"### {name}\n\n{_table(getattr(config, name), name)}" for name in type(config).model_fields)


def _table(section: BaseModel, path: str) -> str:
    return "\n".join([f"{section.__doc__}\n", "| key | value | meaning |", "|---|---|---|", *_rows(section, path), ""])


def _rows(section: BaseModel, path: str) -> Iterator[str]:
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{path}.{key}")
        else:
            yield f"| `{path}.{key}` | `{_as_yaml(value)}` | {_escaped(field.description or '')} |"


def _as_yaml(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def _section(card: Definition) -> str:
    rows = {
        "formula": f"`{card.formula}`",
        "range": f"{card.low:g} to {card.high:g}, {card.better} is better",
        "classes": card.classes,
        "averaging": card.averaging,
        "absent class": card.absent,
        "decision": card.threshold,
        "pixels": card.resolution,
        "source": card.source,
    }
    table = "\n".join(f"| {name} | {_escaped(text)} |" for name, text in rows.items())
    return f"## `{card.name}`\n\n| | |\n|---|---|\n{table}\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
