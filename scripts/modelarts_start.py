"""The start file of a job of ModelArts: the words of the model zoo's train.py become those of unetkit's train.

Takes the words that ModelArts gives a start file, and needs unetkit to be installed (pip-requirements.txt next to this
file, or an image of one's own). A configuration is looked for next to this file where it is not a whole path or URL.
"""

import argparse
import os
import sys
from pathlib import Path


def command(words: list[str], folder: Path) -> list[str]:
    """Return the words of unetkit for those of a start file that lies in a folder."""
    parser = argparse.ArgumentParser(prog="modelarts_start.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--config_path", default="unet_simple_config.yaml")
    given, flags = parser.parse_known_args(words)
    config = given.config_path if "://" in given.config_path else str(folder / given.config_path)
    return ["train", config, "--", "--enable_modelarts=True", *flags]


if __name__ == "__main__":
    words = command(sys.argv[1:], Path(__file__).resolve().parent)
    os.execv(sys.executable, [sys.executable, "-m", "unetkit", *words])
