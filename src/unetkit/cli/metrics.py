"""The verbs that score anybody's files: metrics isbi."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.application import app, print_notes

metrics_app = typer.Typer(help="Score files that any program wrote.", no_args_is_help=True)
app.add_typer(metrics_app, name="metrics")


@metrics_app.command("isbi")
def metrics_isbi(
    label: Annotated[Path, typer.Argument(help="the labels: interior white (> 0), membrane 0, a page a slice")],
    probability: Annotated[Path, typer.Argument(help="the probability of interior, 0 to 1, as many pages")],
    membrane: Annotated[bool, typer.Option("--membrane", help="the map is that of membranes: invert it")] = False,
    scale: Annotated[
        float | None, typer.Option(help="the stored value that means 1: 255 for an 8-bit map", show_default=False)
    ] = None,
    no_warping: Annotated[bool, typer.Option("--no-warping", help="leave out the warping error, the slowest")] = False,
    slices: Annotated[bool, typer.Option("--slices", help="print every slice, too")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write every threshold and slice here ('-': standard output)")
    ] = None,
) -> None:
    """Score a stack by the ISBI 2012 challenge's own metrics: unetkit metrics isbi LABEL.tif PROBABILITY.tif."""
    from unetkit import api
    from unetkit.metrics import PUBLISHED
    from unetkit.progress import reporter
    from unetkit.reporting import PUBLISHED_NOTE, isbi_tables, scores_table
    from unetkit.storage import write_whole

    with reporter("scoring") as listener:
        evaluation = api.score_isbi(
            label,
            probability,
            membrane=membrane,
            scale=scale,
            warping=not no_warping,
            reporter=None if str(json_file) == "-" else listener,
        )
    content = evaluation.as_json() | {"published": {"note": PUBLISHED_NOTE, "values": PUBLISHED}}
    if str(json_file) == "-":
        print(json.dumps(content, indent=2))
        return
    print(scores_table(evaluation.scores))
    print(f"\n{isbi_tables(evaluation, slices=slices)}")
    print_notes(evaluation.notes)
    if json_file is not None:
        write_whole(json_file, json.dumps(content, indent=2) + "\n")
        print(f"written: {json_file}")
