"""Labelling: images without masks, a page to paint on, and a network that is trained meanwhile.

Here are the verb `label` and what is said at its start and end. PyTorch is loaded when a project is opened.
"""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unetkit.errors import UsageError
from unetkit.storage.atomic import temporary_folder

if TYPE_CHECKING:
    from unetkit.run import Run
    from unetkit.serving.guard import Access


def label(
    data: str | Path,
    listener: socket.socket,
    *,
    classes: Sequence[str] | None = None,
    project: str | Path | None = None,
    masks: bool = True,
    overrides: Sequence[str] = (),
    host: str = "127.0.0.1",
    access: "Access",
    announce: Callable[[str], object] = print,
    say: Callable[[str], object] = print,
) -> None:
    """Open a labelling project in the browser, until a signal ends it.

    Args:
        data: a folder of images, with or without masks, an image file or a stack, or an OME-Zarr.
        listener: as `listening` gives it.
        classes: names of a new project's classes, the background first; None: those of its masks, else background and
            foreground.
        project: its folder; None: `unetkit-labels` in the data's folder, or `NAME-labels` next to its file.
        masks: take over masks that are there already.
        overrides: `key=value` texts for the runs that begin.
        host: where it listens, as it was named.
        access: who may ask, as `access_for` says it of this host.
        announce: takes the address to open.
        say: takes a line about what is opened.

    Raises:
        DataError: no images, or none that can be read.
        UsageError: the project is in use.
        StorageError: the disk does not take the project.
    """
    from unetkit.labelling.app import labelling_app
    from unetkit.labelling.project import open_project
    from unetkit.serving.server import address_of, run

    folder = None if project is None else Path(project)
    opened = open_project(Path(data), classes=classes, folder=folder, masks=masks)
    try:
        contents = opened.contents
        files, pages, painted = len({one.path for one in contents.images}), contents.places, opened.painting.pages
        parts = ", large ones in parts" if any(one.part is not None for one in contents.images) else ""
        say(f"images: {files}{parts}; {len(pages)} pages, {len(painted)} with labels")
        say(f"classes: {', '.join(one.name for one in contents.classes)}")
        say(f"project: {contents.folder}")
        config = contents.config(contents.folder / "data.csv", held_out=False, overrides=overrides)
        if config.model.context > 0:
            raise UsageError("model.context: label looks at one slice at a time; train with it on what is painted")
        with temporary_folder() as tiles:
            app = labelling_app(opened, access=access, folder=tiles, overrides=overrides)
            announce(address_of(listener, host, access))
            run(app, listener)
    finally:
        opened.close()


def repeat_newest(data: str | Path, out: str | Path, *, project: str | Path | None = None) -> "Run":
    """Train the newest run of a project again: the same steps on the same strokes; arguments as of `label`.

    Raises:
        UsageError: the project has no run yet.
        RunFolderError, StorageError, DataError: the run or its images cannot be read, or the folder not be made.
    """
    from unetkit.labelling.project import project_folder, run_folders
    from unetkit.labelling.trainer import repeat
    from unetkit.run import open_run

    folder = project_folder(Path(data)) if project is None else Path(project)
    runs = run_folders(folder)
    if not runs:
        raise UsageError(f"{folder}: holds no run yet; paint two classes and train first")
    return repeat(open_run(runs[-1]), Path(out))
