"""The command: parse, call the library function of the same name, print. Nothing here imports torch at the top."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetkit.errors import InterruptedRun, UnetkitError, UsageError

if TYPE_CHECKING:
    from unetkit.runs import Run

app = typer.Typer(
    help="From a stack of microscope images and a handful of masks to a trained U-Net.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Get data, and make it.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value, such as train.steps=400 model.width=16", show_default=False)
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="the data set: a folder, a file, or 'sample'", show_default=False)
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps", show_default=False)]
HeadOption = Annotated[
    int | None, typer.Option("--head", help="head of a unetpp: 1 is the fastest", show_default=False)
]


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
    device: DeviceOption = None,
) -> None:
    """Train a network: unetkit train isbi --data DIR --out RUN [key=value ...]."""
    begun = time.perf_counter()
    from unetkit import api
    from unetkit.distributed import launched_world
    from unetkit.progress import reporter

    spent = {"imports": time.perf_counter() - begun}

    words = [*([config] if config else []), *(overrides or [])] if resume or extend else list(overrides or [])
    words += [f"train.device={device}"] if device else []
    with reporter("training") as listener:
        if resume is not None:
            _refuse(words, "--resume goes on exactly as the run began; to change keys use --extend")
            run = api.resume(resume, spent=spent, reporter=listener)
        elif extend is not None:
            run = api.extend(extend, overrides=words, spent=spent, reporter=listener)
        else:
            _require(config, "a configuration", "unetkit train isbi --data DIR --out RUN")
            _require(out, "--out", "unetkit train isbi --data DIR --out RUN")
            run = api.train(str(config), data=data, out=Path(str(out)), overrides=words, spent=spent, reporter=listener)
    if launched_world().leads:
        _print_result(run)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="a run folder or a network file")],
    data: DataOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the scores here ('-': standard output)")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="average over the eight flips and turns")] = False,
    head: HeadOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="score every labelled image, not the held-out ones alone")
    ] = False,
    device: DeviceOption = None,
) -> None:
    """Score a network on data with labels: unetkit evaluate RUN --data DIR."""
    from unetkit import api
    from unetkit.progress import reporter
    from unetkit.reporting import scores_table
    from unetkit.storage import write_whole

    with reporter("evaluating") as listener:
        evaluation = api.evaluate(
            model,
            data=data,
            everything=everything,
            options={"tta": tta or None, "head": head},
            device=device or "auto",
            reporter=None if str(json_file) == "-" else listener,
        )
    if str(json_file) == "-":
        print(json.dumps(evaluation.as_json(), indent=2))
        return
    print(scores_table(evaluation.scores))
    print(f"\nover {len(evaluation.images)} images: {', '.join(image.name for image in evaluation.images[:8])}", end="")
    print(" ..." if len(evaluation.images) > 8 else "")
    _print_notes(evaluation.notes)
    if json_file is not None:
        write_whole(json_file, json.dumps(evaluation.as_json(), indent=2) + "\n")
        print(f"written: {json_file}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a run folder or a network file")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="an image, a stack, or a folder of images")],
    out: Annotated[Path, typer.Option(help="file or folder to write", show_default=False)],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="write probabilities instead of masks")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="average over the eight flips and turns")] = False,
    head: HeadOption = None,
    tile: Annotated[int | None, typer.Option(help="side of a tile in pixels", show_default=False)] = None,
    overlap: Annotated[
        int | None, typer.Option(help="pixels that tiles share on each side", show_default=False)
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Segment images of any size: unetkit predict RUN INPUT --out FILE."""
    from unetkit import api
    from unetkit.progress import reporter

    options = {"tta": tta or None, "tile": tile, "overlap": overlap, "head": head}
    with reporter("predicting") as listener:
        notes = api.predict_file(
            model, source, out, probabilities=probabilities, options=options, device=device or "auto", reporter=listener
        )
    _print_notes(notes)
    print(f"written: {out}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a run folder")],
) -> None:
    """Write report.html of a run again, from its files and its data."""
    from unetkit import api

    print(f"written: {api.report(run)}")


@app.command()
def config(
    source: Annotated[str | None, typer.Argument(help="a preset or a YAML file", show_default=False)] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema instead")] = False,
) -> None:
    """Print a configuration as annotated YAML, ready to be edited: unetkit config isbi."""
    from unetkit.config import annotated_yaml, json_schema, load_config, preset_names

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    _require(source, "a preset or a file", f"unetkit config isbi; presets: {', '.join(preset_names())}")
    print(annotated_yaml(load_config(str(source), overrides or [])), end="")


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


def main() -> None:
    """Run the command and turn the errors of our tree into one line and their exit code."""
    try:
        app(prog_name="unetkit")
    except InterruptedRun as error:
        _complain(error)
        sys.exit(128 + error.signal_number)
    except UnetkitError as error:
        _complain(error)
        sys.exit(error.exit_code)


def _complain(error: UnetkitError) -> None:
    print(f"unetkit: {' '.join(str(error).split())}", file=sys.stderr)


def _require(value: Any, what: str, example: str) -> None:
    if value is None:
        raise UsageError(f"{what} is missing; write: {example}")


def _refuse(words: list[str], reason: str) -> None:
    if words:
        raise UsageError(f"{' '.join(words)}: {reason}")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}")


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
    print(f"run     {run.path}\nreport  {run.report}")
