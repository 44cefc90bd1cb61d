"""The verbs that make a run, go on with it, and show it: train, report."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.application import DataOption, DeviceOption, FaithfulOption, Overrides, app, divided, require
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.runs import Run


@app.command()
def train(
    config: Annotated[str | None, typer.Argument(help="a preset or a YAML file", show_default=False)] = None,
    overrides: Overrides = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="the run folder to make", show_default=False)] = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run where it stopped", show_default=False)
    ] = None,
    extend: Annotated[
        Path | None, typer.Option(help="give this run more steps: --extend RUN train.steps=800", show_default=False)
    ] = None,
    faithful: FaithfulOption = False,
    device: DeviceOption = None,
) -> None:
    """Train a network: unetkit train isbi --data DIR --out RUN [key=value ...]."""
    begun = time.perf_counter()
    from unetkit import api
    from unetkit.distributed import launched_world
    from unetkit.progress import reporter

    spent = {"imports": time.perf_counter() - begun}

    chosen = [f"train.device={device}"] if device else []
    words = [*([config] if config else []), *(overrides or []), *chosen]
    with reporter("training") as listener:
        if resume is not None:
            _refuse(words, "--resume goes on exactly as the run began; to change keys use --extend")
            run = api.resume(resume, spent=spent, reporter=listener)
        elif extend is not None:
            run = api.extend(extend, overrides=words, spent=spent, reporter=listener)
        else:
            require(config, "a configuration", "unetkit train isbi --data DIR --out RUN")
            ours, flags = divided(overrides or [])
            begin = partial(api.train, flags=flags, faithful=faithful, spent=spent, reporter=listener)
            run = begin(str(config), data=data, out=out, overrides=[*ours, *chosen])
    if launched_world().leads:
        _print_result(run)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a run folder")],
) -> None:
    """Write report.html of a run again, from its files and its data."""
    from unetkit import api

    print(f"written: {api.report(run)}")


def _refuse(words: list[str], reason: str) -> None:
    if words:
        raise UsageError(f"{' '.join(words)}: {reason}")


def _print_result(run: "Run") -> None:
    from unetkit.heads import Head, heads_table
    from unetkit.reporting import scores_table

    evaluation, summary = run.read_json("evaluation.json"), run.read_json("summary.json")
    if evaluation is not None:
        print(scores_table(evaluation["scores"]))
        if heads := [Head(**head) for head in evaluation.get("heads", [])]:
            print(f"\n{heads_table(heads, run.config.train.best_metric)}")
    if summary is not None:
        spent = "  ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["seconds"].items())
        print(f"\ntime    {spent}")
    print(f"run     {run.place}\nreport  {run.place}/{run.report.name}")
