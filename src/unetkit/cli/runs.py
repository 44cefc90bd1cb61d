"""The verbs about many runs: runs (a table of them), search (over settings)."""

from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.app import DataOption, DeviceOption, JsonOption, Overrides, app, give_result, progress_with, require
from unetkit.errors import UsageError


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="a folder with run folders anywhere below it")],
    metric: Annotated[
        str | None, typer.Option(help="the score to show [default: what most of the runs chose by]", show_default=False)
    ] = None,
    sort: Annotated[
        str, typer.Option(help="score, test, name, state, steps, seconds, date, or a key such as optimizer.lr")
    ] = "score",
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE.html", help="write a page that compares them", show_default=False)
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """List the runs below a folder with their scores, and compare them: unetkit runs DIR --out compare.html."""
    import unetkit
    from unetkit.reporting.runs import runs_text

    found = unetkit.runs(folder, metric=metric, sort=sort, html=out)

    def show() -> None:
        print(runs_text(found))
        if out is not None:
            print(f"\nwritten: {out}")

    give_result(found.as_json(), json_file, show)


@app.command()
def search(
    config: Annotated[
        str | None, typer.Argument(help="a preset or a YAML file: what all trials have in common", show_default=False)
    ] = None,
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUES", help="what to search: optimizer.lr=1e-3..1e-1, model.width=16,32,64"),
    ] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="the folder to make", show_default=False)] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="trainings in all [default: 30]", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the choices")] = 0,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this search, or give it more --trials", show_default=False)
    ] = None,
    device: DeviceOption = None,
    json_file: JsonOption = None,
) -> None:
    """Search over settings by Optuna: unetkit search isbi --data D --over optimizer.lr=1e-3..1e-1 --out DIR.

    Trials are compared by validations; the test set takes no part. A range is drawn by magnitude (log-uniform) where
    both ends are positive and the upper one is ten times the lower one or more.
    """
    import unetkit

    words = [*([config] if config else []), *(overrides or [])]
    with progress_with("searching", json_file) as progress:
        if resume is not None:
            given = {"--over": over, "--data": data, "--out": out, "--device": device, "--seed": seed or None}
            if unused := [*words, *(option for option, value in given.items() if value is not None)]:
                raise UsageError(f"{', '.join(unused)}: --resume goes on as the search began; only --trials may change")
            found = unetkit.resume_search(resume, trials=trials, progress=progress)
        else:
            example = "unetkit search isbi --data DIR --over optimizer.lr=1e-3..1e-1 --out DIR"
            require(config, "a configuration", example)
            require(out, "--out", example)
            found = unetkit.search(
                str(config),
                over=over or [],
                out=Path(str(out)),
                data=data,
                trials=trials or 30,
                overrides=[*(overrides or []), *([f"train.device={device}"] if device else [])],
                seed=seed,
                progress=progress,
            )
    give_result(found.as_json(), json_file, lambda: print(found.text()))
