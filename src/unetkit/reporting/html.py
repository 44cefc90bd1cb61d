"""Pages as HTML: plain values go into the templates of this room, which escape every text.

`Table` and `Facts` are what a page is made of; `templates/parts.html` draws them. A page holds everything itself: no
script, nothing fetched. Does not know runs, scores or pictures.
"""

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from unetkit.version import __version__

Content = str | Markup
"""A text, which is escaped, or markup that is finished."""
Facts = Sequence[tuple[str, Content]]
"""Names and what they stand for."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption above it.

    Attributes:
        caption: says what is in it, with units.
        head: the headings of the columns.
        rows: of the same length as `head`.
        numbers: the columns that are set as numbers, right-aligned.
        marked: the rows that stand out.
        kind: the table's class in the style sheet.
    """

    caption: Content
    head: Sequence[Content]
    rows: Sequence[Sequence[Content]]
    numbers: Collection[int] = ()
    marked: Collection[int] = ()
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that lies in the page itself: a PNG, or an SVG drawing."""

    data: bytes
    title: str

    @property
    def url(self) -> str:
        """The image as a data URL."""
        kind = "image/png" if self.data.startswith(b"\x89PNG") else "image/svg+xml"
        return f"data:{kind};base64,{base64.b64encode(self.data).decode()}"


def render(template: str, title: str, **values: object) -> str:
    """Return a whole page: `templates/{template}` with these values.

    Raises:
        jinja2.UndefinedError: the template asks for a value that is not given.
    """
    written = f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by unetkit {__version__}."
    return _environment().get_template(template).render(title=title, written=written, **values)


def breakable(name: str) -> Markup:
    """Return a name in fixed letters whose line may break after `_` and `.`."""
    return Markup("<code>{}</code>").format(Markup(re.sub(r"([_.])(?=.)", r"\1<wbr>", str(escape(name)))))


def prose(text: str) -> Markup:
    """Return a text in which what stands between backticks is set in fixed letters."""
    parts = text.split("`")
    return Markup("").join(code(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def code(text: str) -> Markup:
    """Return a text in fixed letters."""
    return Markup("<code>{}</code>").format(text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("unetkit.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "prose": prose}
    return environment
