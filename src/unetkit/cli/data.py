"""The verbs about data: data sample, data fetch, data convert, data check."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import JsonOption, Overrides, data_app, divided, give_result, progress_with

if TYPE_CHECKING:
    from unetkit.checks.findings import CheckReport

_UNUSED = 8  # files and patterns that are named


class OmeVersion(StrEnum):
    """Versions of OME-Zarr that are written."""

    new = "0.5"
    old = "0.4"


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
    source: Annotated[
        str | None,
        typer.Argument(help="a data set with labels; or an image, a stack, a volume", show_default=False),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="what to make: a folder; or NAME.ome.zarr, NAME.tif", show_default=False)
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", help="a configuration, for its classes and mask values", show_default=False),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="an image of labels: smaller levels take the nearest, not the mean")
    ] = False,
    ome_version: Annotated[OmeVersion, typer.Option(help="version of OME-Zarr")] = OmeVersion.new,
    companions: Annotated[
        bool,
        typer.Option("--companions", help="the image is one of an OME-TIFF set: read the others in its folder"),
    ] = False,
) -> None:
    """Write a data set with labels as multi-class folders, ID/image.png and ID/mask.png; or an image as another file.

    An image: data convert volume.tif volume.ome.zarr, and back: data convert volume.ome.zarr volume.tif

    The classes may be chosen: data convert DIR --out OUT --config FILE, or data.classes=[background,cat]
    """
    from unetkit.configuring import configure, data_override
    from unetkit.data import convert, open_dataset
    from unetkit.errors import UsageError
    from unetkit.images.convert import convert_image, image_writer
    from unetkit.progress import show_progress
    from unetkit.storage import url_of

    words, flags = divided([*([source] if source else []), *(overrides or [])])
    named = words.pop(0) if words and "=" not in words[0] else None
    place = out or (Path(words.pop(0)) if words and "=" not in words[0] else None)
    if place is None:
        raise UsageError("no output is named; add --out DIR, or a second name: data convert volume.tif volume.ome.zarr")
    with show_progress("converting") as progress:
        if named is not None and image_writer(place) is not None:
            version = ome_version.value
            convert_image(named, place, labels=labels, version=version, companions=companions, progress=progress)
        else:
            given = [*words, *data_override(named)]
            section = configure({} if config is None else config, given, flags=flags).config.data
            convert(open_dataset(section.path, config=section), place, progress=progress)
    print(f"written: {url_of(place)}")


@data_app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(help="the data set: whatever `train --data` takes")],
    overrides: Overrides = None,
    json_file: JsonOption = None,
    html: Annotated[Path | None, typer.Option(help="write a page with pictures here", show_default=False)] = None,
) -> None:
    """Say what is wrong with a data set, before training: unetkit data check DIR [data.split.method=blocks ...]."""
    import unetkit

    with progress_with("checking", json_file) as progress:
        report = unetkit.check_data(data, overrides=overrides or [], html=html, progress=progress)
    give_result(report.as_json(), json_file, lambda: _print_report(report, html))
    if report.of("error"):
        raise typer.Exit(2)


def _print_report(report: "CheckReport", html: Path | None) -> None:
    account = report.account
    for name, words in account.taken:
        print(f"{name:<9}{words}")
    for words in account.unsure:
        print(f"unsure   {words}")
    if account.unused:
        shown = ", ".join(account.unused[:_UNUSED])
        print(f"unused   {shown}{', ...' * (len(account.unused) > _UNUSED)}")
    if account.section:
        print("to fix this answer, write in the configuration:")
        print("  data:")
        for key, value in account.section:
            print(f"    {key}: {value}")
    print()
    for name, words in {"read": f"{len(report.indices)} images", **report.summary}.items():
        print(f"{name:<9}{words}")
    print()
    for finding in report.findings:
        print(f"{finding.severity:<8} {finding.check}: {finding}")
    print(f"{report.count()}, in {len(report.checks)} checks")
    if html is not None:
        print(f"written: {html}")
