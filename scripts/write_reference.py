"""Write into the documentation what the code knows: every key of the configuration and the definition of every score.

    python scripts/write_reference.py            # write docs/configuration.md and docs/metrics.md
    python scripts/write_reference.py --check    # exit 1 where a page is not what the code says

In a page, the text between `<!-- begin NAME -->` and `<!-- end -->` is replaced. Readers of the sources see what
readers of the site see.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unetkit.config import load_config
from unetkit.metrics import FAMILIES, Definition
from unetkit.metrics.definitions import said_range

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- begin {} -->\n", "<!-- end -->"


def main() -> int:
    """Write or check the pages; return the exit code."""
    stale = False
    for name, text in {"configuration": configuration(), "metrics": metrics()}.items():
        page = DOCS / f"{name}.md"
        current = page.read_text(encoding="utf-8")
        before, rest = current.split(BEGIN.format(name))
        wanted = f"{before}{BEGIN.format(name)}\n{text.strip()}\n\n{END}{rest.split(END, 1)[1]}"
        if wanted != current and "--check" in sys.argv[1:]:
            print(f"{page.name} is not what the code says; write it with: make reference")
            stale = True
        elif wanted != current:
            page.write_text(wanted, encoding="utf-8")
            print(f"written: {page}")
    return int(stale)


def metrics() -> str:
    """Return a section for every family and, in it, one for every score, in Markdown."""
    sections: list[str] = []
    for name, family in FAMILIES.items():
        when = family.when.replace("; ", ", and ")
        sections.append(f"## `{name}`\n\n{family.about[0].upper()}{family.about[1:]}; computed {when}.\n")
        sections += [_section(card) for card in family.definitions.values()]
    return "\n".join(sections)


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
        "range": said_range(card),
        "classes": card.classes,
        "averaging": card.averaging,
        "absent class": card.absent,
        "decision": card.threshold,
        "pixels": card.resolution,
        "source": card.source,
    }
    table = "\n".join(f"| {name} | {_escaped(text)} |" for name, text in rows.items())
    return f"### `{card.name}`\n\n| | |\n|---|---|\n{table}\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.exit(main())
