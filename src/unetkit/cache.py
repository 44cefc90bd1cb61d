"""Where this user's files lie that can be brought or made again."""

import os
import tempfile
from pathlib import Path


def user_cache(purpose: str) -> Path:
    """Return the folder for files of one purpose: below XDG_CACHE_HOME, ~/.cache, or /tmp; it need not exist."""
    home = os.path.expanduser("~")
    usual = Path(home, ".cache") if home != "~" else Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "unetkit" / purpose
