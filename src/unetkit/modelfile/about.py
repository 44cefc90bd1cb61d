"""What only people know of a network: its title, its authors, its licence, what to cite, where its data came from.

It is written by hand, as YAML, and given to whatever publishes a network:

    title: Membranes in electron microscopy
    license: CC-BY-4.0
    authors:
      - {name: Ada Example, affiliation: University of Somewhere, orcid: 0000-0002-1825-0097, github: ada}
    citations:
      - {text: "Example (2026): Membranes", doi: 10.5281/zenodo.1}
    data: {name: My membranes, url: https://example.org/membranes, license: CC0-1.0}
    tags: [electron-microscopy]

Every key may be left out, and what is left out is said nowhere. Licences are names of the SPDX list; whether a name is
on that list is not known here.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unetkit.config.io import first_complaint
from unetkit.config.text import parse, read_text
from unetkit.errors import UsageError

_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_Web = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]
_License = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$", max_length=100)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Author(_Section):
    """A person.

    Attributes:
        name: as it is printed.
        affiliation: where they work.
        orcid: sixteen digits in four groups.
        github: their name there; the BioImage Model Zoo asks for that of a maintainer.
    """

    name: _Text
    affiliation: _Text | None = None
    orcid: Annotated[str, Field(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = None
    github: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=39)] | None = None

    @property
    def name_with_place(self) -> str:
        """The name, with the affiliation where it is known."""
        return f"{self.name} ({self.affiliation})" if self.affiliation else self.name


class Citation(_Section):
    """A work to cite, with a DOI such as 10.1000/182 or a URL."""

    text: _Text
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,}/\S+$")] | None = None
    url: _Web | None = None

    @property
    def link(self) -> str | None:
        """Where the work is found."""
        return f"https://doi.org/{self.doi}" if self.doi else self.url


UNET = Citation(
    text="Ronneberger, Fischer and Brox (2015): U-Net: Convolutional Networks for Biomedical Image Segmentation",
    doi="10.1007/978-3-319-24574-4_28",
)
"""What every network here goes back to."""


class DataSource(_Section):
    """Where the training data came from."""

    name: _Text | None = None
    url: _Web | None = None
    license: _License | None = None


class About(_Section):
    """What only people know of a network.

    Attributes:
        title: a few words.
        description: a sentence or two.
        license: of the weights, an SPDX name such as CC-BY-4.0.
        authors: who made it.
        citations: what to cite.
        data: where its training data came from.
        tags: further words to find it by.
    """

    title: _Text | None = None
    description: _Text | None = None
    license: _License | None = None
    authors: tuple[Author, ...] = ()
    citations: tuple[Citation, ...] = ()
    data: DataSource = DataSource()
    tags: tuple[Annotated[str, Field(pattern=r"^[\w-]+$", max_length=50)], ...] = ()

    def missing_for_zoo(self) -> list[str]:
        """Return what the BioImage Model Zoo asks for and is not said."""
        asked = {
            "authors": self.authors,
            "a github name of one of them, who maintains it": any(one.github for one in self.authors),
            "a license": self.license,
            "tags of modality and content, such as electron-microscopy and cells": self.tags,
        }
        return [what for what, said in asked.items() if not said]


def read_about(source: About | str | Path | None) -> About:
    """Return what a YAML file says of a network; nothing where none is given.

    Raises:
        ConfigError: the file cannot be read, or is not YAML.
        UsageError: it holds an unknown key or a wrong value.
    """
    if source is None or isinstance(source, About):
        return source or About()
    try:
        return About.model_validate(parse(read_text(Path(source)), str(source)) or {})
    except ValidationError as error:
        keys = ", ".join(About.model_fields)
        raise UsageError(f"{source}: {first_complaint(error)}; it may have the keys {keys}") from None
