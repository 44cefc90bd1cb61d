"""Measure how long unetkit's isbi preset and MONAI's BasicUNet train until they reach the older systems' soft Dice.

    python benchmarks/time_to_dice.py --data DIR [--peer-tuned] [--append-record]
    python benchmarks/time_to_dice.py --data DIR --quick     # does it work? one seed, a short training

The peer is installed by `make bench`, or by hand with `pip install --no-deps monai`; without --no-deps pip may put
another build of torch in the place of the one that is there.

Both sides train in one process, one after the other and seed by seed, on the same patches with the same augmentation
(`TrainStep.batch`), the same number of steps and the same learning rates, and `score_predictor` scores both
on the slices held out. The peer is BasicUNet as MONAI makes it (instance norm, leaky ReLU), in float32 and contiguous
memory, moved by AdamW at the best of several rates: the one that reaches the first goal soonest with seed 0.
`--peer-tuned` adds a third side: the same network given the preset's number format, layout and weight average, so
that what the recipe gives can be told from what the network gives.

Seconds count the training steps alone, the making of their batches included. Imports, reading and validation stand
beside them. A goal counts as reached at the first validation that shows it: every 20 steps until the second goal is
reached, every 100 after it. The first goal is the older systems' score, and they resize images and labels to 388 x 388
before the network: `at 388` are the time to that goal and the final score by their protocol. `cores` is processor
seconds per second of training: below the number of cores, something else was running, and the times say too much.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from measure import append_record, circumstances, import_seconds, spread
from sides import Side, Track, ours, peer
from unetkit.config import load_config
from unetkit.devices import choose_device, cpu_threads
from unetkit.errors import UnetkitError
from unetkit.evaluation.score import score_predictor
from unetkit.metrics import Metrics
from unetkit.models import count_parameters
from unetkit.training.patches import PixelStore
from unetkit.training.prepare import prepare

METRIC = "soft_dice_two_class"
RESIZED = f"{METRIC}_388"
METRICS = Metrics(("overlap", "legacy"), legacy_size=(388, 388))
GOALS = (0.9111, 0.92, 0.93)
FINE, COARSE = 20, 100
PEER_RATES = (3e-3, 1e-3, 1e-2)
QUICK = {"seeds": 1, "peer_lrs": 1, "steps": 80}


@dataclass(frozen=True, slots=True)
class Point:
    """A validation: after how many steps and seconds of training, its value, and that at 388 x 388."""

    step: int
    seconds: float
    value: float
    resized: float


@dataclass(frozen=True, slots=True)
class Result:
    """How a race went."""

    side: str
    seed: int
    parameters: int
    points: tuple[Point, ...]
    cpu_seconds: float
    validation_seconds: float

    def time_to(self, goal: float, *, resized: bool = False) -> float:
        """Return the seconds of training at the first validation that reached the goal; infinity where none did."""
        reached = (point.seconds for point in self.points if (point.resized if resized else point.value) >= goal)
        return next(reached, math.inf)

    def row(self) -> str:
        """Return one line of the table."""
        last = self.points[-1]
        times = " ".join(f"{self.time_to(goal, resized=resized):8.1f}" for goal, resized in _ASKED)
        pace, cores = 1000 * last.seconds / last.step, self.cpu_seconds / last.seconds
        return (
            f"{self.side:28} {self.seed:4} {times} {last.value:7.4f} {last.resized:7.4f} {last.step:6} "
            f"{last.seconds:8.1f} {pace:8.1f} {cores:5.2f} {self.validation_seconds:10.1f}"
        )


_ASKED = (*((goal, False) for goal in GOALS), (GOALS[0], True))
HEADER = (
    f"{'seconds of training to:':28} seed {' '.join(f'{goal:8}' for goal in GOALS)} {'at 388':>8} "
    f"{'final':>7} {'at 388':>7} {'steps':>6} {'seconds':>8} {'ms/step':>8} cores validation"
)


def race(track: Track, side: Side, seed: int, *, until: float = math.inf) -> Result:
    """Train a side to its last step, or to the validation that reaches `until`, and print its row."""
    points: list[Point] = []
    step, trained, worked, validated = 0, 0.0, 0.0, 0.0
    predictor = track.predictor(side)
    while step < track.steps and not _reached(points, until):
        every = COARSE if _reached(points, GOALS[1]) else FINE
        stop = min(track.steps, step - step % every + every)
        started, busy = time.perf_counter(), time.process_time()
        losses = [side.step(number) for number in range(step, stop)]
        losses[-1].item()  # on CUDA only reading waits for the work
        trained, worked = trained + time.perf_counter() - started, worked + time.process_time() - busy
        started, step = time.perf_counter(), stop
        side.network.eval()
        held_out = track.prepared.split.validation
        scores = score_predictor(predictor, track.prepared.dataset, indices=held_out, metrics=METRICS).scores
        points.append(Point(step, trained, scores[METRIC], scores[RESIZED]))
        validated += time.perf_counter() - started
    result = Result(side.name, seed, count_parameters(side.network), tuple(points), worked, validated)
    print(result.row(), flush=True)
    return result


def _reached(points: Sequence[Point], goal: float) -> bool:
    return any(point.value >= goal for point in points)


def choose_rate(track: Track, rates: Sequence[float], *, tuned: bool) -> float:
    """Return the rate at which the peer reaches the first goal soonest with seed 0; all rates are tried."""
    if len(rates) == 1:
        return rates[0]
    courses = {rate: race(track, peer(track, 0, rate=rate, tuned=tuned), 0, until=GOALS[0]) for rate in rates}
    return min(rates, key=lambda rate: (courses[rate].time_to(GOALS[0]), -courses[rate].points[-1].value))


def summary(courses: Sequence[Result]) -> Iterator[str]:
    """Yield every side's final score, then its time to each goal, and how many times ours that is, seed by seed."""
    names = list(dict.fromkeys(course.side for course in courses))
    runs = {name: [course for course in courses if course.side == name] for name in names}
    for name in names:
        values, small = zip(
            *((course.points[-1].value, course.points[-1].resized) for course in runs[name]), strict=True
        )
        final = f"final {METRIC} {spread(values, 4)}, at 388 x 388 {spread(small, 4)}"
        yield f"{name}: {runs[name][0].parameters:,} weights, {final}"
    for goal, resized in _ASKED:
        said = f"{goal} at 388 x 388" if resized else str(goal)
        first = [course.time_to(goal, resized=resized) for course in runs[names[0]]]
        for name in names:
            seconds = [course.time_to(goal, resized=resized) for course in runs[name]]
            reached = sum(map(math.isfinite, seconds))
            if reached < len(seconds):
                yield f"{said}: {name}: reached with {reached} of {len(seconds)} seeds"
            elif name == names[0] or not all(map(math.isfinite, first)):
                yield f"{said}: {name}: {spread(seconds)} s"
            else:
                ratios = [theirs / own for theirs, own in zip(seconds, first, strict=True)]
                yield f"{said}: {name}: {spread(seconds)} s, {spread(ratios)} times {names[0]}"


def measure(track: Track, *, seeds: int, rates: Sequence[float], forms: Sequence[bool]) -> list[Result]:
    """Race all sides, in turn, with every seed.

    Args:
        track: what they have in common.
        seeds: how many, from 0.
        rates: the peer's learning rates; the best is chosen first, with seed 0.
        forms: of the peer: False as MONAI makes it, True tuned.
    """
    if len(rates) > 1:
        print(f"the peer's rates, until {GOALS[0]}\n{HEADER}", flush=True)
    chosen = {tuned: choose_rate(track, rates, tuned=tuned) for tuned in forms}
    sides = [ours, *(partial(peer, rate=rate, tuned=tuned) for tuned, rate in chosen.items())]
    print(f"the race, in this order\n{HEADER}", flush=True)
    return [race(track, start(track, seed), seed) for seed in range(seeds) for start in sides]


def main() -> None:
    """Measure, print, and keep what was asked to be kept."""
    options = _options()
    device = choose_device(options.device)
    around = circumstances(["monai"], device)
    imports = {
        "unetkit": import_seconds("unetkit.training.train"),
        "peer": import_seconds("torch", "monai.networks.nets"),
    }
    started = time.perf_counter()
    steps = [f"train.steps={options.steps}"] if options.steps else []
    prepared = prepare(load_config("isbi", [f"data.path={json.dumps(str(options.data))}", *steps]))
    store = PixelStore.of(prepared.training, prepared.normalization, device)
    reading = time.perf_counter() - started
    rates, forms = PEER_RATES[: options.peer_lrs], (False, True) if options.peer_tuned else (False,)
    with cpu_threads(prepared.config.train.threads) as threads:
        courses = measure(Track(prepared, store, device), seeds=options.seeds, rates=rates, forms=forms)
    beside = f"{threads} threads; reading {reading:.1f} s; imports: " + ", ".join(
        f"{name} {seconds:.1f} s" for name, seconds in imports.items()
    )
    beside += f"; the peer's rates tried: {', '.join(f'{rate:g}' for rate in rates)}"
    lines = [*summary(courses), beside]
    print("\n".join(lines))
    if options.json:
        told = {"circumstances": asdict(around), "reading_seconds": reading, "import_seconds": imports}
        options.json.write_text(json.dumps(told | {"courses": [asdict(course) for course in courses]}, indent=2) + "\n")
    if options.append_record:
        append_record("time_to_dice", around, [HEADER, *(course.row() for course in courses), *lines])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="isbi preset against MONAI's BasicUNet: seconds to a soft Dice")
    parser.add_argument("--data", type=Path, default=Path("data/isbi2012"), help="folder of the ISBI-2012 files")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each side")
    parser.add_argument("--peer-lrs", type=int, default=len(PEER_RATES), help=f"how many rates of {PEER_RATES} to try")
    parser.add_argument("--peer-tuned", action="store_true", help="also race the peer with the preset's recipe")
    parser.add_argument("--steps", type=int, help="of every training, instead of the preset's")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--append-record", action="store_true", help="add the result to benchmarks/RECORDS.md")
    parser.add_argument("--quick", action="store_true", help="one seed, one rate and few steps: does it work?")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


if __name__ == "__main__":
    try:
        main()
    except UnetkitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
