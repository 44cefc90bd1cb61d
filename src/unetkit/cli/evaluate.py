"""The verb that scores a network: evaluate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetkit.cli.application import (
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
    keys_of,
    print_beside,
    print_notes,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.config import ObjectsConfig
    from unetkit.evaluation import Evaluation

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
    from unetkit import api
    from unetkit.progress import reporter

    if keep and not tune:
        raise UsageError("--keep writes what --tune has chosen; give both")
    if tune and (everything or metrics or config):
        raise UsageError("--tune chooses by mean precision on what was held out; leave out --all, --metrics, --config")
    families = [*(metrics or ()), *(["objects"] if objects else [])]
    options = {"tta": tta or None, "calibrate": calibrate or None, "head": head} | keys_of(keys)
    options, device = options | {"runtime": runtime, "threads": threads, "precision": precision}, device or "auto"
    with reporter("evaluating") as shown:
        told = None if str(json_file) == "-" else shown
        if tune:
            tuned = api.tune_objects(model, data=data, keep=keep, options=options, device=device, reporter=told)
            _tell(tuned.evaluation, tuned.as_json(), json_file, chosen=tuned.chosen)
            return
        more: Any = {"config": config, "everything": everything, "metrics": families}
        scored = api.evaluate(model, data=data, options=options, device=device, reporter=told, **more)
    _tell(scored, scored.as_json(), json_file)


def _tell(
    evaluation: "Evaluation", content: dict[str, Any], json_file: Path | None, *, chosen: "ObjectsConfig | None" = None
) -> None:
    from unetkit.storage import write_whole

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
        write_whole(json_file, f"{written}\n")
        print(f"written: {json_file}")


def _print_scores(evaluation: "Evaluation") -> None:
    from unetkit.reporting import scores_table

    print(scores_table(evaluation.scores))
    print_beside(evaluation)
    more = " ..." if len(evaluation.images) > 8 else ""
    print(f"over {len(evaluation.images)} images: {', '.join(image.name for image in evaluation.images[:8])}{more}")
    print_notes(evaluation.notes)
