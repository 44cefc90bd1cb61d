"""Whether this working tree gives the same numbers as another commit, bit for bit, and how its speed compares.

    python benchmarks/same_numbers.py OLD_COMMIT [--no-times] [--rounds 5] [--rename OLD_WORD NEW_WORD]

Both versions run the same commands at the same time, each in a folder of its own and on one thread, and the files they
write are compared. Nothing is imported from unetkit, whose modules may have moved in between. The data is generated
and, where it is there, a little of the real data next to the repository. Exit code 0: all of it is the same.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import tifffile

from unetkit.config.schema import RENAMED as KEYS

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "data"

Values = dict[str, str]
# What the new version calls otherwise: keys, {"model.stem": "model.downscale"}, or whole words, {"a.b=old": "a.b=new"}.
RENAMED = KEYS | {
    "data.outside=mirror": "data.padding_mode=reflect",
    "predict.outside=mirror": "predict.padding_mode=reflect",
    "--faithful": "--bug-compatible",
}

# What has a default that may change between versions is named: the split, and the metric that chooses the best weights.
ONE = "train.threads=1 train.log_every=1"
FEW = f"{ONE} train.batch=2 train.validate_every=3 train.checkpoint_every=3 train.best_metric=mean_iou"
FOLDS = f"{FEW} data.split.method=shuffled"

# A line that names real data, ../NAME, is left out where that is not there.
COMMANDS = f"""
data sample --out small --slices 8 --size 96
train isbi --data sample --out isbi {FOLDS} train.steps=6 train.patch=64
train --extend isbi train.steps=10
evaluate isbi --data small --json evaluation.json
evaluate isbi --data small --metrics isbi --json isbi-evaluation.json
evaluate isbi --data small --calibrate --json calibrated-evaluation.json
predict isbi small/test-volume.tif --out masks.tif
predict isbi small/test-volume.tif --out tiles.tif --probabilities --tile 64 --overlap 8
predict isbi small/test-volume.tif --out memory.tif --probabilities predict.memory=0.002
predict isbi small/test-volume.tif --out resized.tif --probabilities predict.size=[80,112]
predict isbi small/test-volume.tif --out tta.tif --probabilities --tta
predict isbi small/test-volume.tif --out calibrated.tif --probabilities --calibrate
predict isbi small/test-volume.tif --out uncertainty.tif --uncertainty
predict isbi small/test-volume.tif --out objects.tif --objects
export isbi --to onnx --out isbi.onnx
evaluate isbi.onnx --data small --json onnx-evaluation.json
export isbi --to safetensors --out isbi.safetensors
train isbi-best --data small --out best {FOLDS} train.steps=3 train.patch=64 model.widths=[8,16,32]
predict best small/test-volume.tif --out closed-gaps.tif --probabilities
train paper-unet --data small --out paper {FOLDS} train.steps=3 train.patch=220 model.width=2
train mindspore-unet-medical --data small --out mindspore {FEW} data.split.method=mindspore train.steps=3 model.width=2
export mindspore --to mindspore-ckpt --out mindspore.ckpt
train tensorflow-unet-medical --data small --out tensorflow {ONE} data.split.method=none train.steps=2 model.width=2
train oneflow-unet --data small --out oneflow {ONE} data.split.method=none train.steps=2 train.patch=96 model.width=2
crossval isbi --data small --out folds --folds 2 {FOLDS} train.steps=3 train.patch=64
predict folds small/test-volume.tif --out ensemble.tif --probabilities
train isbi --data ../isbi --out real-isbi {FOLDS} train.steps=6
train nuclei --data ../nuclei --out nuclei {FEW} data.split.method=last train.steps=6 train.patch=96
evaluate nuclei --data ../nuclei --objects --json nuclei-evaluation.json
predict nuclei ../pictures --out found --objects
predict nuclei ../pictures --out nuclei-objects.json --objects
"""
TRAINING = f"train isbi --data sample {ONE} data.split.method=shuffled train.validate_every=null train.steps=30 --out"


class Side(NamedTuple):
    """One of the two versions: its code, the folder it runs in, and what it calls otherwise."""

    name: str
    checkout: Path
    folder: Path
    renamed: dict[str, str]

    def run(self, command: str) -> str:
        """Run a command; return what went wrong, or nothing."""
        words = command.split() + (["--threads", "1"] if command.startswith(("evaluate", "predict")) else [])
        parts = [self.renamed.get(word, word).partition("=") for word in words]
        done = self.python("-m", "unetkit", *(self.renamed.get(part[0], part[0]) + "".join(part[1:]) for part in parts))
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"{self.name} version, exit {done.returncode}: {message}" if done.returncode else ""

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run this interpreter with this side's code, on one thread: two may add a sum up in another order."""
        env = os.environ | {"PYTHONPATH": str(self.checkout / "src"), "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, *words], cwd=self.folder, env=env, capture_output=True, text=True)


def logged(path: Path, *, steps: bool) -> Values:
    """Read the steps of a log, their losses and learning rate, or its validations; without the seconds they took."""
    lines = [line for line in map(json.loads, path.read_bytes().splitlines()) if ("loss" in line) == steps]
    return {f"{key} at {line['step']}": repr(line[key]) for line in lines for key in line if "second" not in key}


def scores(path: Path) -> Values:
    """Read the scores as a whole and of every image, and how far the probabilities can be trusted."""
    document = json.loads(path.read_bytes())
    found = document["scores"] | {f"confidence.{key}": value for key, value in document.get("confidence", {}).items()}
    for image in document["images"]:
        found |= {f"{key} of {image['name']}": value for key, value in image["scores"].items()}
    return {key: repr(value) for key, value in found.items()}


def tensors(path: Path) -> Values:
    """Read type, shape and checksum of every tensor; what else a file notes about its network is left out."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    values = content[start:]
    return {n: f"{e['dtype']} {e['shape']} {checksum(values[slice(*e['data_offsets'])])}" for n, e in header.items()}


def pages(path: Path) -> Values:
    """Read type, shape and checksum of every page of a TIFF."""
    with tifffile.TiffFile(path) as file:
        arrays = [page.asarray() for page in file.pages]
    return {f"page {place}": f"{a.dtype} {a.shape} {checksum(a.tobytes())}" for place, a in enumerate(arrays)}


def graph(path: Path) -> Values:
    """Read ends, nodes and weights of an ONNX file. Notes are left out, and values are numbered: modules name them."""
    network = onnx.load(path).graph
    parts = {"ends": repr([[end.name for end in ends] for ends in (network.input, network.output)])}
    numbers: dict[str, str] = {}
    for place, node in enumerate(network.node):
        named = [[numbers.setdefault(name, str(len(numbers))) for name in ends] for ends in (node.input, node.output)]
        attributes = sorted(checksum(one.SerializeToString(deterministic=True)) for one in node.attribute)
        parts[f"node {place}"] = f"{node.domain} {node.op_type} {named} {attributes}"
    for weight in network.initializer:
        a = onnx.numpy_helper.to_array(weight)
        parts[f"weight {numbers.get(weight.name)}"] = f"{a.dtype} {a.shape} {checksum(a.tobytes())}"
    return parts


def checksum(content: bytes) -> str:
    """Return a short SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


class Kind(NamedTuple):
    """Numbers of one kind: what they are called, which files hold them, what reads them, must both sides have all."""

    noun: str
    pattern: str
    read: Callable[[Path], Values]
    strict: bool = True

    def values(self, made: Path) -> Values:
        """Read what a file, or all files of a folder, hold of this kind."""
        below = sorted(made.rglob("*")) if made.is_dir() else [made]
        files = [path for path in below if path.match(self.pattern)]
        return {f"{path.relative_to(made)} {name}": value for path in files for name, value in self.read(path).items()}


KINDS = (
    Kind("losses and rates", "log.jsonl", lambda path: logged(path, steps=True)),
    # Which scores are computed without being asked for may differ: what one side has alone is counted and listed.
    Kind("validation scores", "log.jsonl", lambda path: logged(path, steps=False), strict=False),
    Kind("tensors", "*.safetensors", tensors),
    Kind("scores", "*evaluation.json", scores, strict=False),
    Kind("pages", "*.tif", pages),
    Kind("objects", "*objects.json", lambda p: {str(o): str(o) for o in json.loads(p.read_bytes())["annotations"]}),
    Kind("parts of the graph", "*.onnx", graph),
    Kind("file", "*.ckpt", lambda path: {"content": checksum(path.read_bytes())}),
)


def check(sides: tuple[Side, Side], command: str) -> tuple[list[str], list[str]]:
    """Run a command on both sides and print a line; return what differs, and the scores that only one version has."""
    option, made = re.findall(r"--(json|out|extend) (\S+)", command)[-1]
    title = f"{'extend' if option == 'extend' else command.split()[0]} {made}"
    with ThreadPoolExecutor(2) as pool:
        wrong = [failure for failure in pool.map(lambda side: side.run(command), sides) if failure]
    texts, alone = [], []
    for kind in KINDS if not wrong else ():
        old, new = (kind.values(side.folder / made) for side in sides)
        if old or new:
            text, differences, names = compare(kind, old, new)
            texts, wrong, alone = [*texts, text], wrong + differences, alone + names
    if not texts and not wrong:
        wrong = ["nothing was written that can be compared"]
    print(f"{title}: {'; '.join(texts) or 'not compared'}{' - DIFFERENT' if wrong else ''}", flush=True)
    return [f"{title}: {one}" for one in (wrong if len(wrong) < 6 else [*wrong[:5], f"{len(wrong) - 5} more"])], alone


def compare(kind: Kind, old: Values, new: Values) -> tuple[str, list[str], list[str]]:
    """Return how many are the same, in words, what differs, and what one version may have alone."""
    both = [name for name in old if name in new]
    wrong = [f"{name}: {old[name]} -> {new[name]}" for name in both if old[name] != new[name]]
    text = f"{len(both) - len(wrong)} {kind.noun} the same"
    lost, gained = ([name for name in one if name not in other] for one, other in ((old, new), (new, old)))
    alone = [f"only in the {side} version: {n}" for side, names in (("old", lost), ("new", gained)) for n in names]
    if both and not kind.strict:
        text += f" ({len(lost)} only in the old version, {len(gained)} only in the new)" if alone else ""
        return text, wrong, alone
    if kind.strict and alone and sorted(old[name] for name in lost) == sorted(new[name] for name in gained):
        return f"{text}, {len(lost)} more under another name", wrong, []
    return text, wrong + alone, []


def lay_out_real_data(folder: Path) -> None:
    """Write a few images of the real data that is there to the folder."""
    for stack in (REAL / "isbi2012").glob("train-*.tif"):
        (folder / "isbi").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "isbi" / stack.name, tifffile.imread(stack, key=range(10)), photometric="minisblack")
    archive = REAL / "dsb2018" / "stage1_train.zip"
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            ids = tuple(sorted({name.split("/")[0] for name in packed.namelist()})[:12])
            packed.extractall(folder / "nuclei", [name for name in packed.namelist() if name.startswith(ids)])
        (folder / "pictures").symlink_to(folder / "nuclei" / ids[0] / "images")


def measure(sides: tuple[Side, Side], rounds: int) -> None:
    """Time both sides in turn; print the medians, and the ratio with its lowest and highest of all rounds."""
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)
    tifffile.imwrite(sides[0].folder.parent / "large.tif", noise)
    taken = [{s.name: times(s, f"round-{n}") for s in (sides[::-1] if n % 2 else sides)} for n in range(rounds)]
    print(f"\nmedian of {rounds} rounds, old -> new; the median ratio new/old, its lowest and highest")
    for what in taken[0]["old"]:
        old, new = ([both[name][what] for both in taken] for name in ("old", "new"))
        ratios = [after / before for before, after in zip(old, new, strict=True)]
        spread = f"{np.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{what}: {np.median(old):.4g} -> {np.median(new):.4g}; {spread}")


def times(side: Side, label: str) -> dict[str, float]:
    """Measure one side once, every command whole and the training's steps by its log."""

    def seconds(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        failure = call()
        assert not failure, failure
        return time.perf_counter() - started

    found = {
        "seconds of import unetkit": seconds(lambda: side.python("-c", "import unetkit").returncode),
        "seconds of unetkit --help": seconds(lambda: side.run("--help")),
        "seconds of 30 steps, the whole command": seconds(lambda: side.run(f"{TRAINING} {label}")),
    }
    lines = map(json.loads, (side.folder / label / "log.jsonl").read_bytes().splitlines())
    steps = [line["train_seconds"] for line in lines if "loss" in line]
    found["seconds of a step"] = (steps[-1] - steps[9]) / (len(steps) - 10)  # the first ones are slower
    prediction = seconds(lambda: side.run(f"predict isbi ../large.tif --out {label}.tif"))
    return found | {"pixels predicted a second, the whole command": 1024 * 1024 / prediction}


def compare_all(sides: tuple[Side, Side], rounds: int) -> int:
    """Compare the versions by every command, time them, and return the exit code."""
    for side in sides:
        side.folder.mkdir()
        found = side.python("-c", "import unetkit; print(unetkit.__file__)").stdout
        assert found.startswith(f"{side.checkout}/"), f"of the {side.name} version {found or 'nothing'} would run"
    lay_out_real_data(sides[0].folder.parent)
    given = [name for name in COMMANDS.split() if name.startswith("../") and (sides[0].folder / name).exists()]
    commands = [line for line in COMMANDS.strip().splitlines() if "../" not in line or any(n in line for n in given)]
    results = [check(sides, command) for command in commands]
    if rounds:
        measure(sides, rounds)
    differences = [one for wrong, _ in results for one in wrong]
    alone = {re.sub(r"(?<=version: )\S+ | (at|of) .*", "", name) for _, names in results for name in names}
    print("", *sorted(alone), *differences, sep="\n")
    print("different" if differences else "same")
    return 1 if differences else 0


def main() -> int:
    """Hold the old commit's files in a worktree while the versions are compared; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", metavar="OLD_COMMIT")
    parser.add_argument("--rounds", type=int, default=5, help="of timing")
    parser.add_argument("--no-times", dest="rounds", action="store_const", const=0, help="leave the speed out")
    parser.add_argument("--rename", nargs=2, action="append", default=[], metavar="WORD", help="one more for RENAMED")
    options = parser.parse_args()
    git = ["git", "-C", ROOT, "worktree"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        subprocess.run([*git, "add", "--quiet", "--detach", folder / "checkout", options.commit], check=True)
        try:
            old = Side("old", folder / "checkout", folder / "old", {})
            new = Side("new", ROOT, folder / "new", RENAMED | dict(options.rename))
            return compare_all((old, new), options.rounds)
        finally:
            subprocess.run([*git, "remove", "--force", folder / "checkout"], check=True)


if __name__ == "__main__":
    sys.exit(main())
