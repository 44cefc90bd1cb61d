"""HTML from plain values: every text is escaped on its way in, only `Html` goes in as it is.

Assumes nothing about what is shown. Does not know runs, scores or pictures.
"""

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is finished: what was text in it is escaped already."""

    markup: str


Content = Html | str

_VOID = frozenset({"img", "meta", "wbr"})


def tag(name: str, /, *content: Content, **attributes: str) -> Html:
    """Return an element; texts and attributes are escaped, `class_` is written as class."""
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    opening = f"<{name}{written}>"
    return Html(opening if name in _VOID else f"{opening}{joined(*content).markup}</{name}>")


def joined(*content: Content) -> Html:
    """Return the contents one after the other."""
    return Html("".join(part.markup if isinstance(part, Html) else escape(part) for part in content))


def breakable(name: str) -> Html:
    """Return a name in fixed letters whose line may break after `_` and `.`."""
    return tag("code", Html(re.sub(r"([_.])(?=.)", r"\1<wbr>", escape(name))))


def prose(text: str) -> Html:
    """Return a text in which what stands between backticks is set in fixed letters."""
    return joined(*(tag("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))))


def table(
    caption: Content,
    head: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    numbers: Collection[int] = (),
    marked: Collection[int] = (),
    kind: str = "plain",
) -> Html:
    """Return a table with its caption above it.

    Args:
        caption: says what is in it, with units.
        head: the headings of the columns.
        rows: of the same length as `head`.
        numbers: the columns that are set as numbers, right-aligned.
        marked: the rows that stand out.
        kind: the table's class in the style sheet.
    """
    sorts = [{"class_": "number"} if column in numbers else {} for column in range(len(head))]
    top = tag("tr", *(tag("th", cell, scope="col", **sort) for cell, sort in zip(head, sorts, strict=True)))
    cells = [[tag("td", cell, **sort) for cell, sort in zip(row, sorts, strict=True)] for row in rows]
    body = [tag("tr", *row, **({"class_": "marked"} if number in marked else {})) for number, row in enumerate(cells)]
    return tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body), class_=kind)


def facts(rows: Sequence[tuple[str, Content]]) -> Html:
    """Return a list of names and what they stand for."""
    return tag("dl", *(joined(tag("dt", name), tag("dd", content)) for name, content in rows))


def section(title: str, *content: Content, anchor: str) -> Html:
    """Return a part of the page under its heading."""
    return tag("section", tag("h2", title), *content, id=anchor)


def picture(data: bytes, kind: str, alt: str) -> Html:
    """Return an image that lies in the page itself; `kind` is its media type, such as image/png."""
    return tag("img", src=f"data:{kind};base64,{base64.b64encode(data).decode()}", alt=alt)
