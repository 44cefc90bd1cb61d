"""The journal of an unfinished prediction: what it is, and which of its blocks are done.

Next to an output `NAME` lies the folder `NAME.unfinished` while it is being made: `output`, which is filled and becomes
`NAME` at the end, `journal.jsonl`, and a lock. The first line of the journal says which job it is and what was chosen
for it; every other line is a finished block, written when that is on the disk. A process may
be killed at any moment: a last line that is not whole is as none, and its block is done again.
"""

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from unetkit.errors import DataError, UsageError
from unetkit.storage.atomic import flush, make_folder, not_written, part_of
from unetkit.storage.lock import locked

JOURNAL = "journal.jsonl"
"""Its name."""

_TOGETHER = 64
"""Lines that are brought to the disk together: what a power cut takes of them is computed again."""

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Journal:
    """An unfinished prediction that this process has the lock of.

    Attributes:
        folder: of everything that is not finished.
        job: what it is, as plain values; only the same job may go on with it.
        chosen: what was chosen for it at its beginning; empty before `begin`.
        done: the checksums of finished blocks.
        file: the journal, to be added to.
    """

    folder: Path
    job: Content
    chosen: Content
    file: TextIO
    done: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def output(self) -> Path:
        """What is being filled."""
        return self.folder / "output"

    def add(self, block: int, checksum: str) -> None:
        """Note that a block is done.

        Raises:
            StorageError: the disk did not take it.
        """
        self._write({"block": block, "crc32c": checksum})
        self.done[block] = checksum

    def begin(self, chosen: Content) -> None:
        """Note what the job is, and what was chosen for it.

        Raises:
            StorageError: the disk did not take it.
        """
        self._write({"job": self.job, "chosen": chosen})
        flush(self.folder)
        self.chosen.update(chosen)

    def _write(self, line: Content) -> None:
        try:
            self.file.write(f"{json.dumps(line)}\n")
            self.file.flush()
            if len(self.done) % _TOGETHER == 0:
                os.fsync(self.file.fileno())
        except OSError as error:
            raise not_written(self.folder, error) from error


def unfinished_folder(out: Path) -> Path:
    """Return where an output lies while it is being made."""
    return out.with_name(f"{out.name}.unfinished")


@contextmanager
def open_journal(out: Path, job: Content, *, resume: bool, overwrite: bool) -> Generator[Journal]:
    """Open the journal of a prediction to begin it or to go on with it; other processes are kept from it meanwhile.

    Where nothing was begun when the block ends, nothing is left. An unfinished prediction that is there is gone on with
    (`resume`) or dropped (`overwrite`).

    Raises:
        UsageError: another process is at it, there is one and nothing is said of it, or it is another job.
        StorageError: the disk did not take it.
    """
    folder = unfinished_folder(out)
    try:
        make_folder(folder)
        with locked(folder / "lock"):
            path = folder / JOURNAL
            if overwrite:
                _clear(folder)
            begun = path.exists() and b"\n" in path.read_bytes()[: 1 << 20]
            if begun and not resume:
                raise UsageError(
                    f"{folder}: an unfinished prediction of this output is there; go on with it by --resume, or begin "
                    "anew by --overwrite"
                )
            if not begun:
                _clear(folder)
            with path.open("a+", encoding="utf-8") as file:
                journal = _read(folder, file, job) if begun else Journal(folder, job, {}, file)
                try:
                    yield journal
                finally:
                    if not journal.chosen:
                        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        raise UsageError(f"{out}: another process is writing it; wait for that, or choose another --out") from None
    except OSError as error:
        raise not_written(out, error) from error


def finish(journal: Journal, out: Path) -> None:
    """Give the output its name, in place of what may have had it, and drop what is left of the work.

    Raises:
        StorageError: the disk did not take it.
    """
    try:
        if out.is_dir():
            old = part_of(out)
            out.replace(old)
            journal.output.replace(out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            journal.output.replace(out)
        flush(out.parent)
    except OSError as error:
        raise not_written(out, error) from error
    shutil.rmtree(journal.folder, ignore_errors=True)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _read(folder: Path, file: TextIO, job: Content) -> Journal:
    """Read a journal as far as it is whole, cut off what is not, and make sure that it is of this job."""
    file.seek(0)
    whole, lines = 0, list[Content]()
    for line in file:
        try:
            if not line.endswith("\n"):
                break
            lines.append(cast(Content, json.loads(line)))
        except ValueError:
            break
        whole += len(line.encode())
    file.seek(whole)
    file.truncate()
    if not lines or not {"job", "chosen"} <= lines[0].keys():
        raise DataError(f"{folder}: its journal is damaged; begin anew by --overwrite")
    found = lines[0]["job"]
    if found != job:
        named = [f"{key} ({found.get(key)} then, {job.get(key)} now)" for key in job if found.get(key) != job[key]]
        raise UsageError(
            f"{folder}: was begun as another job: {'; '.join(named) or 'by another version'}; give the same again, or "
            "begin anew by --overwrite"
        )
    journal = Journal(folder, job, lines[0]["chosen"], file)
    for line in lines[1:]:
        journal.done[line["block"]] = line["crc32c"]
    return journal
