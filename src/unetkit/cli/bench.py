"""The verb that times: bench."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import ThreadsOption, app


@app.command()
def bench(
    models: Annotated[list[str], typer.Argument(help="runs, network files, exported files; @RUNTIME, @PRECISION")],
    size: Annotated[int, typer.Option(help="side of the images in pixels", min=16)] = 512,
    batches: Annotated[str, typer.Option(help="numbers of images in a call")] = "1,2,4",
    rounds: Annotated[int, typer.Option(help="calls of each", min=1)] = 7,
    threads: ThreadsOption = None,
    picture_file: Annotated[Path | None, typer.Option("--picture", help="write bars as a PNG here")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write what was measured here")] = None,
) -> None:
    """Time networks and exported files side by side: unetkit bench RUN FILE.xml FILE.onnx."""
    from unetkit import api
    from unetkit.errors import UsageError
    from unetkit.progress import reporter
    from unetkit.storage import write_whole
    from unetkit.timing import as_json, picture, table

    numbers = [int(word) for word in batches.split(",") if word.strip().isdecimal() and int(word) > 0]
    if len(numbers) != len(batches.split(",")):
        raise UsageError(f"--batches: found {batches}; expected numbers such as 1,2,4")
    with reporter("timing") as listener:
        timings = api.bench(models, size=size, batches=numbers, rounds=rounds, threads=threads, reporter=listener)
    print(table(timings))
    if picture_file is not None:
        write_whole(picture_file, picture(timings))
        print(f"written: {picture_file}")
    if json_file is not None:
        write_whole(json_file, json.dumps(as_json(timings), indent=2) + "\n")
        print(f"written: {json_file}")
