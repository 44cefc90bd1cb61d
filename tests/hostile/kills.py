"""Commands killed at any moment, and run again: what is half-written, what is left, is the result the same?

    python tests/hostile/kills.py [--count 100] [--seed 0] [--only VERB] [--json FILE]

Each kill begins a command anew, waits for a moment between its start and its end (or for one of the changes that it
makes on the disk), and sends SIGKILL, or SIGTERM for a quarter of them, to the command with all its processes. Then:
what has its final name must be whole, that is the same bytes as without a kill; after SIGTERM nothing temporary may be
left; and the same command, run again (a training with --resume), must come to the same results with nothing left.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ISBI = ROOT.parent / "shared" / "data" / "isbi2012"
OUTCOMES = ("tried", "same", "early", "half", "left", "other", "traceback")
"""same: as without a kill; early: ended before; half: not whole under its name; left: parts; other: another result."""

SMALL = ["model.width=4", "model.depth=1", "train.batch=1", "train.patch=32", "train.threads=1"]
_CHANGING = (
    "curves.png",
    "report.html",
    "log.jsonl",
    "summary.json",
    "environment.json",
    ".lock",
    "crossval.json",
    "events",
)
"""What holds times or the command line, and so is never the same twice."""


@dataclass(frozen=True)
class Verb:
    """A command, what it makes, and how it is run again.

    Attributes:
        words: of the command, from the folder of this kill.
        made: names of what it makes.
        again: words of the command that goes on; None: the same.
        prepare: makes the folder ready.
        whole: whether every file has the same bytes in the end; of others the weights alone.
        start: of the command, where it is not unetkit itself.
    """

    words: Callable[[Path], list[str]]
    made: tuple[str, ...]
    again: Callable[[Path], list[str]] | None = None
    prepare: Callable[[Path], object] = lambda folder: None
    skipped: tuple[str, ...] = ()
    start: tuple[str, ...] = field(default=(sys.executable, "-m", "unetkit"))


def verbs(base: Path) -> dict[str, Verb]:
    """Return every command that writes; `base` holds data, a run and images."""
    data, run, images = str(base / "data"), str(base / "run"), str(base / "images")
    train = [
        "train",
        "isbi",
        "--data",
        data,
        *SMALL,
        "train.steps=30",
        "train.checkpoint_every=3",
        "train.validate_every=10",
    ]
    folds = ["crossval", "isbi", "--data", data, "--folds", "2", *SMALL, "train.steps=8", "train.checkpoint_every=2"]

    def copy_run(folder: Path) -> None:
        shutil.copytree(base / "run", folder / "run")

    def goes_on(folder: Path) -> list[str]:
        begun = (folder / "run" / "config.yaml").is_file()
        return ["train", "--resume", str(folder / "run")] if begun else [*train, "--out", str(folder / "run")]

    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "unetkit")
    return {
        "train": Verb(lambda folder: [*train, "--out", str(folder / "run")], ("run",), again=goes_on),
        "crossval": Verb(lambda folder: [*folds, "--out", str(folder / "folds")], ("folds",)),
        "crossval torchrun": Verb(
            lambda folder: [*folds, "--out", str(folder / "folds"), "train.batch=2"], ("folds",), start=torchrun
        ),
        "predict file": Verb(
            lambda folder: ["predict", run, f"{images}/a.tif", "--out", str(folder / "o.tif")], ("o.tif",)
        ),
        "predict folder": Verb(lambda folder: ["predict", run, images, "--out", str(folder / "o")], ("o",)),
        "export safetensors": Verb(
            lambda folder: ["export", run, "--to", "safetensors", "--out", str(folder / "x.safetensors")],
            ("x.safetensors",),
        ),
        "export onnx": Verb(
            lambda folder: ["export", run, "--to", "onnx", "--out", str(folder / "x.onnx")], ("x.onnx",)
        ),
        "data sample": Verb(lambda folder: ["data", "sample", "--out", str(folder / "s"), "--slices", "4"], ("s",)),
        "data convert": Verb(lambda folder: ["data", "convert", data, "--out", str(folder / "c")], ("c",)),
        "data fetch": Verb(
            lambda folder: ["data", "fetch", "isbi2012", "--from", str(ISBI), "--out", str(folder / "f")], ("f",)
        ),
        "data check": Verb(lambda folder: ["data", "check", data, "--html", str(folder / "c.html")], ("c.html",)),
        "evaluate": Verb(lambda folder: ["evaluate", run, "--json", str(folder / "e.json")], ("e.json",)),
        "evaluate tune": Verb(
            lambda folder: ["evaluate", f"{folder}/run", "--tune", "--keep"], ("run",), prepare=copy_run
        ),
        "report": Verb(lambda folder: ["report", f"{folder}/run"], ("run",), prepare=copy_run),
        "plan": Verb(lambda folder: ["plan", data, "--out", str(folder / "p.yaml")], ("p.yaml",)),
    }


def base_in(folder: Path, environment: dict[str, str]) -> Path:
    """Make what the commands need."""
    sample = ["data", "sample", "--out", str(folder / "data"), "--slices", "6", "--size", "64"]
    train = ["train", "isbi", "--data", str(folder / "data"), "--out", str(folder / "run"), *SMALL, "train.steps=4"]
    for words in (sample, [*train, "data.split.folds=2"]):
        subprocess.run(
            [sys.executable, "-m", "unetkit", *words], check=True, env=environment, stdout=subprocess.DEVNULL
        )
    (folder / "images").mkdir()
    for name in "abcd":
        shutil.copy(folder / "data" / "train-volume.tif", folder / "images" / f"{name}.tif")
    return folder


def content(folder: Path, made: tuple[str, ...]) -> dict[str, str]:
    """Return the checksum of every file that is the same each time, by its name; of weights the tensors'."""
    found = dict[str, str]()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.split("/")[0] not in made or is_temporary(path, folder):
            continue
        if path.name.startswith(_CHANGING) or path.suffix in (".html", ".json") and "folds" in name:
            continue
        if path.suffix == ".safetensors":
            data = path.read_bytes()
            found[name] = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
        else:
            text = re.sub(rb'"(\w*seconds|created|unetkit)": [^,}]*', b"", path.read_bytes())
            found[name] = hashlib.sha256(text.replace(str(folder).encode(), b"")).hexdigest()
    return found


def is_temporary(path: Path, folder: Path) -> bool:
    """Return whether a path is not whole yet, by its name or that of a folder above it."""
    return any(part.endswith(".part") for part in path.relative_to(folder).parts)


def kill(
    verb: Verb,
    folder: Path,
    reference: dict[str, str],
    seconds: float,
    draw: random.Random,
    environment: dict[str, str],
) -> tuple[str, str]:
    """Kill a command once and run it again; return the outcome and what there is to say."""
    verb.prepare(folder)
    before = content(folder, verb.made)
    moment, changes = draw.uniform(0.3, 1.05) * seconds, draw.choice((0, 1, 2, 3, 5, 8))
    soft = draw.random() < 0.25
    process = subprocess.Popen(
        [*verb.start, *verb.words(folder)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    begun, seen, last = time.monotonic(), 0, None
    while process.poll() is None:
        if changes:
            now = (
                sorted(os.listdir(folder)),
                [sorted(os.listdir(one)) for one in folder.glob("*/") if one.is_dir()] if folder.exists() else None,
            )
            seen, last = seen + (now != last and last is not None), now
        if (seen >= changes > 0) or time.monotonic() - begun > (moment if not changes else 3 * seconds):
            os.killpg(process.pid, signal.SIGTERM if soft else signal.SIGKILL)
            break
        time.sleep(0.002)
    complaint = process.communicate()[1].decode(errors="replace")
    early = process.returncode == 0
    if "Traceback" in complaint and "torch.distributed" not in " ".join(verb.start):
        return "traceback", complaint[-1500:]
    parts = [path for path in folder.rglob("*.part")]
    if soft and parts and "torch.distributed" not in " ".join(verb.start):
        return "left", f"after SIGTERM: {parts}"
    for name, sha256 in content(folder, verb.made).items():
        whole = {reference.get(name), before.get(name)}
        if sha256 not in whole and reference.get(name) is not None and "/" not in name:
            return "half", name
    again = [*verb.start, *(verb.again or verb.words)(folder)]
    if verb.made[0] in ("o", "c") and (folder / verb.made[0]).exists() and early:
        return "early", ""
    done = subprocess.run(again, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "nothing is overwritten" in done.stderr or "is not empty" in done.stderr:  # it had come to its end
            return ("early", "") if content(folder, verb.made) == reference else ("half", done.stderr[-500:])
        return "traceback" if "Traceback" in done.stderr else "other", f"run again: {done.stderr[-1500:]}"
    if left := [str(path) for path in folder.rglob("*.part")]:
        return "left", "; ".join(left)
    found = content(folder, verb.made)
    if found != reference:
        differing = sorted(name for name in {*found, *reference} if found.get(name) != reference.get(name))
        return "other", ", ".join(differing)
    return ("early" if early else "same"), ""


def run(count: int, seed: int, only: str) -> tuple[dict[str, Counter[str]], list[str]]:
    """Kill commands in turn, and return how many ended how, by verb, and what was found."""
    root, draw = Path(tempfile.mkdtemp(prefix="unetkit-kills-")), random.Random(seed)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "XDG_CONFIG_HOME": str(root / "config"),
    }
    environment["XDG_CACHE_HOME"] = str(root / "cache")
    table, found = dict[str, Counter[str]](), list[str]()
    (root / "base").mkdir()
    chosen = {
        name: verb
        for name, verb in verbs(base_in(root / "base", environment)).items()
        if only in name and (name != "data fetch" or ISBI.is_dir())
    }
    references = dict[str, tuple[dict[str, str], float]]()
    for number in range(count):
        name = list(chosen)[number % len(chosen)]
        verb, folder = chosen[name], root / "case"
        if name not in references:
            folder.mkdir()
            verb.prepare(folder)
            begun = time.monotonic()
            done = subprocess.run(
                [*verb.start, *verb.words(folder)], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (name, done.stderr)
            references[name] = content(folder, verb.made), time.monotonic() - begun
            assert references[name][0], name
            shutil.rmtree(folder)
        folder.mkdir()
        outcome, said = kill(verb, folder, *references[name], draw, environment)
        table.setdefault(name, Counter()).update(("tried", outcome))
        if outcome not in ("same", "early"):
            found.append(f"{name}, kill {number}: {outcome}\n{said}")
            print(found[-1], file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(root)
    return table, found


def main() -> None:
    """Print the table, and end with 1 where a kill did harm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="verbs with this in their names")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table, found = run(given.count, given.seed, given.only)
    print(f"{'verb':<24}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for name, counts in {**table, "all": sum(table.values(), Counter[str]())}.items():
        print(f"{name:<24}" + "".join(f"{counts[outcome]:>10}" for outcome in OUTCOMES))
    if given.json is not None:
        given.json.write_text(
            json.dumps({"table": {name: dict(counts) for name, counts in table.items()}, "found": found})
        )
    print(*found, sep="\n\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
