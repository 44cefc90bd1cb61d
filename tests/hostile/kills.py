"""Commands killed at any moment, and run again: what is half-written, what is left, is the result the same?

    python tests/hostile/kills.py [--count 100] [--seed 0] [--only VERB] [--first 0] [--gently SHARE]

A command runs in a fork of this process, which has imported what takes longer than most commands do, or, where it is
torchrun's, from its start. Each kill begins a command anew, waits for a moment between its start and its end (or for
one of the changes that it makes on the disk), and sends SIGKILL, or SIGTERM for a share of them, to the command with
all its processes. Then: what has its final name must be whole, that is the same bytes as without a kill; after SIGTERM
nothing temporary may be left; and the same command, run again (a training with --resume), must come to the same results
with nothing left. Where a dask cluster does the work, one of its workers is killed instead, and the command must come
to its end as if nothing had been.
"""

import argparse
import hashlib
import importlib
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
from contextlib import suppress
from dataclasses import dataclass
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
        prefix: what starts the command where it is not begun in a fork.
        by_workers: whether a worker of dask is killed, not the command.
    """

    words: Callable[[Path], list[str]]
    made: tuple[str, ...]
    again: Callable[[Path], list[str]] | None = None
    prepare: Callable[[Path], object] = lambda folder: None
    prefix: tuple[str, ...] = ()
    by_workers: bool = False


_CLUSTER = """
from distributed import LocalCluster

cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None)
print(cluster.scheduler_address, flush=True)
input()
"""


def begun_by(pid: int) -> list[int]:
    """Return the processes that a process began, and those that they began."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(one) for file in files for one in file.read_text().split()]
    return [*children, *(further for one in children for further in begun_by(one))]


class Cluster:
    """A dask cluster of two workers, in a process of its own from when its address is first asked for."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """The scheduler's."""
        if self.process is None:
            command = [sys.executable, "-c", _CLUSTER]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, text=True, **pipes)
            self._address = self.process.stdout.readline().strip()
        return self._address

    def kill_worker(self, draw: random.Random) -> None:
        """Kill a worker; another process takes its place."""
        pids = begun_by(self.process.pid)
        workers = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(draw.choice(workers), signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.communicate("")


def trainings(base: Path, cluster: Cluster) -> dict[str, Verb]:
    """Return the commands that train; `base` holds data."""
    data = str(base / "data")
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

    def goes_on(folder: Path) -> list[str]:
        begun = (folder / "run" / "config.yaml").is_file()
        return ["train", "--resume", str(folder / "run")] if begun else [*train, "--out", str(folder / "run")]

    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "unetkit")
    return {
        "train": Verb(lambda folder: [*train, "--out", str(folder / "run")], ("run",), again=goes_on),
        "crossval": Verb(lambda folder: [*folds, "--out", str(folder / "folds")], ("folds",)),
        "crossval torchrun": Verb(
            lambda folder: [*folds, "--out", str(folder / "folds"), "train.batch=2"], ("folds",), prefix=torchrun
        ),
        "crossval dask": Verb(
            lambda folder: [*folds, "--out", str(folder / "folds"), "--dask", cluster.address],
            ("folds",),
            prefix=(sys.executable, "-m", "unetkit"),
            by_workers=True,
        ),
    }


def verbs(base: Path, cluster: Cluster) -> dict[str, Verb]:
    """Return every command that writes; `base` holds data, a run and images."""
    data, run, images = str(base / "data"), str(base / "run"), str(base / "images")

    def copy_run(folder: Path) -> None:
        shutil.copytree(base / "run", folder / "run")

    return trainings(base, cluster) | {
        "predict file": Verb(
            lambda folder: ["predict", run, f"{images}/a.tif", "--out", str(folder / "o.tif")], ("o.tif",)
        ),
        "predict objects": Verb(
            lambda folder: ["predict", run, f"{images}/a.tif", "--objects", "--out", str(folder / "o.tif")],
            ("o.tif", "o.csv"),
        ),
        "predict zarr": Verb(
            lambda folder: ["predict", run, f"{images}/a.tif", "--out", str(folder / "o.zarr"), "--overwrite"],
            ("o.zarr",),
            again=lambda folder: [
                *("predict", run, f"{images}/a.tif", "--out", str(folder / "o.zarr")),
                "--resume" if (folder / "o.zarr.unfinished" / "journal.jsonl").is_file() else "--overwrite",
            ],
        ),
        "predict dask": Verb(
            lambda folder: [
                "predict",
                run,
                f"{images}/a.tif",
                "--out",
                str(folder / "o.zarr"),
                "--dask",
                cluster.address,
            ],
            ("o.zarr",),
            prefix=(sys.executable, "-m", "unetkit"),
            by_workers=True,
        ),
        "predict folder": Verb(lambda folder: ["predict", run, images, "--out", str(folder / "o")], ("o",)),
        "export safetensors": Verb(
            lambda folder: ["export", run, "--to", "safetensors", "--out", str(folder / "x.safetensors")],
            ("x.safetensors",),
        ),
        "export onnx": Verb(
            lambda folder: ["export", run, "--to", "onnx", "--out", str(folder / "x.onnx")], ("x.onnx",)
        ),
        "pack": Verb(lambda folder: ["pack", run, "--to", "hub", "--out", str(folder / "hub")], ("hub",)),
        "data convert image": Verb(
            lambda folder: ["data", "convert", f"{images}/a.tif", str(folder / "a.zarr")], ("a.zarr",)
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


def base_in(folder: Path) -> Path:
    """Make what the commands need."""
    sample = ["data", "sample", "--out", str(folder / "data"), "--slices", "6", "--size", "64"]
    train = ["train", "isbi", "--data", str(folder / "data"), "--out", str(folder / "run"), *SMALL, "train.steps=4"]
    for words in (sample, [*train, "data.split.folds=2"]):
        subprocess.run([sys.executable, "-m", "unetkit", *words], check=True, stdout=subprocess.DEVNULL)
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
            if name == "p.yaml":  # a plan follows from how fast the machine is just then
                text = re.sub(rb"#.*|: .*", b"", text)
            found[name] = hashlib.sha256(text.replace(str(folder).encode(), b"")).hexdigest()
    return found


def is_temporary(path: Path, folder: Path) -> bool:
    """Return whether a path is not whole yet, by its name or that of a folder above it."""
    return any(part.endswith(".part") for part in path.relative_to(folder).parts)


@dataclass
class Begun:
    """A command that runs, with a group of processes of its own."""

    pid: int
    said: Path
    status: int | None = None

    def has_ended(self) -> bool:
        """Tell whether the command has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code, negative for a signal, and what it said of errors."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        said = self.said.read_text(errors="replace")
        self.said.unlink()
        return os.waitstatus_to_exitcode(self.status), said


def begin(verb: Verb, words: list[str]) -> Begun:
    """Begin a command."""
    said = Path(tempfile.mkstemp(prefix="said-", dir=os.environ["XDG_CACHE_HOME"])[1])
    pid = os.fork()
    if pid:
        return Begun(pid, said)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(said, os.O_WRONLY), 2)
    if verb.prefix:
        os.execv(verb.prefix[0], [*verb.prefix, *words])
    from unetkit.cli import main

    sys.argv = ["unetkit", *words]
    main()
    raise SystemExit(0)


def wait(process: Begun, folder: Path, seconds: float, draw: random.Random) -> None:
    """Wait for a moment of a command that takes about so long, or for one of its changes in a folder, or its end."""
    moment, changes = draw.uniform(0.3, 1.05) * seconds, draw.choice((0, 1, 2, 3, 5, 8))
    begun, seen, last = time.monotonic(), 0, None
    while not process.has_ended():
        if changes:
            now = (
                sorted(os.listdir(folder)),
                [sorted(os.listdir(one)) for one in folder.glob("*/") if one.is_dir()] if folder.exists() else None,
            )
            seen, last = seen + (now != last and last is not None), now
        if (seen >= changes > 0) or time.monotonic() - begun > (moment if not changes else 3 * seconds):
            return
        time.sleep(0.002)


def kill_worker(
    verb: Verb, folder: Path, reference: dict[str, str], seconds: float, draw: random.Random, cluster: Cluster
) -> tuple[str, str]:
    """Kill a worker in the middle of a command; return the outcome and what there is to say."""
    process = begin(verb, verb.words(folder))
    wait(process, folder, seconds, draw)
    early = process.has_ended()
    cluster.kill_worker(draw)
    code, said = process.end()
    if code != 0:
        return "traceback" if "Traceback" in said else "other", said[-1500:]
    if left := [str(path) for path in folder.rglob("*.part")]:
        return "left", "; ".join(left)
    return _compared(content(folder, verb.made), reference, early=early)


def _compared(found: dict[str, str], reference: dict[str, str], *, early: bool) -> tuple[str, str]:
    if found != reference:
        differing = sorted(name for name in {*found, *reference} if found.get(name) != reference.get(name))
        return "other", ", ".join(differing)
    return ("early" if early else "same"), ""


def kill(
    verb: Verb, folder: Path, reference: dict[str, str], seconds: float, draw: random.Random, gently: float
) -> tuple[str, str]:
    """Kill a command once and run it again; return the outcome and what there is to say."""
    verb.prepare(folder)
    before = content(folder, verb.made)
    soft = draw.random() < gently
    process = begin(verb, verb.words(folder))
    wait(process, folder, seconds, draw)
    if not process.has_ended():
        apart = [] if soft else begun_by(process.pid)  # torchrun's own are in other groups, and would go on
        os.killpg(process.pid, signal.SIGTERM if soft else signal.SIGKILL)
        for pid in apart:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    code, complaint = process.end()
    early = code == 0
    if "Traceback" in complaint and not verb.prefix:
        return "traceback", complaint[-1500:]
    parts = [path for path in folder.rglob("*.part")]
    if soft and parts and not verb.prefix:
        return "left", f"after SIGTERM: {parts}"
    for name, sha256 in content(folder, verb.made).items():
        whole = {reference.get(name), before.get(name)}
        if sha256 not in whole and reference.get(name) is not None and "/" not in name:
            return "half", name
    if verb.made[0] in ("o", "c") and (folder / verb.made[0]).exists() and early:
        return "early", ""
    code, said = begin(verb, (verb.again or verb.words)(folder)).end()
    if code != 0:
        if re.search("nothing is overwritten|is not empty|is there already", said):  # it had come to its end
            return ("early", "") if content(folder, verb.made) == reference else ("half", said[-500:])
        return "traceback" if "Traceback" in said else "other", f"run again: {said[-1500:]}"
    if left := [str(path) for path in folder.rglob("*.part")]:
        return "left", "; ".join(left)
    return _compared(content(folder, verb.made), reference, early=early)


def run(count: int, seed: int, only: str, first: int, gently: float) -> tuple[dict[str, Counter[str]], list[str]]:
    """Kill commands in turn, and return how many ended how, by verb, and what was found."""
    root = Path(tempfile.mkdtemp(prefix="unetkit-kills-"))
    os.environ |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    os.environ |= {"XDG_CONFIG_HOME": str(root / "config"), "XDG_CACHE_HOME": str(root / "cache")}
    for name in ("base", "config", "cache"):
        (root / name).mkdir()
    for name in ("unetkit.cli", "unetkit.training.train", "unetkit.reporting", "unetkit.exporting", "skimage.measure"):
        importlib.import_module(name)
    table, found, cluster = dict[str, Counter[str]](), list[str](), Cluster()
    chosen = {
        name: verb
        for name, verb in verbs(base_in(root / "base"), cluster).items()
        if only in name and (name != "data fetch" or ISBI.is_dir())
    }
    references = dict[str, tuple[dict[str, str], float]]()
    for number in range(first, first + count):
        name = list(chosen)[number % len(chosen)]
        verb, folder = chosen[name], root / "case"
        if name not in references:
            folder.mkdir()
            verb.prepare(folder)
            begun = time.monotonic()
            code, said = begin(verb, verb.words(folder)).end()
            assert code == 0, (name, said)
            references[name] = content(folder, verb.made), time.monotonic() - begun
            assert references[name][0], name
            shutil.rmtree(folder)
        folder.mkdir()
        draw = random.Random(f"{seed}-{number}")
        if verb.by_workers:
            outcome, said = kill_worker(verb, folder, *references[name], draw, cluster)
        else:
            outcome, said = kill(verb, folder, *references[name], draw, gently)
        table.setdefault(name, Counter()).update(("tried", outcome))
        print(f"kill {number}: {name}: {outcome}", file=sys.stderr, flush=True)
        if outcome not in ("same", "early"):
            found.append(f"{name}, kill {number}: {outcome}\n{said}")
            print(said, file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    cluster.stop()
    shutil.rmtree(root)
    return table, found


def main() -> None:
    """Print the table, and end with 1 where a kill did harm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="verbs with this in their names")
    parser.add_argument("--first", type=int, default=0, help="number of the first kill, to go on from")
    parser.add_argument("--gently", type=float, default=0.25, help="share of SIGTERM among the kills")
    given = parser.parse_args()
    table, found = run(given.count, given.seed, given.only, given.first, given.gently)
    print(f"{'verb':<24}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for name, counts in {**table, "all": sum(table.values(), Counter[str]())}.items():
        print(f"{name:<24}" + "".join(f"{counts[outcome]:>10}" for outcome in OUTCOMES))
    print(*found, sep="\n\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
