"""The verbs about data: data sample, data fetch, data convert, data check."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import JsonOption, Overrides, data_app, divided, give_result, progress_with

if TYPE_CHECKING:
    from unetkit.checks.findings import CheckReport

_UNUSED = 8  # files and patterns that are named


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
    out: Annotated[Path, typer.Option(help="folder to make", show_default=False)],
    source: Annotated[
        str | None,
        typer.Argument(help="nuclei, COCO, a stack, folders: whatever `train --data` takes", show_default=False),
    ] = None,
    overrides: Overrides = None,
    config: Annotated[
        str | None,
        typer.Option("--config", help="a configuration, for its classes and mask values", show_default=False),
    ] = None,
) -> None:
    """Write a data set with labels as multi-class folders: ID/image.png and ID/mask.png.

    The classes may be chosen: data convert DIR --out OUT --config FILE, or data.classes=[background,cat]
    """
    from unetkit.configuring import configure
    from unetkit.data import convert, open_dataset
    from unetkit.progress import show_progress

    words, flags = divided([*([source] if source else []), *(overrides or [])])
    named = words.pop(0) if words and "=" not in words[0] else None
    given = [*words, *([f"data.path={json.dumps(named)}"] if named else [])]
    section = configure({} if config is None else config, given, flags=flags).config.data
    with show_progress("converting") as progress:
        convert(open_dataset(section.path, config=section), out, progress=progress)
    print(f"written: {out}")


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
