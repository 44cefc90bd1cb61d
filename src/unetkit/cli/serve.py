"""The verb that answers over HTTP: serve."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import DeviceOption, HeadOption, PrecisionOption, RuntimeOption, TrustOption, app

if TYPE_CHECKING:
    from unetkit.prediction.load import LoadOptions

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
    from unetkit.serving.keeper import keep_serving
    from unetkit.serving.server import listening

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
