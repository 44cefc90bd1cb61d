"""The verbs that get data and make it: data sample, data fetch, data convert."""

from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import data_app


@data_app.command("sample")
def data_sample(
    out: Annotated[Path, typer.Option(help="folder to write the three TIFF stacks to", show_default=False)],
    slices: Annotated[int, typer.Option(help="slices of each stack", min=2)] = 30,
    size: Annotated[int, typer.Option(help="side of a slice in pixels", min=64)] = 256,
    seed: Annotated[int, typer.Option(help="seed of everything drawn", min=0)] = 0,
) -> None:
    """Generate an EM-like stack with labels, in the form of the ISBI data."""
    from unetkit.data import write_sample

    write_sample(out, slices=slices, size=size, seed=seed)
    print(f"written: {out}")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="isbi2012")],
    out: Annotated[Path, typer.Option(help="folder to put the files in", show_default=False)],
    source: Annotated[
        Path | None, typer.Option("--from", help="take the files from here instead of the network")
    ] = None,
) -> None:
    """Fetch a public data set and check every pixel of it."""
    from unetkit.data import fetch

    fetch(name, out, source=source)
    print(f"written: {out}")


@data_app.command("convert")
def data_convert(
    source: Annotated[str, typer.Argument(help="nuclei, COCO, a stack, folders: whatever `train --data` takes")],
    out: Annotated[Path, typer.Option(help="folder to make", show_default=False)],
) -> None:
    """Write a data set with labels as multi-class folders: ID/image.png and ID/mask.png."""
    from unetkit.data import convert, open_dataset
    from unetkit.progress import reporter

    with reporter("converting") as listener:
        convert(open_dataset(source), out, reporter=listener)
    print(f"written: {out}")
