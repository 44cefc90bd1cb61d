"""pack: a finished run for other people, in one of the forms that there are."""

from collections.abc import Callable
from pathlib import Path

from unetkit.errors import UsageError
from unetkit.modelfile.about import About, read_about
from unetkit.publishing.crate import write_crate
from unetkit.publishing.facts import Facts, gather
from unetkit.publishing.hub import write_folder
from unetkit.run import Run, open_run

FORMS: dict[str, Callable[[Facts, Path], None]] = {"crate": write_crate, "hub": write_folder}
"""What a run is packed as: a research object, one .zip; the folder of a model for a hub."""


def pack(run: Run | str | Path, *, out: str | Path, to: str = "crate", about: About | str | Path | None = None) -> Path:
    """Pack a finished run for other people.

    Args:
        run: a run or its folder.
        out: the .zip to write, of which an older one is replaced, or the new folder.
        to: crate: a research object that `reproduce` trains again, one .zip; hub: the folder of a model for a hub,
            which is a MODEL for every command.
        about: what only people know: title, authors, licence, what to cite, where the data came from; a YAML file or an
            `About`. None: nothing of it is said.

    Returns:
        `out`.

    Raises:
        UsageError: no such form, another suffix, a folder that is not empty, the extra `crate` is not installed, or
            `about` has an unknown key.
        RunFolderError: the run is not finished.
        StorageError: the disk did not take it.

    Example:
        >>> unetkit.pack("runs/first", out="first.zip", about="about.yaml")
    """
    if to not in FORMS:
        raise UsageError(f"there is no form {to!r} to pack a run in; there are: {', '.join(FORMS)}")
    facts = gather(run if isinstance(run, Run) else open_run(Path(run)), read_about(about))
    FORMS[to](facts, Path(out))
    return Path(out)
