"""The tables of a run's record: where the time went, what the data was, what was configured, on which machine.

Assumes the JSON files of a run folder; an entry that is missing is left out, one that is unknown is shown as it is.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unetkit.config import Config
from unetkit.reporting.history import History, number_in
from unetkit.reporting.markup import Content, Html, facts, joined, prose, table, tag
from unetkit.runs import Record, Run

_WORK = {
    "imports": "starting Python and loading the libraries",
    "reading": "opening, checking and describing the data, and laying it out for the training",
    "training": "updates of the weights alone: the train_seconds of the log",
    "validation": "scoring the held-out images on the way",
    "checkpoints": "writing checkpoints",
    "report": "scoring the best weights at the end and writing this page, the time before",
}
_FEWEST_NAMES, _MOST_NAMES, _MOST_LETTERS = 4, 60, 600


def time_table(run: Run, history: History) -> Html:
    """Return the seconds that every kind of work took, as summary.json says or, unfinished, as far as the log knows."""
    summary: Record = run.read_json("summary.json") or {}
    known: Record = summary.get("seconds") or _seconds_so_far(history)
    seconds = {name: value for name in (*_WORK, *known) if (value := number_in(known, name)) is not None}
    total = sum(seconds.values())
    rows: list[list[Content]] = [
        [name.capitalize(), f"{value:.1f}", f"{100 * value / total:.1f}" if total else "–", _WORK.get(name, "")]
        for name, value in seconds.items()
    ]
    caption = "Where the time went, in seconds, and the share of all of it in percent."
    if not summary:
        caption += " The run is not finished: its log tells of the work so far."
    rows.append([tag("b", "Together"), f"{total:.1f}", "100.0" if total else "–", ""])
    return table(caption, ["Work", "Seconds", "Share, %", "What it is"], rows, numbers=(1, 2))


def data_facts(run: Run) -> Html:
    """Return what data.json says of the data."""
    data: Record | None = run.read_json("data.json")
    if data is None:
        return tag("p", "The folder has no data.json: the data was not recorded.")
    shares = list(zip(data.get("classes", []), data.get("class_shares", []), strict=False))
    sizes: dict[str, int] = data.get("sizes", {})
    lowest, highest, mean = (_figure(data, name) for name in ("minimum", "maximum", "mean"))
    lines: list[tuple[str, Content]] = [
        ("Path", tag("code", run.config.data.path or "–")),
        ("Samples", str(data.get("samples", "–"))),
        ("Sizes", "; ".join(f"{count} of {size}" for size, count in sizes.items()) + " (channels, height, width)"),
        ("Stored values", f"{data.get('dtype', '–')}, {lowest} to {highest}, mean {mean}"),
        ("Shares of classes", "; ".join(f"{name} {100 * share:.2f} %" for name, share in shares) or "–"),
        *([("Weights of classes", _named(data["class_weights"]))] if "class_weights" in data else []),
        ("Normalisation", _normalisation(run, data)),
        ("Trained on", _names(data.get("train", []))),
        ("Held out", _names(data.get("validation", [])) if data.get("validation") else "nothing"),
        ("Split", _split_words(run.config)),
        *(("Doctor", f"{one['severity']}: {one['found']}") for one in data.get("findings", [])),
        ("SHA-256 of pixels", tag("code", str(data.get("sha256_pixels", "–")))),
        ("SHA-256 of labels", tag("code", str(data.get("sha256_labels", "–")))),
    ]
    return facts(lines)


def config_table(config: Config) -> Html:
    """Return every key with its value and meaning; what differs from the defaults is marked and shows its default."""
    keys = list(settings(config, Config()))
    differing = [number for number, (_, value, default, _) in enumerate(keys) if value != default]
    rows = [
        [tag("code", key), tag("code", value), tag("code", default if value != default else ""), prose(meaning)]
        for key, value, default, meaning in keys
    ]
    caption = "The configuration, every key. Marked ▸ and bold: differs from the default, which stands beside it."
    return table(caption, ["Key", "Value", "Default", "Meaning"], rows, marked=differing, kind="settings")


def settings(section: BaseModel, default: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield dotted key, value, default value and meaning of every key below a section."""
    for name, field in type(section).model_fields.items():
        value, usual = getattr(section, name), getattr(default, name)
        if isinstance(value, BaseModel):
            yield from settings(value, usual, f"{prefix}{name}.")
        else:
            yield prefix + name, _plain(section, name), _plain(default, name), field.description or ""


def environment_facts(run: Run) -> Html:
    """Return what environment.json says of the machine and the versions."""
    environment: Record | None = run.read_json("environment.json")
    if environment is None:
        return tag("p", "The folder has no environment.json: the machine was not recorded.")
    lines = [(key, _as_text(value)) for key, value in environment.items() if key not in ("command", "packages")]
    packages: Record = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return facts([*((key.capitalize(), text) for key, text in lines), ("Packages", versions or "–")])


def commands(run: Run) -> Html:
    """Return the command that started the run, and one that does the same from its folder."""
    environment: Record = run.read_json("environment.json") or {}
    command: list[str] = environment.get("command") or []
    started = shlex.join([*_program(command[0]), *command[1:]]) if command else "not recorded"
    again = shlex.join(["unetkit", "train", str(run.path / "config.yaml"), "--out", "NEW_FOLDER"])
    return joined(
        tag("p", "Started by:"),
        tag("pre", started),
        tag("p", "The same again, from the configuration that this folder keeps:"),
        tag("pre", again),
        tag("p", "On the same CPU, with the same versions, threads and data, every weight comes out the same."),
    )


def _program(path: str) -> list[str]:
    program = Path(path)
    return ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]


def _seconds_so_far(history: History) -> Record:
    validation = sum(number_in(line, "validation_seconds") or 0.0 for line in history.validations)
    return {"training": history.train_seconds, "validation": validation}


def _figure(data: Record, name: str) -> str:
    value = number_in(data, name)
    return "–" if value is None else f"{value:.5g}"


def _normalisation(run: Run, data: Record) -> str:
    numbers: dict[str, list[float]] = data.get("normalization") or {}
    values = "; ".join(f"{name} {', '.join(f'{value:.5g}' for value in entry)}" for name, entry in numbers.items())
    return f"{run.config.data.normalization}: {values}, in stored units, of the training images" if values else "–"


def _names(names: list[str]) -> str:
    longest = max((len(name) for name in names), default=1)
    most = max(_FEWEST_NAMES, min(_MOST_NAMES, _MOST_LETTERS // longest))
    more = f" and {len(names) - most} more (data.json has all)" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def _named(values: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:.3g}" for name, value in values.items())


def _split_words(config: Config) -> str:
    split = config.data.split
    if split.method in ("none", "given"):
        return split.method
    if split.method == "last":
        return f"the last {100 * split.share:g} % of the samples in their order"
    return f"{split.method}, fold {split.fold} (from 0) of {split.folds}, seed {split.seed}"


def _plain(section: BaseModel, name: str) -> str:
    return json.dumps(json.loads(section.model_dump_json(include={name}))[name], ensure_ascii=False)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
