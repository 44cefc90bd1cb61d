"""The verb that scores a network: evaluate.

The verb that compares two networks: compare.

The verbs that score anybody's files: metrics isbi.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetkit.cli.app import (
    CalibrateOption,
    DataOption,
    DeviceOption,
    HeadOption,
    PrecisionOption,
    PredictionKeys,
    RuntimeOption,
    ThreadsOption,
    TtaOption,
    app,
    print_beside,
    print_notes,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.config import ObjectsConfig
    from unetkit.evaluation.score import Evaluation
    from unetkit.prediction.load import LoadOptions

JsonOption = Annotated[Path | None, typer.Option("--json", help="write the scores here ('-': standard output)")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="a configuration, whose held-out images are scored", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="score what the run was trained on, too")]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option("--metrics", help="isbi: the challenge's own; isbi:CLASS names the interior", show_default=False),
]
ObjectsOption = Annotated[bool, typer.Option("--objects", help="make objects and score them, too")]
TuneOption = Annotated[bool, typer.Option("--tune", help="choose the numbers that objects are made with")]
KeepOption = Annotated[bool, typer.Option("--keep", help="with --tune: write the choice into the run")]


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="a run folder, a network file or an exported file")],
    keys: PredictionKeys = None,
    data: DataOption = None,
    config: ConfigOption = None,
    json_file: JsonOption = None,
    tta: TtaOption = False,
    calibrate: CalibrateOption = False,
    head: HeadOption = None,
    everything: AllOption = False,
    metrics: MetricsOption = None,
    objects: ObjectsOption = False,
    tune: TuneOption = False,
    keep: KeepOption = False,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
) -> None:
    """Score a network on data with labels: unetkit evaluate RUN --data DIR."""
    import unetkit
    from unetkit.progress import show_progress

    if keep and not tune:
        raise UsageError("--keep writes what --tune has chosen; give both")
    if tune and (everything or metrics or config):
        raise UsageError("--tune chooses by mean precision on what was held out; leave out --all, --metrics, --config")
    families = [*(metrics or ()), *(["objects"] if objects else [])]
    options: LoadOptions = {"tta": tta or None, "calibrate": calibrate or None, "head": head, "overrides": keys}
    options, device = options | {"runtime": runtime, "threads": threads, "precision": precision}, device or "auto"
    with show_progress("evaluating") as shown:
        told = None if str(json_file) == "-" else shown
        if tune:
            tuned = unetkit.tune_objects(model, data=data, keep=keep, options=options, device=device, progress=told)
            _tell(tuned.evaluation, tuned.as_json(), json_file, chosen=tuned.chosen)
            return
        more: Any = {"config": config, "everything": everything, "metrics": families}
        scored = unetkit.evaluate(model, data=data, options=options, device=device, progress=told, **more)
    _tell(scored, scored.as_json(), json_file)


def _tell(
    evaluation: "Evaluation", content: dict[str, Any], json_file: Path | None, *, chosen: "ObjectsConfig | None" = None
) -> None:
    from unetkit.storage.atomic import atomic_write

    written = json.dumps(content, indent=2)
    if str(json_file) == "-":
        print(written)
        return
    _print_scores(evaluation)
    if chosen is not None:
        keys = chosen.model_dump(exclude_defaults=True, exclude={"chosen", "chosen_on"})
        print(f"chosen: {' '.join(f'objects.{key}={value}' for key, value in keys.items()) or 'the defaults'}")
        print(f"by {chosen.chosen}")
    if json_file is not None:
        atomic_write(json_file, f"{written}\n")
        print(f"written: {json_file}")


def _print_scores(evaluation: "Evaluation") -> None:
    from unetkit.reporting.text import scores_table

    print(scores_table(evaluation.scores))
    print_beside(evaluation)
    more = " ..." if len(evaluation.images) > 8 else ""
    print(f"over {len(evaluation.images)} images: {', '.join(image.name for image in evaluation.images[:8])}{more}")
    print_notes(evaluation.notes)


JsonOption_compare = Annotated[Path | None, typer.Option("--json", help="write the result here ('-': standard output)")]


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="a run, a cross-validation, or a file of evaluate --json")],
    second: Annotated[Path, typer.Argument(metavar="B", help="the other one")],
    metric: Annotated[str, typer.Option(help="the score to compare by")] = "soft_dice_two_class",
    data: DataOption = None,
    block: Annotated[int, typer.Option(help="neighbouring images drawn together, for slices of a stack", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="seed of the draws", min=0)] = 0,
    json_file: JsonOption_compare = None,
    picture: Annotated[Path | None, typer.Option(help="draw every image's difference here (.png)")] = None,
) -> None:
    """Tell whether one network is better than another, and how sure that is: unetkit compare A B."""
    import unetkit
    from unetkit.progress import show_progress
    from unetkit.reporting.plots import differences
    from unetkit.storage.atomic import atomic_write

    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: expected a name with .png")
    silent = str(json_file) == "-"
    with show_progress("evaluating") as progress:
        found = unetkit.compare(
            first, second, metric=metric, data=data, block=block, seed=seed, progress=None if silent else progress
        )
    if picture is not None:
        atomic_write(picture, differences(found.images, found.difference, found.metric))
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
        atomic_write(json_file, json.dumps(found.as_json(), indent=2) + "\n")
    for file in (json_file, picture):
        if file is not None:
            print(f"written: {file}")


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
    import unetkit
    from unetkit.metrics import PUBLISHED
    from unetkit.progress import show_progress
    from unetkit.reporting.text import PUBLISHED_NOTE, isbi_tables, scores_table
    from unetkit.storage.atomic import atomic_write

    with show_progress("scoring") as progress:
        evaluation = unetkit.score_isbi(
            label,
            probability,
            membrane=membrane,
            scale=scale,
            warping=not no_warping,
            progress=None if str(json_file) == "-" else progress,
        )
    content = evaluation.as_json() | {"published": {"note": PUBLISHED_NOTE, "values": PUBLISHED}}
    if str(json_file) == "-":
        print(json.dumps(content, indent=2))
        return
    print(scores_table(evaluation.scores))
    print(f"\n{isbi_tables(evaluation, slices=slices)}")
    print_notes(evaluation.notes)
    if json_file is not None:
        atomic_write(json_file, json.dumps(content, indent=2) + "\n")
        print(f"written: {json_file}")
