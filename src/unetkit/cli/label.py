"""The verb label: paint on images in the browser, and train a network meanwhile."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.app import Overrides, app
from unetkit.cli.serve import HostOption, NoTokenOption, PortOption, TokenOption


@app.command("label")
def label(
    data: Annotated[Path, typer.Argument(help="a folder of images, an image or a stack, or an OME-Zarr")],
    overrides: Overrides = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="names of a new project's classes, the background first", show_default=False),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            help="the project's folder: DIR/unetkit-labels, or NAME-labels next to a file", show_default=False
        ),
    ] = None,
    masks: Annotated[bool, typer.Option(help="take over masks that are there already")] = True,
    repeat: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="train the newest run again, into this folder, and end", show_default=False),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    token: TokenOption = None,
    no_token: NoTokenOption = False,
) -> None:
    """Paint on images in the browser while a network is trained on what is painted: label DIR [train.threads=1 ...]."""
    from unetkit.labelling import label as labelled
    from unetkit.labelling import repeat_newest
    from unetkit.serving import require_extra

    if repeat is not None:
        run = repeat_newest(data, repeat, project=project)
        print(f"written: {run.path}")
        return
    require_extra()
    from unetkit.serving.guard import access_for
    from unetkit.serving.keeper import keep_serving
    from unetkit.serving.server import listening

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    access = access_for(host, token, no_token=no_token)
    with listening(host, port) as listener:
        kept = keep_serving()
        labelled(
            data,
            listener,
            classes=None if classes is None else [name.strip() for name in classes.split(",")],
            project=project,
            masks=masks,
            overrides=overrides or [],
            host=host,
            access=access,
            announce=lambda address: kept.announce(f"open: {address}"),
            say=kept.say,
        )
