"""The verbs that give networks and trainings away, and prove them: export, check, bench, pack, reproduce."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from unetkit.cli.app import (
    AboutOption,
    ActivationOption,
    DataOption,
    HeadOption,
    InputSizeOption,
    JsonOption,
    MultipleOption,
    NormalizationOption,
    OtherClassesOption,
    OutputOption,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    TrustOption,
    app,
    divided,
    give_result,
    progress_with,
    said_of_file,
)
from unetkit.errors import UsageError

if TYPE_CHECKING:
    from unetkit.exporting.export import Checked, ExportOptions
    from unetkit.modelfile.card import Layout, Output
    from unetkit.prediction.load import LoadOptions

from typing import TYPE_CHECKING

from unetkit.cli.app import require

if TYPE_CHECKING:
    from unetkit.publishing.reproduce import Parting, Reproduction


@app.command()
def export(
    model: Annotated[str | None, typer.Argument(help="a run folder or a network file", show_default=False)] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- FLAGS]", help="with --config: an older system's own flags", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="the format, such as onnx or openvino", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the file to write", show_default=False)] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            help="an older system's configuration: it names network, format, size and file",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="what comes out: logits, softmax or argmax",
            show_default="logits; softmax with --with-preprocessing",
        ),
    ] = None,
    head: HeadOption = None,
    layout: Annotated[str, typer.Option(help="of images and output: nchw, nhwc, or nchw-nhwc")] = "nchw",
    preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="pixels go in as stored, probabilities come out")
    ] = False,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="the only size that goes in", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="the only number of images that go in at once", show_default=False)
    ] = None,
    opset: Annotated[int | None, typer.Option(help="of ONNX", show_default=False)] = None,
    half: Annotated[bool, typer.Option("--half", help="weights in float16, for GPUs")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="in eight-bit integers, calibrated on --data")] = False,
    max_drop: Annotated[
        float | None, typer.Option(help="int8: refuse to lose more of the score than this", show_default="0.005")
    ] = None,
    about: AboutOption = None,
    data: DataOption = None,
    json_file: JsonOption = None,
) -> None:
    """Write a network for another runtime and prove it there: unetkit export RUN --to onnx --out FILE.onnx."""
    import unetkit
    from unetkit.configuring import configure
    from unetkit.formats import FORMATS

    named, flags = divided([*([model] if model else []), *(words or [])])
    if len(named) > 1 or (flags and config is None):
        raise UsageError(f"{(named[1:] or flags)[0]}: expected one MODEL, and flags after -- only with --config FILE")
    network: str | Path | None = named[0] if named else None
    if config is not None:
        configured = configure(config, flags=flags)
        legacy, network = configured.legacy_network, configured.network(network)
        to, size = to or legacy.export or None, size or legacy.size
        if out is None and to is not None and to.lower() in FORMATS and legacy.file_name:
            out = Path(f"{legacy.file_name}{FORMATS[to.lower()].suffix}")
    if network is None or to is None or out is None:
        missing = "MODEL" if network is None else "--to" if to is None else "--out"
        raise UsageError(f"{missing} is missing; write: unetkit export RUN --to onnx --out FILE.onnx")
    options: ExportOptions = {
        "output": cast("Output | None", output),  # of these two, other words are refused with all other options
        "head": head,
        "layout": cast("Layout", layout),
        "preprocessing": preprocessing,
        "size": size,
        "batch": batch,
        "opset": opset,
        "half": half,
        "int8": int8,
        "max_drop": max_drop,
        "about": about,
    }
    with progress_with("exporting", json_file) as progress:
        checked = unetkit.export(network, to=to, out=out, data=data, options=options, progress=progress)
    give_result(_as_json(checked), json_file, lambda: _print(checked, files=True))


@app.command()
def check(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="an exported file")],
    data: DataOption = None,
    against: Annotated[
        Path | None, typer.Option(help="the run or network file that it was made from", show_default=False)
    ] = None,
    head: HeadOption = None,
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
    json_file: JsonOption = None,
) -> None:
    """Compare an exported file with what it was made from: unetkit check FILE --data DIR [--against RUN]."""
    import unetkit

    options: LoadOptions = {"head": head, "runtime": runtime, "threads": threads, "precision": precision}
    options |= {"trust": trust}
    options |= said_of_file(classes, normalization, multiple, size, activation, output)
    with progress_with("checking", json_file) as progress:
        checked = unetkit.check(model, data=data, against=against, options=options, progress=progress)
    give_result(_as_json(checked), json_file, lambda: _print(checked))


def _as_json(checked: "Checked") -> dict[str, object]:
    parts = {"parity": checked.parity, "scored": checked.scored, "gain": checked.gain}
    measured: dict[str, object] = {name: None if part is None else asdict(part) for name, part in parts.items()}
    measured["reproduced"] = [asdict(one) for one in checked.reproduced]
    return {"file": str(checked.path), "card": checked.card.model_dump(mode="json"), **measured}


def _print(checked: "Checked", *, files: bool = False) -> None:
    from unetkit.storage import url_of

    for case in checked.parity.cases if checked.parity else ():
        shape = " x ".join(map(str, case.shape))
        print(f"{case.images:<24} {shape:<22} differs by {case.absolute:.2e}  ({case.relative:.2e} relative)")
    if checked.parity is not None:
        print(f"parity: {checked.parity.relative:.2e} relative at most, {checked.parity.bound:g} is allowed")
    for one in checked.reproduced:
        absolute, relative, most = one.allowed
        print(
            f"{one.output}: differs from the package's test tensor by {one.absolute:.2e} at most; {absolute:g} + "
            f"{relative:g} of the value is allowed, and exceeded in {one.mismatched:g} of a million values ({most:g} "
            "allowed)"
        )
    if checked.scored is not None:
        scored = checked.scored
        torch = "" if scored.torch is None else f", {scored.torch:.7f} in PyTorch"
        print(f"{scored.metric}: {scored.file:.7f} through the file{torch}, over {scored.images} images")
    if checked.gain is not None:
        gain = checked.gain
        print(
            f"int8: {gain.times_faster:.2f} times as fast as float32 in the same runtime, {gain.drop:.4f} of the score "
            f"lost, {gain.floating} convolutions at either end in float32, calibrated on {gain.calibrated_on} images"
        )
    for file in checked.files if files else ():
        length = f" ({file.stat().st_size:,} bytes)" if file.is_file() else ""
        print(f"written: {url_of(file)}{length}")


@app.command()
def bench(
    models: Annotated[list[str], typer.Argument(help="runs, network files, exported files; @RUNTIME, @PRECISION")],
    size: Annotated[int, typer.Option(help="side of the images in pixels", min=16)] = 512,
    batches: Annotated[str, typer.Option(help="numbers of images in a call")] = "1,2,4",
    rounds: Annotated[int, typer.Option(help="calls of each", min=1)] = 7,
    threads: ThreadsOption = None,
    trust: TrustOption = False,
    picture_file: Annotated[Path | None, typer.Option("--picture", help="write bars as a PNG here")] = None,
    json_file: JsonOption = None,
) -> None:
    """Time networks and exported files side by side: unetkit bench RUN FILE.xml FILE.onnx."""
    import unetkit
    from unetkit.storage.atomic import atomic_write
    from unetkit.timing import as_json, picture, table

    numbers = [int(word) for word in batches.split(",") if word.strip().isdecimal() and int(word) > 0]
    if len(numbers) != len(batches.split(",")):
        raise UsageError(f"--batches: found {batches}; expected numbers such as 1,2,4")
    with progress_with("timing", json_file) as progress:
        timings = unetkit.bench(
            models, size=size, batches=numbers, rounds=rounds, threads=threads, trust=trust, progress=progress
        )
    if picture_file is not None:
        atomic_write(picture_file, picture(timings))
    drawn = "" if picture_file is None else f"\nwritten: {picture_file}"
    give_result(as_json(timings), json_file, lambda: print(f"{table(timings)}{drawn}"))


@app.command()
def pack(
    run: Annotated[Path, typer.Argument(help="a finished run folder")],
    out: Annotated[Path, typer.Option(help="the .zip of a crate, or the folder for a hub", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="crate: can be reproduced; hub: a model for a model hub")] = "crate",
    about: AboutOption = None,
) -> None:
    """Pack a run for other people: unetkit pack RUN --out crate.zip [--about about.yaml]."""
    import unetkit

    print(f"written: {unetkit.pack(run, out=out, to=to, about=about)}")


@app.command()
def reproduce(
    crate: Annotated[Path, typer.Argument(metavar="CRATE.zip", help="what unetkit pack wrote")],
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option(help="keep the new training as this run folder", show_default=False)
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Train again by a packed run and compare: unetkit reproduce crate.zip --data DIR.

    Ends with 0 where the result is the same, 1 where it is not.
    """
    import unetkit

    require(data, "--data", "unetkit reproduce crate.zip --data DIR")
    with progress_with("reproducing", json_file) as progress:
        found = unetkit.reproduce(crate, data=str(data), out=out, progress=progress)
    content = asdict(found) | {"identical": found.identical, "same": found.same}
    give_result(content, json_file, lambda: print("\n".join(_reproduction_lines(found))))
    if not found.same:
        raise typer.Exit(1)


def _reproduction_lines(found: "Reproduction") -> list[str]:
    """Return what a reproduction found, a line each."""
    from unetkit.publishing.reproduce import TOLERANCE
    from unetkit.reporting.text import labelled_line

    machine = f"of another kind: {'; '.join(found.elsewhere)}" if found.elsewhere else "of the same kind"
    loss = f"the same, up to step {found.last_step}"
    if found.loss is not None:
        loss = f"part at {found.loss.what}: {found.loss.again:.9g}, was {found.loss.packed:.9g}"
    lines = [labelled_line("data", f"the same, {found.images} images"), labelled_line("machine", machine)]
    lines.append(labelled_line("losses", loss))
    lines.append(labelled_line("weights", _counted(found.tensors, found.tensor_count, "tensors")))
    lines += [f"{'':<12}{one.what}  by {one.again:.3g}" for one in found.tensors[:_SHOWN]]
    lines.append(labelled_line("scores", _counted(found.scores, found.score_count, "scores")))
    shown = found.beyond or found.scores
    lines += [f"{'':<12}{one.what}  {one.again:.6f}, was {one.packed:.6f}" for one in shown[:_SHOWN]]
    if found.identical:
        verdict = "the same, bit for bit"
    elif found.same:
        verdict = f"the same for another kind of machine: every score that decides is within {TOLERANCE:g}"
    elif found.elsewhere:
        verdict = f"not the same: {len(found.beyond)} of the scores that decide are further apart than {TOLERANCE:g}"
    else:
        verdict = "not the same, though the machine is of the same kind"
    return [*lines, labelled_line("result", verdict)]


_SHOWN = 5


def _counted(apart: "tuple[Parting, ...]", total: int, noun: str) -> str:
    return f"all {total} {noun} are the same" if not apart else f"{len(apart)} of {total} {noun} differ:"
