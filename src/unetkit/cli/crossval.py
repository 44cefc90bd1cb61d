"""The verbs that compare trainings: crossval."""

from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import DataOption, DeviceOption, Overrides, app, print_beside, print_notes


@app.command()
def crossval(
    config: Annotated[str, typer.Argument(help="a preset or a YAML file")],
    out: Annotated[Path, typer.Option(help="the folder to make, or to go on with", show_default=False)],
    overrides: Overrides = None,
    data: DataOption = None,
    folds: Annotated[int, typer.Option(help="how many parts the images are divided into", min=2)] = 5,
    seeds: Annotated[int, typer.Option(help="trainings of each fold", min=1)] = 1,
    dask: Annotated[
        str | None, typer.Option(help="train on this dask scheduler's workers: tcp://HOST:8786", show_default=False)
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Train every fold and score each image by what had not seen it; run it again to go on with it."""
    from unetkit import api
    from unetkit.crossvalidation import spread_table
    from unetkit.progress import reporter

    words = [*(overrides or []), *([f"train.device={device}"] if device else [])]
    with reporter("crossval") as listener:
        made = api.crossval(
            config, data=data, out=out, folds=folds, seeds=seeds, overrides=words, dask=dask, reporter=listener
        )
    if made.scores is None:
        return
    print(spread_table(made.scores))
    print_beside(made.scores.whole)
    print_notes(made.scores.whole.notes)
    print(f"folder  {made.path}\nreport  {made.path / 'report.html'}")
