"""The verbs that give a training to other people and take one from them: pack, reproduce."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetkit.cli.app import AboutOption, DataOption, JsonOption, app, give_result, progress_with, require

if TYPE_CHECKING:
    from unetkit.publishing.reproduce import Parting, Reproduction


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
    give_result(content, json_file, lambda: print("\n".join(_lines(found))))
    if not found.same:
        raise typer.Exit(1)


def _lines(found: "Reproduction") -> list[str]:
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
