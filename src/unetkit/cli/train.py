"""The verbs of trainings: train, report, crossval, plan, config, runs (a table of them), search (over settings)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import (
    BugCompatibleOption,
    DataOption,
    DeviceOption,
    JsonOption,
    LogFormatOption,
    Overrides,
    app,
    divided,
    give_result,
    progress_with,
    require,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.run import Run


@app.command()
def train(
    config: Annotated[
        str | None, typer.Argument(help="a preset, a YAML file, or auto: planned by the data", show_default=False)
    ] = None,
    overrides: Overrides = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="the run folder to make", show_default=False)] = None,
    minutes: Annotated[
        float | None, typer.Option(help="auto: that the training may take; 10 where not given", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run where it stopped", show_default=False)
    ] = None,
    extend: Annotated[
        Path | None, typer.Option(help="give this run more steps: --extend RUN train.steps=800", show_default=False)
    ] = None,
    bug_compatible: BugCompatibleOption = False,
    log_format: LogFormatOption = None,
    device: DeviceOption = None,
) -> None:
    """Train a network: unetkit train auto --data DIR --out RUN [key=value ...].

    auto checks the data, plans the training by it, and trains; a preset or a YAML file is taken as it is.
    """
    import unetkit
    from unetkit.distributed import launched_world
    from unetkit.progress import show_progress
    from unetkit.training.planning import MINUTES

    chosen = [f"train.device={device}"] if device else []
    chosen += [f"train.log_format={log_format}"] if log_format else []
    words = [*([config] if config else []), *(overrides or []), *chosen]
    if resume is not None or extend is not None:
        given = {"--out": out, "--data": data, "--bug-compatible": bug_compatible or None, "--minutes": minutes}
        given |= {"--extend": extend} if resume is not None else {}
        mode = "--resume" if resume is not None else "--extend"
        if unused := [option for option, value in given.items() if value is not None]:
            raise UsageError(f"{', '.join(unused)}: {mode} goes on in its own folder with its own data")
    with show_progress("training") as progress:
        if resume is not None:
            if words:
                reason = "--resume goes on exactly as the run began; to change keys use --extend"
                raise UsageError(f"{' '.join(words)}: {reason}")
            run = unetkit.resume(resume, progress=progress)
        elif extend is not None:
            run = unetkit.extend(extend, overrides=words, progress=progress)
        elif config == "auto":
            require(data, "--data", "unetkit train auto --data DIR --out RUN")
            require(out, "--out", "unetkit train auto --data DIR --out RUN")
            if bug_compatible:
                raise UsageError("--bug-compatible: is for older systems' configurations, not for auto")
            run = unetkit.train_auto(
                str(data),
                out=Path(str(out)),
                overrides=overrides or [],
                minutes=MINUTES if minutes is None else minutes,
                device=device or "auto",
                progress=progress,
            )
        else:
            require(config, "a configuration", "unetkit train isbi --data DIR --out RUN")
            if minutes is not None:
                raise UsageError(f"--minutes {minutes:g}: is for `train auto`; a configuration says train.steps")
            ours, flags = divided(overrides or [])
            given = [*ours, *chosen]
            run = unetkit.train(
                str(config),
                data=data,
                out=out,
                overrides=given,
                flags=flags,
                bug_compatible=bug_compatible,
                progress=progress,
            )
    if launched_world().is_main_process:
        _print_result(run)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a run folder")],
) -> None:
    """Write report.html of a run again, from its files and its data."""
    import unetkit
    from unetkit.progress import show_progress

    with show_progress("reporting") as progress:
        page = unetkit.report(run, progress=progress)
    print(f"written: {page}")


def _print_result(run: "Run") -> None:
    from unetkit.configuring import evaluation_lines
    from unetkit.evaluation.compare import Head
    from unetkit.metrics import deciding_scores
    from unetkit.reporting.text import evaluation_table, heads_table, labelled_line, shown

    evaluation, summary = run.read_json("evaluation.json"), run.read_json("summary.json")
    train = run.config.train
    if evaluation is not None and train.log_format is not None:
        print("\n".join(evaluation_lines(train.log_format, evaluation, train.best_metric)))
    if evaluation is not None:
        print(evaluation_table(evaluation, metric=run.config.train.best_metric, page="the report"))
        if (test := evaluation.get("test")) is not None:
            names = deciding_scores(test["scores"], run.config.train.best_metric)[:4]
            scores = "  ".join(f"{name} {shown(test['scores'][name])}" for name in names)
            print(labelled_line("test set", f"{len(test['images'])} images: {scores}"))
        if heads := [Head(**head) for head in evaluation.get("heads", [])]:
            print(f"\n{heads_table(heads, run.config.train.best_metric)}\n")
    if summary is not None:
        spent = "  ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["seconds"].items())
        print(labelled_line("time", spent))
    print(f"{'run':<12}{run.place}\n{'report':<12}{run.place}/{run.report.name}")


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
    json_file: JsonOption = None,
) -> None:
    """Train every fold and score each image by what had not seen it; run it again to go on with it."""
    import unetkit
    from unetkit.reporting.text import evaluation_lines, spread_table

    words = [*(overrides or []), *([f"train.device={device}"] if device else [])]
    with progress_with("crossval", json_file) as progress:
        made = unetkit.crossval(
            config, data=data, out=out, folds=folds, seeds=seeds, overrides=words, dask=dask, progress=progress
        )
    if (scores := made.scores) is None:
        return

    def show() -> None:
        print(f"{spread_table(scores, metric=made.metric)}\n")
        print("\n".join(evaluation_lines(scores.whole.as_json(), metric=made.metric, page="the report")))
        print(f"{'folder':<12}{made.path}\n{'report':<12}{made.path / 'report.html'}")

    give_result({"folder": str(made.path), "metric": made.metric} | made.summary, json_file, show)


@app.command()
def plan(
    data: Annotated[str, typer.Argument(help="the data set: whatever `train --data` takes")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="file to write; otherwise printed", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="that the training may take", show_default=False)] = None,
    memory: Annotated[float | None, typer.Option(help="gigabytes that it may take", show_default=False)] = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON: every choice, its reason, what was timed")] = False,
) -> None:
    """Write a configuration for a data set, each line with its reason: unetkit plan DIR --out plan.yaml."""
    import unetkit
    from unetkit.progress import show_progress
    from unetkit.storage.atomic import atomic_write

    with show_progress("examining") as progress:
        made = unetkit.plan(
            data,
            overrides=overrides or [],
            minutes=minutes,
            memory=memory,
            device=device or "auto",
            progress=None if out is None else progress,
        )
    content = json.dumps(made.as_json(), indent=2) + "\n" if as_json else made.yaml
    if out is None:
        print(content, end="")
        return
    atomic_write(out, content)
    if as_json:
        return
    print(f"written: {out}\ntrain it: unetkit train {out} --out RUN")


@app.command()
def config(
    source: Annotated[str | None, typer.Argument(help="a preset or a YAML file", show_default=False)] = None,
    overrides: Overrides = None,
    data: DataOption = None,
    bug_compatible: BugCompatibleOption = False,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema instead")] = False,
) -> None:
    """Print a configuration as annotated YAML, ready to be edited: unetkit config isbi.

    An older system's is translated, with what each key came from and what of it is corrected.
    """
    from unetkit.config import json_schema, preset_names
    from unetkit.configuring import configure, data_override

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    require(source, "a preset or a file", f"unetkit config isbi; presets: {', '.join(preset_names())}")
    ours, flags = divided(overrides or [])
    ours += data_override(data)
    print(configure(str(source), ours, flags=flags, bug_compatible=bug_compatible).annotated_yaml(), end="")


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
