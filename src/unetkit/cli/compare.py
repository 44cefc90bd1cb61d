"""The verb that compares two networks: compare."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import DataOption, app, print_notes
from unetkit.errors import UsageError

JsonOption = Annotated[Path | None, typer.Option("--json", help="write the result here ('-': standard output)")]


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="a run, a cross-validation, or a file of evaluate --json")],
    second: Annotated[Path, typer.Argument(metavar="B", help="the other one")],
    metric: Annotated[str, typer.Option(help="the score to compare by")] = "soft_dice_two_class",
    data: DataOption = None,
    block: Annotated[int, typer.Option(help="neighbouring images drawn together, for slices of a stack", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="seed of the draws", min=0)] = 0,
    json_file: JsonOption = None,
    picture: Annotated[Path | None, typer.Option(help="draw every image's difference here (.png)")] = None,
) -> None:
    """Tell whether one network is better than another, and how sure that is: unetkit compare A B."""
    from unetkit import api
    from unetkit.progress import reporter
    from unetkit.reporting import differences
    from unetkit.storage import write_whole

    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: expected a name with .png")
    silent = str(json_file) == "-"
    with reporter("evaluating") as listener:
        found = api.compare(
            first, second, metric=metric, data=data, block=block, seed=seed, reporter=None if silent else listener
        )
    if picture is not None:
        write_whole(picture, differences(found.images, found.difference, found.metric))
    if silent:
        print(json.dumps(found.as_json(), indent=2))
        return
    one = found.difference
    print(f"{found.metric}   A {found.first:.4f}   B {found.second:.4f}")
    print(f"A - B    {one.value:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}")
    print(f"A is better in {100 * one.share:.1f} % of {one.resamples} resamples of {one.images} images")
    print(found.sentence)
    print_notes(found.notes)
    if json_file is not None:
        write_whole(json_file, json.dumps(found.as_json(), indent=2) + "\n")
    for file in (json_file, picture):
        if file is not None:
            print(f"written: {file}")
