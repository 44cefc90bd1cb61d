"""The command: parse, call the library function of the same name, print. Nothing here imports torch at the top."""

import errno
import os
import signal
import sys
from itertools import takewhile
from types import FrameType

from unetkit.cli import data, evaluate, export, predict, serve, train
from unetkit.cli.app import app, complain
from unetkit.errors import InterruptedRun, UnetkitError, UsageError
from unetkit.machine import ending_signals

__all__ = ["app", "data", "evaluate", "export", "main", "predict", "serve", "train"]

_LESS = "choose a smaller size, patch, tile or batch, or fewer images at once"

_OF_PATHS = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS)
"""What asking whether a path is there, or removing it, may end with."""

_received: list[int] = []  # signals, in their order


class _Stopped(BaseException):
    """A signal: what is not whole yet is removed on the way out. No error, so that nothing takes it for one."""


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise _Stopped


def main() -> None:
    """Run the command and turn the errors of our tree into one line and their exit code."""
    _received.clear()
    ends = ending_signals()
    for number in ends:
        signal.signal(number, _stop)
    try:
        ours = takewhile(lambda word: word != "--", sys.argv[1:])  # an older system's flags follow
        empty = next((word for word in ours if not word or (word.startswith("--") and word.endswith("="))), None)
        if empty is not None:  # an empty path would stand for the current folder
            raise UsageError(f"found the empty argument '{empty}'; is a variable of the shell not set?")
        app(prog_name="unetkit")
    except SystemExit:
        raise
    except BaseException as error:
        # Native code may put an error of its own in the place of ours, as numpy's tofile does.
        sys.exit(_told_stop(_received[0]) if _received else _told(error))
    finally:
        _flush()
        for number in ends:  # Python's own end has no place for an error: it would print a traceback and go on
            signal.signal(number, signal.SIG_DFL)


def _flush() -> None:
    """Print what is left, before a signal may end the process; a reader that is gone, as `head` goes, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's own end would complain
    except (OSError, ValueError):
        return  # Python's own end says it


def _told_stop(number: int) -> int:
    print(f"unetkit: stopped by {signal.Signals(number).name}; nothing is left half-written", file=sys.stderr)
    return 128 + number


def _told(error: BaseException) -> int:
    """Say what went wrong in one line: the exit code. What is no error of ours is raised again."""
    match error:
        case InterruptedRun():
            complain(error)
            return 128 + error.signal_number
        case UnetkitError():
            complain(error)
            return error.exit_code
        case MemoryError():
            complain(f"this takes more memory than there is ({error or 'out of memory'}); {_LESS}")
            return 2
        case OSError() if error.errno in _OF_PATHS:
            complain(f"{error.filename}: {error.strerror}; name another path")
            return 2
        case OSError() if error.errno == errno.ENOSPC:
            complain(f"{error.filename or 'the output'}: no space is left on the device; free some, and run this again")
            return 2
        case RuntimeError() if "can't allocate memory" in str(error):  # as PyTorch says it
            complain(f"this takes more memory than there is; {_LESS}")
            return 2
        case _:
            raise error
