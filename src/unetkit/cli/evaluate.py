"""The verbs that score: evaluate a network, compare two of them, metrics (what there is, and anybody's files)."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import (
    ActivationOption,
    CalibrateOption,
    DataOption,
    DeviceOption,
    HeadOption,
    InputSizeOption,
    JsonOption,
    LogFormatOption,
    MultipleOption,
    NormalizationOption,
    OtherClassesOption,
    OutputOption,
    PrecisionOption,
    PredictionKeys,
    RuntimeOption,
    ThreadsOption,
    TrustOption,
    TtaOption,
    app,
    divided,
    give_result,
    print_notes,
    progress_with,
    require,
    said_of_file,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.configuring import Configured
    from unetkit.prediction.load import LoadOptions

ConfigOption = Annotated[
    str | None, typer.Option("--config", help="a configuration, whose held-out images are scored", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="score what the run was trained on, too")]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="FAMILY...",
        help="further scores: objects, binary, surface, isbi (isbi:CLASS names the interior), legacy",
        show_default=False,
    ),
]
ObjectsOption = Annotated[
    bool, typer.Option("--objects", help="the same as --metrics objects; with --tune: choose their numbers, too")
]
TuneOption = Annotated[bool, typer.Option("--tune", help="choose the thresholds of masks and the numbers of objects")]
KeepOption = Annotated[bool, typer.Option("--keep", help="with --tune: write the choice into the run")]


@app.command()
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="a run folder, a network file, an exported file, a package", show_default=False),
    ] = None,
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
    trust: TrustOption = False,
    classes: OtherClassesOption = None,
    normalization: NormalizationOption = None,
    multiple: MultipleOption = None,
    size: InputSizeOption = None,
    activation: ActivationOption = None,
    output: OutputOption = None,
    log_format: LogFormatOption = None,
    device: DeviceOption = None,
) -> None:
    """Score a network on data with labels: unetkit evaluate RUN --data DIR [--metrics objects isbi legacy].

    With --config an older system's flags may follow after --: evaluate FILE --config C -- --cross_valid_ind 0
    """
    import unetkit
    from unetkit.configuring import evaluation_lines
    from unetkit.prediction.load import run_of
    from unetkit.reporting.text import chosen_lines, evaluation_table, labelled_line

    words, flags = divided([*([model] if model else []), *(keys or [])])
    named, configured = _network_and_config(words[0] if words else None, data, config, flags)
    begun = time.perf_counter()
    # `--metrics isbi legacy`: an option takes one word, and those after it arrive as keys without a value.
    families = [*(metrics or ()), *(word for word in words[1:] if metrics and "=" not in word)]
    families += [*(["objects"] if objects else []), *(["legacy"] if log_format == "tensorflow" else [])]
    keys = [word for word in words[1:] if not metrics or "=" in word]
    if keep and not tune:
        raise UsageError("--keep writes what --tune has chosen; give both")
    if tune and (everything or metrics or config):
        raise UsageError("--tune chooses on what was held out; leave out --all, --metrics, --config")
    device = device or "auto"
    options: LoadOptions = {"tta": tta or None, "calibrate": calibrate or None, "head": head, "runtime": runtime}
    options |= {"threads": threads, "precision": precision, "trust": trust, "overrides": keys}
    options |= said_of_file(classes, normalization, multiple, size, activation, output)
    with progress_with("evaluating", json_file) as progress:
        if tune:
            wanted = objects or None
            tuned = unetkit.tune(
                named, data=data, objects=wanted, keep=keep, options=options, device=device, progress=progress
            )
            content = tuned.as_json()
        else:
            scored = unetkit.evaluate(
                named,
                data=data,
                config=configured,
                everything=everything,
                metrics=families,
                options=options,
                device=device,
                progress=progress,
            )
            content, tuned = scored.as_json(), None

    def show() -> None:
        run = run_of(named)
        training = configured.config.train if configured else run.config.train if run else None
        metric = training and training.best_metric
        if tuned is not None:
            metric = "foreground_dice" if tuned.objects is None else "mean_precision"
        elif system := log_format or (training and training.log_format):
            own = configured is not None and configured.legacy_network.own_size
            print("\n".join(evaluation_lines(system, content, metric or "", own_size=own)))
        print(evaluation_table(content, metric=metric, page=str(run.report) if run and run.report.is_file() else None))
        if tuned is None:
            seconds, count = time.perf_counter() - begun, len(content["images"])
            print(labelled_line("time", f"evaluation {seconds:.1f} s, {seconds / count:.2f} s an image"))
            return
        print("\n".join(chosen_lines(tuned)))
        if not keep:
            print("nothing is written: --keep writes the choice into the run")

    give_result(content, json_file, show)


def _network_and_config(
    model: str | None, data: str | None, config: str | None, flags: Sequence[str]
) -> "tuple[str, Configured | None]":
    """Return the network to score, and the configuration that says on what, where one is given."""
    from unetkit.configuring import configure, data_override

    if config is None and flags:
        raise UsageError(f"{flags[0]}: flags of an older system go with its configuration; give --config FILE")
    if config is None:
        require(model, "MODEL", "unetkit evaluate RUN --data DIR")
        return str(model), None
    configured = configure(config, data_override(data), flags=flags)
    return str(configured.network(model)), configured


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="a run, a cross-validation, or a file of evaluate --json")],
    second: Annotated[Path, typer.Argument(metavar="B", help="the other one")],
    metric: Annotated[str, typer.Option(help="the score to compare by")] = "foreground_dice",
    data: DataOption = None,
    block: Annotated[int, typer.Option(help="neighbouring images drawn together, for slices of a stack", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="seed of the draws", min=0)] = 0,
    trust: TrustOption = False,
    json_file: JsonOption = None,
    picture: Annotated[Path | None, typer.Option(help="draw every image's difference here (.png)")] = None,
) -> None:
    """Tell whether one network is better than another, and how sure that is: unetkit compare A B."""
    import unetkit
    from unetkit.reporting.plots import differences
    from unetkit.storage.atomic import atomic_write

    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: expected a name with .png")
    with progress_with("evaluating", json_file) as progress:
        found = unetkit.compare(
            first, second, metric=metric, data=data, block=block, seed=seed, trust=trust, progress=progress
        )
    if picture is not None:
        atomic_write(picture, differences(found.images, found.difference, found.metric))

    def show() -> None:
        one = found.difference
        print(f"{found.metric}   A {found.first:.4f}   B {found.second:.4f}")
        print(f"A - B    {one.value:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}")
        print(f"A is better in {100 * one.share:.1f} % of {one.resamples} resamples of {one.images} images")
        print(found.sentence)
        print_notes(found.notes)
        if picture is not None:
            print(f"written: {picture}")

    give_result(found.as_json(), json_file, show)


metrics_app = typer.Typer(help="List the scores and their definitions, or score files that any program wrote.")
app.add_typer(metrics_app, name="metrics")


@metrics_app.callback(invoke_without_command=True)
def metrics_list(context: typer.Context, json_file: JsonOption = None) -> None:
    """List the families of scores with their definitions; `metrics isbi` scores files that any program wrote."""
    from dataclasses import asdict

    from unetkit.metrics import FAMILIES
    from unetkit.reporting.text import families_text

    if context.invoked_subcommand is None:
        content = {
            name: {"about": family.about, "when": family.when, "scores": list(map(asdict, family.definitions.values()))}
            for name, family in FAMILIES.items()
        }
        give_result(content, json_file, lambda: print("\n".join(families_text())))


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
    json_file: JsonOption = None,
) -> None:
    """Score a stack by the ISBI 2012 challenge's own metrics: unetkit metrics isbi LABEL.tif PROBABILITY.tif."""
    import unetkit
    from unetkit.metrics import PUBLISHED
    from unetkit.reporting.text import PUBLISHED_NOTE, isbi_tables

    with progress_with("scoring", json_file) as progress:
        evaluation = unetkit.score_isbi(
            label, probability, membrane=membrane, scale=scale, warping=not no_warping, progress=progress
        )

    def show() -> None:
        print(isbi_tables(evaluation, slices=slices))
        print_notes(evaluation.notes)

    content = evaluation.as_json() | {"published": {"note": PUBLISHED_NOTE, "values": PUBLISHED}}
    give_result(content, json_file, show)
