"""The verb that segments images: predict."""

import re
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
    bool,
    typer.Option(
        "--objects",
        help="find objects: labels as .tif, of any size .ome.zarr; tables .csv, .parquet; COCO .json, "
        "ImageJ .zip, QuPath .geojson",
    ),
]
OutlinesOption = Annotated[
    bool, typer.Option("--outlines", help="with --objects: draw them, beside --out or, a .png, as --out")
]
ThroughDepthOption = Annotated[
    bool, typer.Option("--through-depth", help="objects of an .ome.zarr go through the slices of a volume")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="processes here that predict blocks of a large image")]
DaskOption = Annotated[
    str | None, typer.Option(help="predict by this dask scheduler's workers: tcp://HOST:8786", show_default=False)
]
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="4GB", help="that each process may hold in all [default: half of what is free]"),
]
RoiOption = Annotated[
    Path | None,
    typer.Option(help="a mask, or a folder of masks: what lies outside is background", show_default=False),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on with an output that was not finished")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace an output that is there")]


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
    through_depth: ThroughDepthOption = False,
    roi: RoiOption = None,
    workers: WorkersOption = 1,
    dask: DaskOption = None,
    memory: MemoryOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
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
        common: Any = {"options": options, "device": device or "auto", "progress": progress, "workers": workers}
        common |= {"dask": dask, "memory": gigabytes(memory), "resume": resume, "overwrite": overwrite, "roi": roi}
        if objects:
            made = unetkit.predict_objects(model, source, out, outlines=outlines, through_depth=through_depth, **common)
        else:
            common |= {"probabilities": probabilities, "uncertainty": uncertainty}
            made = unetkit.predict_file(model, source, out, **common)

    def show() -> None:
        print_notes(made.notes)
        if objects:
            print(f"objects: {sum(one.objects or 0 for one in made.images)}")
        print(f"written: {out}")

    give_result(made.as_json(), json_file, show)


_UNITS = {"": 1.0, "gb": 1.0, "gib": 2**30 / 1e9, "mb": 1e-3, "mib": 2**20 / 1e9}


def gigabytes(text: str | None) -> float | None:
    """Read an amount of memory, such as 4GB, 1.5 or 800MB; a bare number counts gigabytes.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]*\.?[0-9]+) ?([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise UsageError(f"--memory {text}: is no amount of memory; write it as 4GB or 800MB")
    return float(found[1]) * _UNITS[found[2]]


def _require_one_result(objects: bool, *, outlines: bool, other: bool) -> None:
    if outlines and not objects:
        raise UsageError("--outlines draws objects; give --objects, too")
    if objects and other:
        raise UsageError("--objects is a result of its own; ask for one at a time")
