"""The verb that scores a network: evaluate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.application import DataOption, DeviceOption, HeadOption, RuntimeOption, ThreadsOption, app, print_notes

if TYPE_CHECKING:
    from unetkit.evaluation import Evaluation


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="a run folder, a network file or an exported file")],
    data: DataOption = None,
    config: Annotated[
        str | None, typer.Option(help="a configuration, whose held-out images are scored", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the scores here ('-': standard output)")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="average over the eight flips and turns")] = False,
    head: HeadOption = None,
    everything: Annotated[bool, typer.Option("--all", help="score what the run was trained on, too")] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", help="isbi: the challenge's own; isbi:CLASS names the interior", show_default=False),
    ] = None,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
) -> None:
    """Score a network on data with labels: unetkit evaluate RUN --data DIR."""
    from unetkit import api
    from unetkit.progress import reporter

    with reporter("evaluating") as listener:
        evaluation = api.evaluate(
            model,
            data=data,
            config=config,
            everything=everything,
            metrics=metrics or (),
            options={"tta": tta or None, "head": head, "runtime": runtime, "threads": threads},
            device=device or "auto",
            reporter=None if str(json_file) == "-" else listener,
        )
    _give(evaluation, json_file)


def _give(evaluation: "Evaluation", json_file: Path | None) -> None:
    from unetkit.storage import write_whole

    scores = json.dumps(evaluation.as_json(), indent=2)
    if str(json_file) == "-":
        print(scores)
        return
    _print_scores(evaluation)
    if json_file is not None:
        write_whole(json_file, f"{scores}\n")
        print(f"written: {json_file}")


def _print_scores(evaluation: "Evaluation") -> None:
    from unetkit.reporting import isbi_tables, scores_table

    print(scores_table(evaluation.scores))
    if evaluation.isbi is not None:
        print(f"\n{isbi_tables(evaluation)}")
    print(f"\nover {len(evaluation.images)} images: {', '.join(image.name for image in evaluation.images[:8])}", end="")
    print(" ..." if len(evaluation.images) > 8 else "")
    print_notes(evaluation.notes)
