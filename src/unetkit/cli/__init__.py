"""The command: parse, call the library function of the same name, print. Nothing here imports torch at the top."""

import sys

from unetkit.cli import data, evaluate, export, predict, train
from unetkit.cli.app import app, complain
from unetkit.errors import InterruptedRun, UnetkitError

__all__ = ["app", "data", "evaluate", "export", "main", "predict", "train"]


def main() -> None:
    """Run the command and turn the errors of our tree into one line and their exit code."""
    try:
        app(prog_name="unetkit")
    except InterruptedRun as error:
        complain(error)
        sys.exit(128 + error.signal_number)
    except UnetkitError as error:
        complain(error)
        sys.exit(error.exit_code)
