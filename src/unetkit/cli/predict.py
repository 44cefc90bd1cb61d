"""The verb that segments images: predict."""

from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import DeviceOption, HeadOption, RuntimeOption, ThreadsOption, app, print_notes


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a run folder, a network file or an exported file")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="an image, a stack, or a folder of images")],
    out: Annotated[Path, typer.Option(help="file or folder to write", show_default=False)],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="write probabilities instead of masks")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="average over the eight flips and turns")] = False,
    head: HeadOption = None,
    tile: Annotated[int | None, typer.Option(help="side of a tile in pixels", show_default=False)] = None,
    overlap: Annotated[
        int | None, typer.Option(help="pixels that tiles share on each side", show_default=False)
    ] = None,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
) -> None:
    """Segment images of any size: unetkit predict RUN INPUT --out FILE."""
    from unetkit import api
    from unetkit.progress import reporter

    options = {"tta": tta or None, "tile": tile, "overlap": overlap, "head": head}
    options |= {"runtime": runtime, "threads": threads}
    with reporter("predicting") as listener:
        notes = api.predict_file(
            model, source, out, probabilities=probabilities, options=options, device=device or "auto", reporter=listener
        )
    print_notes(notes)
    print(f"written: {out}")
