"""The command: parse, call the library function of the same name, print. Nothing here imports torch at the top."""

import signal
import sys
from itertools import takewhile
from types import FrameType

from unetkit.cli import data, evaluate, export, label, predict, publish, runs, serve, train
from unetkit.cli.app import app, complain
from unetkit.errors import InterruptedRun, UnetkitError, UsageError

__all__ = ["app", "data", "evaluate", "export", "label", "main", "predict", "publish", "runs", "serve", "train"]


_LESS = "choose a smaller size, patch, tile or batch, or fewer images at once"


class _Stopped(BaseException):
    """A signal: what is not whole yet is removed on the way out. No error, so that nothing takes it for one."""

    def __init__(self, number: int) -> None:
        self.number = number


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


def main() -> None:
    """Run the command and turn the errors of our tree into one line and their exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    try:
        ours = takewhile(lambda word: word != "--", sys.argv[1:])  # an older system's flags follow
        empty = next((word for word in ours if not word or (word.startswith("--") and word.endswith("="))), None)
        if empty is not None:  # an empty path would stand for the current folder
            raise UsageError(f"found the empty argument '{empty}'; is a variable of the shell not set?")
        app(prog_name="unetkit")
    except _Stopped as stopped:
        print(
            f"unetkit: stopped by {signal.Signals(stopped.number).name}; nothing is left half-written", file=sys.stderr
        )
        sys.exit(128 + stopped.number)
    except MemoryError as error:
        complain(f"this takes more memory than there is ({error or 'out of memory'}); {_LESS}")
        sys.exit(2)
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # as PyTorch says it
            raise
        complain(f"this takes more memory than there is; {_LESS}")
        sys.exit(2)
    except InterruptedRun as error:
        complain(error)
        sys.exit(128 + error.signal_number)
    except UnetkitError as error:
        complain(error)
        sys.exit(error.exit_code)
