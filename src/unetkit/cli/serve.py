"""The verbs that answer in the browser: serve, and label, which trains a network on what is painted."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import DeviceOption, HeadOption, PrecisionOption, RuntimeOption, TrustOption, app

if TYPE_CHECKING:
    from unetkit.prediction.load import LoadOptions


from unetkit.cli.app import Overrides

HostOption = Annotated[str, typer.Option(help="the address to listen at; elsewhere than here a token is made")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free")]
TokenOption = Annotated[str | None, typer.Option(help="that clients must show", show_default=False)]
NoTokenOption = Annotated[bool, typer.Option("--no-token", help="let everybody in who reaches --host")]


@app.command()
def serve(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="run folders, network files, exported files, packages")
    ],
    *,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    token: TokenOption = None,
    no_token: NoTokenOption = False,
    max_bytes: Annotated[int, typer.Option(min=1, help="of an upload")] = 4 * 2**30,
    max_pixels: Annotated[int, typer.Option(min=1, help="of an image, all its pages together")] = 2**30,
    max_jobs: Annotated[int, typer.Option(min=1, help="of one client that wait or run")] = 4,
    max_seconds: Annotated[float, typer.Option(min=1, help="of a job")] = 3600,
    head: HeadOption = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    trust: TrustOption = False,
    device: DeviceOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="log every request, not only changes and errors")] = False,
) -> None:
    """Answer images in the browser and over HTTP: unetkit serve RUN."""
    from unetkit.serving import require_extra

    require_extra()
    from unetkit.serving.guard import access_for
    from unetkit.serving.server import keep_serving, listening

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("unetkit.server").setLevel(logging.DEBUG if verbose else logging.INFO)
    access = access_for(host, token, no_token=no_token)
    with listening(host, port) as listener:  # before PyTorch is loaded, which takes seconds
        kept = keep_serving()
        from unetkit.serving.app import ServeLimits
        from unetkit.serving.app import serve as start

        options: LoadOptions = {"head": head, "runtime": runtime, "precision": precision, "trust": trust}
        start(
            models,
            listener,
            host=host,
            access=access,
            limits=ServeLimits(max_bytes, max_pixels, max_jobs, max_seconds=max_seconds),
            device=device or "auto",
            options=options,
            announce=kept.announce,
        )


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
    from unetkit.serving.server import keep_serving, listening

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
