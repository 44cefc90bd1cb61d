"""How much a file may ask for before its pixels are looked at, so that a small one cannot fill the memory.

Each number is changed by a variable of the environment, for those who need more.
"""

import os
from dataclasses import dataclass

from unetkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that the environment may change.

    Attributes:
        variable: of the environment.
        usual: what holds where the variable is not set.
    """

    variable: str
    usual: int

    @property
    def value(self) -> int:
        """The number that holds now.

        Raises:
            UsageError: the variable is no whole number above 0.
        """
        text = os.environ.get(self.variable)
        if not text:
            return self.usual
        if not text.isdecimal() or not int(text):
            raise UsageError(f"{self.variable}: found {text!r} in the environment; a whole number above 0 was expected")
        return int(text)

    @property
    def more(self) -> str:
        """How to allow more, for the end of a message."""
        return f"allow more with {self.variable}=NUMBER in the environment, if you trust whoever made it"


MOST_PAGES = Limit("UNETKIT_MOST_PAGES", 2**16)
"""Pages of a TIFF or GIF file that are followed one by one. An ImageJ stack above 4 GB counts as one."""

MOST_PIXELS = Limit("UNETKIT_MOST_PIXELS", 2**27)
"""Compressed pixels that are decoded at once, a page, a strip, a tile or a chunk: 11,585 x 11,585."""

MOST_BYTES = Limit("UNETKIT_MOST_BYTES", 2**30)
"""What compressed content unfolds to at once: such a piece, an array of npz, MATLAB or .nii.gz, a member of a .zip."""
