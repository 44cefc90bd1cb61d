"""Every error a user can meet, in one tree.

    UnetkitError
    ├── UsageError            the request cannot be carried out as it was put
    │   ├── ConfigError       a configuration key, type or value is wrong
    │   ├── RunFolderError    a run folder is occupied, missing or incomplete
    │   └── DeviceError       the device or the precision asked for is not there
    ├── DataError             a file or folder of data cannot be used as it is
    ├── ModelFileError        a file that should hold a network cannot be read
    │   └── DamagedFileError  it was whole once: its checksum no longer matches
    ├── ParityError           an exported file does not compute what the network does; it was not kept
    ├── LostProcessError      another process of a training is gone; the last checkpoint stands
    ├── DivergedError         the loss is no longer a number; the last good checkpoint stands
    ├── RemoteError           object storage does not give or take what was asked for
    ├── StorageError          the disk refused to take what had to be written
    ├── FailedBlocksError     parts of a prediction failed again and again; the others are kept
    └── InterruptedRun        a signal ended the run; its state is saved

A message says what was found, what was expected and what to do, in one line. The command prints it without a
traceback and ends with `exit_code`. A failure that is not in this tree is a defect of ours and ends with 1. `listed`
and `known_names` put names into a message.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import ClassVar


class UnetkitError(Exception):
    """The root of the tree: catch it to catch everything that unetkit raises on purpose."""

    exit_code: ClassVar[int] = 2


class UsageError(UnetkitError):
    """The request cannot be carried out as it was put."""


class ConfigError(UsageError):
    """A configuration key, type or value is wrong."""


class RunFolderError(UsageError):
    """A run folder is occupied, missing or incomplete."""


class DeviceError(UsageError):
    """The device or the precision asked for is not there."""


class DataError(UnetkitError):
    """A file or folder of data cannot be used as it is."""


class ModelFileError(UnetkitError):
    """A file that should hold a network cannot be read."""


class DamagedFileError(ModelFileError):
    """A file was whole once: its checksum no longer matches its content."""


class ParityError(UnetkitError):
    """An exported file does not compute what the network does; it was not kept."""


class LostProcessError(UnetkitError):
    """Another process of a training is gone or cannot be reached; the last checkpoint stands."""


class DivergedError(UnetkitError):
    """The loss is no longer a number; the last good checkpoint stands."""


class RemoteError(UnetkitError):
    """Object storage does not give or take what was asked for."""


class StorageError(UnetkitError):
    """The disk refused to take what had to be written."""


class FailedBlocksError(UnetkitError):
    """Parts of a prediction failed again and again; the others are kept, and `--resume` tries these anew."""

    exit_code: ClassVar[int] = 1


class InterruptedRun(UnetkitError):
    """A signal ended the run; its state is saved and `--resume` goes on from it."""

    def __init__(self, message: str, signal_number: int) -> None:
        """Keep the signal, so that the command can end as a process ended by it would (128 + number)."""
        super().__init__(message)
        self.signal_number = signal_number


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first of many names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def known_names(word: str, known: Collection[str]) -> str:
    """Return a hint for a name that is not known: the known one that is nearest, else all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
