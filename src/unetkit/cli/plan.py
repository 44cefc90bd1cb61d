"""The verb that decides how to train: plan."""

from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import DeviceOption, Overrides, app


@app.command()
def plan(
    data: Annotated[str, typer.Argument(help="the data set: whatever `train --data` takes")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="file to write; otherwise printed", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="that the training may take", show_default=False)] = None,
    memory: Annotated[float | None, typer.Option(help="gigabytes that it may take", show_default=False)] = None,
    device: DeviceOption = None,
) -> None:
    """Write a configuration for a data set, each line with its reason: unetkit plan DIR --out plan.yaml."""
    from unetkit import api
    from unetkit.progress import reporter
    from unetkit.storage import write_whole

    with reporter("examining") as listener:
        made = api.plan(
            data,
            overrides=overrides or [],
            minutes=minutes,
            memory=memory,
            device=device or "auto",
            reporter=None if out is None else listener,
        )
    if out is None:
        print(made.yaml, end="")
        return
    write_whole(out, made.yaml)
    print(f"written: {out}\ntrain it: unetkit train {out} --out RUN")
