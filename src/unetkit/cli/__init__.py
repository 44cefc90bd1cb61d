"""The command: parse, call the library function of the same name, print. Nothing here imports torch at the top."""

import sys
from itertools import takewhile

from unetkit.cli import data, evaluate, export, predict, train
from unetkit.cli.app import app, complain
from unetkit.errors import InterruptedRun, UnetkitError, UsageError

__all__ = ["app", "data", "evaluate", "export", "main", "predict", "train"]


def main() -> None:
    """Run the command and turn the errors of our tree into one line and their exit code."""
    try:
        ours = takewhile(lambda word: word != "--", sys.argv[1:])  # an older system's flags follow
        empty = next((word for word in ours if not word or (word.startswith("--") and word.endswith("="))), None)
        if empty is not None:  # an empty path would stand for the current folder
            raise UsageError(f"found the empty argument '{empty}'; is a variable of the shell not set?")
        app(prog_name="unetkit")
    except InterruptedRun as error:
        complain(error)
        sys.exit(128 + error.signal_number)
    except UnetkitError as error:
        complain(error)
        sys.exit(error.exit_code)
