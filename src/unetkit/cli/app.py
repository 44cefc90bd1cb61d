"""What the verbs share: the application that they are registered with, their common options, and how they speak."""

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from typer.core import TyperGroup

from unetkit.errors import UnetkitError, UsageError
from unetkit.version import __version__

if TYPE_CHECKING:
    from unetkit.formats.runtime import Activation
    from unetkit.prediction.load import LoadOptions
    from unetkit.progress import Progress

_ROAD: Sequence[str] = (
    *("data", "plan", "train", "crossval", "search", "evaluate", "compare", "runs", "report", "predict", "label"),
    *("serve", "export", "check", "bench", "pack", "reproduce", "config", "metrics"),
)


class _Brief(TyperGroup):
    """Verbs, each listed by the first words of its help, without its example."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if found := super().get_command(ctx, cmd_name):
            found.short_help = re.split(r"[:;.](?:\s|$)", found.help or "")[0]
        return found


class _InOrder(_Brief):
    """The verbs, listed in the order in which one needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=_ROAD.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(cls=_Brief, help="Get data, and make it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"unetkit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """From a stack of microscope images and a handful of masks to a trained U-Net."""


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value, such as train.steps=400 model.width=16; after --, an older system's own flags",
        show_default=False,
    ),
]
BugCompatibleOption = Annotated[bool, typer.Option("--bug-compatible", help="keep an older system's known issues")]
PredictionKeys = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="of predict and objects: objects.threshold=0.4", show_default=False),
]
LogFormatOption = Annotated[
    Literal["mindspore", "mindspore-course", "tensorflow", "oneflow"] | None,
    typer.Option("--log-format", help="also print the lines of this older system, in its spelling", show_default=False),
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="the data set: a folder, a file, or 'sample'", show_default=False)
]
CalibrateOption = Annotated[
    bool, typer.Option("--calibrate", help="probabilities at the temperature fitted on the held-out images")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps", show_default=False)]
HeadOption = Annotated[
    int | None, typer.Option("--head", help="head of a unetpp: 1 is the fastest", show_default=False)
]

RuntimeOption = Annotated[
    str | None, typer.Option("--runtime", help="of an exported file: onnxruntime, openvino, ...", show_default=False)
]


def _precision(name: str | None) -> str | None:
    if name is None:
        return None
    from unetkit.devices import choose_device, imitation_note  # loads PyTorch

    for note in imitation_note(name, choose_device("auto")):
        typer.echo(note, err=True)
    return name


PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="to compute in: float32, bfloat16 or float16",
        show_default="float32",
        callback=_precision,
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="open a .pt2 or .pt that you did not export: it can run any code")
]
OtherClassesOption = Annotated[
    str | None,
    typer.Option("--classes", metavar="A,B", help="of other people's file: names of its classes", show_default=False),
]
NormalizationOption = Annotated[
    str | None,
    typer.Option(
        help="of other people's file: what is done to pixels: none, zero-to-one, minus-one-to-one, standardize, "
        "min-max, imagenet, or MEAN/STD",
        show_default=False,
    ),
]
MultipleOption = Annotated[
    int | None,
    typer.Option(min=1, help="of other people's file: sides that are multiples of it go in", show_default=False),
]
InputSizeOption = Annotated[
    tuple[int, int] | None,
    typer.Option(
        "--size", metavar="H W", help="of other people's file: the only size that goes in", show_default=False
    ),
]
ActivationOption = Annotated[
    str | None,
    typer.Option(help="of other people's file: none (probabilities come out), sigmoid, softmax", show_default=False),
]
OutputOption = Annotated[
    str | None, typer.Option("--output", help="of other people's file: which of its outputs", show_default=False)
]
TtaOption = Annotated[bool, typer.Option("--tta", help="average over the eight flips and turns")]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json", help="write the result here ('-': to standard output, and nothing else)", show_default=False
    ),
]
AboutOption = Annotated[
    Path | None,
    typer.Option("--about", help="a YAML file: title, authors, license, citations, data, tags", show_default=False),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="of the CPU", show_default=False)]


def said_of_file(
    classes: str | None,
    normalization: str | None,
    multiple: int | None,
    size: tuple[int, int] | None,
    activation: str | None,
    output: str | None,
) -> "LoadOptions":
    """Return the options that say what other people's file does not say itself."""
    return {
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "normalization": normalization,
        "multiple": multiple,
        "input_size": size,
        "activation": cast("Activation | None", activation),  # other words are refused where the file is opened
        "output": output,
    }


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides, and the words that stood after `--`: they begin with the first flag."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first]), list(words[first:])


def complain(error: UnetkitError | str) -> None:
    """Print an error as one line."""
    print(f"unetkit: {' '.join(str(error).split())}", file=sys.stderr)


def require(value: Any, what: str, example: str) -> None:
    """Make sure that something was given.

    Raises:
        UsageError: it was not.
    """
    if value is None:
        raise UsageError(f"{what} is missing; write: {example}")


def print_notes(notes: Iterable[str]) -> None:
    """Print what the reader of a result should know."""
    for note in notes:
        print(f"note: {note}")


@contextmanager
def progress_with(title: str, json_file: Path | None) -> "Generator[Progress | None]":
    """Give the progress of a verb with `--json`; None where standard output is for JSON alone."""
    from unetkit.progress import show_progress

    if str(json_file) == "-":
        yield None
        return
    with show_progress(title) as progress:
        yield progress


def give_result(content: Any, json_file: Path | None, show: Callable[[], object]) -> None:
    """Show a result and write it as JSON where that is asked for; with `--json -` the JSON alone is printed.

    Raises:
        StorageError: the file cannot be written.
    """
    from unetkit.storage.atomic import atomic_write

    text = json.dumps(content, indent=2, ensure_ascii=False)
    if str(json_file) == "-":
        print(text)
        return
    show()
    if json_file is not None:
        atomic_write(json_file, f"{text}\n")
        print(f"written: {json_file}")
