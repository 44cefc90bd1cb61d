"""The verb that segments images: predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetkit.cli.app import (
    ActivationOption,
    CalibrateOption,
    DeviceOption,
    HeadOption,
    InputSizeOption,
    JsonOption,
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
    give_result,
    print_notes,
    progress_with,
    said_of_file,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.prediction.load import LoadOptions

ProbabilitiesOption = Annotated[bool, typer.Option("--probabilities", help="write probabilities instead of masks")]
UncertaintyOption = Annotated[
    bool, typer.Option("--uncertainty", help="write how uncertain the answer is: entropy, mutual information")
]
ObjectsOption = Annotated[
    bool, typer.Option("--objects", help="find objects: labels as .tif, COCO as .json; holds whole images in memory")
]
OutlinesOption = Annotated[
    bool, typer.Option("--outlines", help="with --objects: draw them, beside --out or, a .png, as --out")
]


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a run folder, a network file, an exported file, a package")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="an image, a stack, or a folder of images")],
    keys: PredictionKeys = None,
    *,
    out: Annotated[Path, typer.Option(help="file or folder to write", show_default=False)],
    probabilities: ProbabilitiesOption = False,
    uncertainty: UncertaintyOption = False,
    calibrate: CalibrateOption = False,
    objects: ObjectsOption = False,
    outlines: OutlinesOption = False,
    tta: TtaOption = False,
    head: HeadOption = None,
    tile: Annotated[int | None, typer.Option(help="side of a tile in pixels", show_default=False)] = None,
    overlap: Annotated[
        int | None, typer.Option(help="pixels that tiles share on each side", show_default=False)
    ] = None,
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
    device: DeviceOption = None,
    json_file: JsonOption = None,
) -> None:
    """Segment images of any size: unetkit predict RUN INPUT --out FILE."""
    import unetkit

    _require_one_result(objects, outlines=outlines, other=probabilities or uncertainty)
    options: LoadOptions = {"tta": tta or None, "calibrate": calibrate or None, "tile": tile, "overlap": overlap}
    options |= {"head": head, "runtime": runtime, "threads": threads, "precision": precision, "trust": trust}
    options |= {"overrides": keys}
    options |= said_of_file(classes, normalization, multiple, size, activation, output)
    with progress_with("predicting", json_file) as progress:
        common: Any = {"options": options, "device": device or "auto", "progress": progress}
        if objects:
            made = unetkit.predict_objects(model, source, out, outlines=outlines, **common)
        else:
            common |= {"probabilities": probabilities, "uncertainty": uncertainty}
            made = unetkit.predict_file(model, source, out, **common)

    def show() -> None:
        print_notes(made.notes)
        if objects:
            print(f"objects: {sum(one.objects or 0 for one in made.images)}")
        print(f"written: {out}")

    give_result(made.as_json(), json_file, show)


def _require_one_result(objects: bool, *, outlines: bool, other: bool) -> None:
    if outlines and not objects:
        raise UsageError("--outlines draws objects; give --objects, too")
    if objects and other:
        raise UsageError("--objects is a result of its own; ask for one at a time")
