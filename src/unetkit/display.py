"""What a notebook shows of a value: tables and pictures as HTML, in one style; the same as text elsewhere.

Takes plain values, escapes every text, and knows no IPython: a notebook asks a value for `_repr_html_`.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Display:
    """Something to look at.

    Attributes:
        html: in a notebook.
        text: elsewhere.
    """

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Records:
    """A table of records, whose columns need not all be there in each.

    `table[3]` is a record, `table["loss"]` a column without the records that lack it; `pandas.DataFrame(table.rows)`
    makes a data frame.

    Attributes:
        rows: a dict each.
    """

    rows: tuple[dict[str, Any], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        """The number of records."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Give every record."""
        return iter(self.rows)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | str) -> dict[str, Any] | list[Any]:
        """Return a record by its place or a column by its name.

        Raises:
            KeyError: there is no such column.
        """
        if isinstance(key, int):
            return self.rows[key]
        if key not in self.columns:
            raise KeyError(f"{key}; there are {', '.join(self.columns)}")
        return [row[key] for row in self.rows if key in row]

    def _repr_html_(self) -> str:
        half = _MOST_ROWS // 2
        few = len(self.rows) <= _MOST_ROWS
        ends = self.rows if few else (*self.rows[:half], *self.rows[-half:])
        caption = "" if few else f"the {half} first and the {half} last of {len(self.rows)} rows"
        return table(self.columns, [[short(row.get(name)) for name in self.columns] for row in ends], caption)

    def __repr__(self) -> str:
        """Return the number of rows and the columns."""
        return f"{len(self.rows)} rows of {', '.join(self.columns)}"


def short(value: object) -> str:
    """Return a value as a table has it: numbers with four significant digits, nothing for None."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return an HTML table that scrolls where it is wider than the page."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = f"<table>{said}<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div style="overflow-x: auto">{body}</div>'


def picture(content: bytes, title: str) -> str:
    """Return a PNG as an HTML image."""
    source = f"data:image/png;base64,{b64encode(content).decode()}"
    return f'<img alt="{escape(title)}" title="{escape(title)}" src="{source}" style="max-width: 100%">'


def thumbnail(pixels_CHW: NDArray[Any], longest: int = 512) -> bytes:
    """Return pixels as a PNG for the eye: three channels in colour, else the first in grey, from black to white.

    Args:
        pixels_CHW: [C, H, W], any number type; the lowest value is black and the highest white.
        longest: the most rows and columns; larger images are thinned out.
    """
    from PIL import Image

    step = -(-max(pixels_CHW.shape[1:]) // longest)
    shown = pixels_CHW[: 3 if len(pixels_CHW) == 3 else 1, ::step, ::step].astype(np.float64)
    low, high = float(shown.min()), float(shown.max())
    grey = np.zeros_like(shown) if high == low else (shown - low) * (255 / (high - low))
    stored = np.rint(grey).astype(np.uint8)
    output = BytesIO()
    Image.fromarray(stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1)).save(output, format="PNG")
    return output.getvalue()
