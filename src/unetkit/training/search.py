"""The verb `search`: trainings whose settings Optuna chooses, each an ordinary run, and what is learned of them.

    FOLDER/
      search.json           the configuration, the ranges, how many trials
      journal.log           Optuna's own account of the trials
      trial-000/ ...        their runs
      best.yaml             the configuration of the best one, for `unetkit train`
      trials.json           what became of every trial, and how much each key matters
      report.html           all of it on one page

Trials are compared by the best validation of `train.best_metric`; one that at a validation is worse than the median of
the others at that step is pruned. The test set is not scored: the training that follows does that, once. A search that
was ended in whatever way goes on from its folder. Assumes one process at a time.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetkit.config import Config, ConfigSource, annotated_yaml, load_config
from unetkit.config.text import parse, write_inline
from unetkit.configuring import asks_for_split, data_override
from unetkit.devices import choose_device, choose_precision
from unetkit.distributed import launched_world
from unetkit.errors import ConfigError, DataError, DivergedError, InterruptedRun, RunFolderError, UsageError
from unetkit.evaluation.crossval import is_begun
from unetkit.formats.runtime import required
from unetkit.metrics import definition_of
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.search import BEST, Search, Trial, write_page
from unetkit.reporting.trackers import require_trackers
from unetkit.run import Record, alone_in, open_run
from unetkit.storage import is_remote, url_of
from unetkit.storage.atomic import atomic_write, is_taken, make_folder, write_json
from unetkit.training.prepare import absolute_data_path, prepare
from unetkit.training.train import resume, train

if TYPE_CHECKING:
    import optuna

_SEARCH, _TRIALS = "search.json", "trials.json"
_FEWEST = 8
"""Finished trials from which on the importance of keys is told."""

_STARTUP = 5
"""Trials that are drawn at random and never pruned."""

_FIXED = (
    *("data.path", "data.images", "data.labels", "data.roi", "data.test", "data.unlabelled", "data.classes"),
    *("data.mask_", "data.ignore_value", "data.split", "data.check", "train.best_metric", "train.metrics"),
    *("train.seed", "train.device", "train.threads", "train.memory", "train.track", "train.log"),
)
"""How keys begin that decide which images are scored and by what, or that are no settings of a network."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Over:
    """What is searched over: the values of one key.

    Attributes:
        key: of the configuration.
        choices: the values, as YAML; empty for a range.
        low: the lowest of a range.
        high: the highest.
        whole: a range of whole numbers.
        log: a range of magnitudes: each factor is as likely, not each difference.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    @property
    def words(self) -> str:
        """What is drawn, for people."""
        if self.choices:
            return f"{self.key}: one of {', '.join(self.choices)}"
        kind = "whole numbers " if self.whole else ""
        return f"{self.key}: {kind}{self.low:g} to {self.high:g}{', by magnitude (log-uniform)' if self.log else ''}"

    def suggest(self, trial: "optuna.Trial") -> str:
        """Return a value that Optuna chooses, as YAML."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        drawn = float(f"{trial.suggest_float(self.key, self.low, self.high, log=self.log):.4g}")  # for people to read
        return write_inline(min(max(drawn, self.low), self.high))


def read_over(text: str, config: Config) -> Over:
    """Read `KEY=LOW..HIGH` or `KEY=A,B,C`, and try out the ends or every choice.

    Raises:
        ConfigError: it has another form, the key does not exist, or cannot have such a value.
        UsageError: trials with other values of the key could not be compared.
    """
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise ConfigError(f"--over {text}: write KEY=LOW..HIGH or KEY=A,B,C, such as optimizer.lr=1e-3..1e-1")
    if key.startswith(_FIXED):
        raise UsageError(f"--over {key}: trials must have it in common, so that their scores can be compared")
    if (found := _RANGE.fullmatch(values)) is None:
        plain = parse(f"[{values}]", f"--over {text}")
        choices = tuple(dict.fromkeys(write_inline(value) for value in plain))
        if len(choices) < 2:
            raise ConfigError(f"--over {text}: is one value; write {text} without --over, or several: {text},...")
        for choice in choices:
            load_config(config, [f"{key}={choice}"])
        return Over(key, choices)
    low, high = map(float, found.groups())
    for end in found.groups():
        load_config(config, [f"{key}={end}"])
    if low >= high:
        raise ConfigError(f"--over {text}: the range is empty; write the lower end first")
    try:
        load_config(config, [f"{key}={low + (high - low) / 3.7}"])
        whole = False
    except ConfigError:
        whole = low.is_integer() and high.is_integer()
    return Over(key, (), low, high, whole, log=low > 0 and high / low >= 10)


def search(
    source: ConfigSource,
    *,
    over: Sequence[str],
    out: str | Path,
    data: str | Path | None = None,
    trials: int = 30,
    overrides: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Search:
    """Train with many settings, chosen by Optuna by what came of the ones before, and say which are best.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config: what all trials have in common.
        over: what differs: `KEY=LOW..HIGH`, by magnitude where both are positive and HIGH is ten times LOW or more, or
            `KEY=A,B,C`.
        out: the folder to make.
        data: the data set, in place of `data.path`.
        trials: how many trainings.
        overrides: `key=value` texts that go before the configuration.
        seed: of the choices; each training has its own `train.seed`.
        progress: follows the work.

    Raises:
        UsageError, ConfigError, DataError: it cannot start; nothing was written.
        InterruptedRun: a signal ended it; `resume_search` goes on.

    Example:
        >>> unetkit.search("isbi", data="sample", over=["optimizer.lr=1e-3..1e-1"], out="runs/search", trials=10)
    """
    required("optuna", "search")
    if is_remote(out):
        raise UsageError(f"{url_of(out)}: a search is made on this machine; send its folder when finished")
    if launched_world().size > 1:
        raise UsageError("a search trains in one process; start it without torchrun")
    out, progress = Path(out), progress or NoProgress()
    _require_free(out)
    config = load_config(source, [*overrides, *data_override(data)])
    ranges = _ranges(over, config)
    clash = {one.key for one in ranges} & {word.partition("=")[0].strip() for word in overrides}
    if clash:
        raise UsageError(f"{', '.join(sorted(clash))}: is searched over and given, too; leave out one")
    require_trackers(config.train.track)
    choose_precision(config.train.precision, choose_device(config.train.device))
    config = _divided(config, progress, own_split=not asks_for_split(source, overrides))
    content = {"config": config.model_dump(mode="json"), "over": list(over), "trials": trials, "seed": seed}
    make_folder(out)
    with alone_in(out, "searching"):
        _require_free(out)  # another process may have been faster
        write_json(out / _SEARCH, content)
        return _carried_out(out, config, ranges, trials, seed, progress)


def _require_free(out: Path) -> None:
    if is_taken(out, but=(".lock", f".{_SEARCH}.")):
        raise RunFolderError(f"{out}: is not an empty folder; go on with a search by --resume {out}, or choose another")


def _divided(config: Config, progress: Progress, *, own_split: bool) -> Config:
    """Try the data out, and return the configuration with its place and how it is divided.

    Raises:
        UsageError, ConfigError, DataError: it cannot be trained on, or nothing is held out.
    """
    prepared = prepare(config, own_split=own_split, searching=True)
    if not prepared.split.validation:
        raise UsageError("nothing is held out (data.split.method: none), by which trials could be compared")
    for note in prepared.notes:
        progress.log(note)
    found = {"path": absolute_data_path(str(config.data.path)), "split": prepared.config.data.split}
    return config.model_copy(update={"data": config.data.model_copy(update=found)})


def resume_search(path: str | Path, *, trials: int | None = None, progress: Progress | None = None) -> Search:
    """Go on with a search where it stopped, or with more trials than it was asked for.

    Args:
        path: its folder.
        trials: how many there shall be in all; None: as many as it was asked for.
        progress: follows the work.

    Raises:
        RunFolderError: not the folder of a search, or another process is at work in it.
        UsageError, DataError, InterruptedRun: as `search`.

    Example:
        >>> unetkit.resume_search("runs/search", trials=60).best
    """
    required("optuna", "search")
    path, progress = Path(path), progress or NoProgress()
    try:
        known: dict[str, Any] = json.loads((path / _SEARCH).read_text(encoding="utf-8"))
        config = load_config(known["config"], stored=True)
        over, total, seed = [str(text) for text in known["over"]], int(trials or known["trials"]), int(known["seed"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise RunFolderError(f"{path}: not the folder of a search ({_SEARCH}); expected what --out named") from None
    with alone_in(path, "searching"):
        return _carried_out(path, config, _ranges(over, config), total, seed, progress)


def _carried_out(
    path: Path, config: Config, ranges: Sequence[Over], total: int, seed: int, progress: Progress
) -> Search:
    """Take the trials that are left, and write what has been found.

    Raises:
        UsageError: none came to its end.
    """
    for one in ranges:
        progress.log(f"note: {one.words}")
    study = _study(path, config, seed)
    try:
        _take_trials(study, path, config, ranges, total, progress)
    finally:
        found = _finished(study, path, config, ranges)
    if found.best is None:
        why = next((one.reason for one in found.trials if one.reason), "none was begun")
        raise UsageError(f"{path}: none of {len(found.trials)} trials came to its end: {why}")
    return found


def _ranges(over: Sequence[str], config: Config) -> list[Over]:
    """Read what is searched over.

    Raises:
        UsageError, ConfigError: nothing, a key twice, or as `read_over`.
    """
    if not over:
        raise UsageError("nothing to search over; add --over optimizer.lr=1e-3..1e-1, or --over model.width=16,32")
    ranges = [read_over(text, config) for text in over]
    keys = [one.key for one in ranges]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise UsageError(f"--over {twice.pop()}: stands there twice; write its values in one")
    return ranges


def _study(path: Path, config: Config, seed: int) -> "optuna.Study":
    """Open Optuna's study in the folder; what was at work when it ended is put in front of the queue."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = str(path / "journal.log")
    better = definition_of(config.train.best_metric).better
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file))),
        study_name="unetkit",
        direction="maximize" if better == "higher" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
        load_if_exists=True,
    )
    # Another seed for what is drawn after a stop, else the first draws would come again.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=_STARTUP)
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            folder = trial.user_attrs.get("folder", _folder(study, trial.number))
            study.enqueue_trial(trial.params, user_attrs={"folder": folder, "instead": trial.number})
    return study


def _folder(study: "optuna.Study", number: int) -> str:
    return f"trial-{number - len(_replaced(study)):03}"  # a trial that goes on has a second number in the study


def _replaced(study: "optuna.Study") -> set[int]:
    """Return the numbers of trials that were stopped and go on under another number."""
    return {int(trial.user_attrs["instead"]) for trial in study.trials if "instead" in trial.user_attrs}


def _take_trials(
    study: "optuna.Study", path: Path, config: Config, ranges: Sequence[Over], total: int, progress: Progress
) -> None:
    """Train until there are as many trials as asked for."""
    import optuna

    state = optuna.trial.TrialState
    while (done := sum(one.state.is_finished() for one in study.trials) - len(_replaced(study))) < total:
        trial = study.ask()
        if "folder" not in trial.user_attrs:
            trial.set_user_attr("folder", _folder(study, trial.number))
        folder, values = str(trial.user_attrs["folder"]), {one.key: one.suggest(trial) for one in ranges}
        trial.set_user_attr("values", values)
        said = "  ".join(f"{key}={value}" for key, value in values.items())
        try:
            score = _train(trial, path / folder, config, values, _TrialProgress(progress, folder, done, total))
        except optuna.TrialPruned:
            study.tell(trial, state=state.PRUNED)
            reported = study.trials[trial.number].intermediate_values
            progress.log(f"{folder}  pruned at step {max(reported)}  {said}")
        except (DivergedError, ConfigError, DataError) as error:  # of these values; others are tried all the same
            trial.set_user_attr("reason", " ".join(str(error).split()))
            study.tell(trial, state=state.FAIL)
            progress.log(f"{folder}  failed: {error}  {said}")
        except InterruptedRun as error:
            raise InterruptedRun(
                f"stopped in {folder}, nothing is lost; go on with: unetkit search --resume {path}", error.signal_number
            ) from None
        else:
            study.tell(trial, score)
            mark = "  the best so far" if study.best_trial.number == trial.number else ""
            progress.log(f"{folder}  {config.train.best_metric} {score:.4f}  {said}{mark}")
        progress.update(done + 1, total, {})


def _train(trial: "optuna.Trial", path: Path, config: Config, values: Mapping[str, str], progress: Progress) -> float:
    """Train one trial from where it stands, and return its best validation."""
    import optuna

    metric, seen = config.train.best_metric, set[int]()

    def follow(record: Record) -> None:
        value, step = record.get(metric), record["step"]
        if "validation_seconds" in record and step not in seen and value is not None and isfinite(value):
            seen.add(step)
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

    if is_begun(path):
        for record in open_run(path).read_log():
            follow(record)
        run = resume(path, follow=follow, test=False, progress=progress)
    else:
        chosen = load_config(config, [f"{key}={value}" for key, value in values.items()])
        run = train(chosen, out=path, follow=follow, test=False, progress=progress)
    summary: dict[str, Any] = run.read_json("summary.json") or {}
    best: dict[str, float] | None = summary.get("best")
    if best is None or not isfinite(best["value"]):
        raise DivergedError(f"no validation has a value of {metric}")
    return best["value"]


@dataclass(frozen=True, slots=True)
class _TrialProgress:
    """The progress of a training within that of the search: warnings, and the state next to the trial's name."""

    whole: Progress
    name: str
    done: int
    total: int

    def log(self, text: str) -> None:
        if text.startswith("warning:"):
            self.whole.log(f"{self.name}  {text}")

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        self.whole.update(self.done, self.total, {self.name: f"step {done}/{total}", **figures})


def _finished(study: "optuna.Study", path: Path, config: Config, ranges: Sequence[Over]) -> Search:
    """Write what has been found so far, and return it."""
    import optuna

    state = optuna.trial.TrialState
    states = {state.COMPLETE: "finished", state.PRUNED: "pruned", state.FAIL: "failed", state.RUNNING: "stopped"}
    replaced, trials = _replaced(study), list[Trial]()
    for one in study.trials:
        if one.state not in states or one.number in replaced:
            continue
        seen = one.intermediate_values
        score = one.value if one.value is not None else seen[max(seen)] if seen else None
        told: dict[str, Any] = one.user_attrs
        folder, values = told.get("folder", _folder(study, one.number)), told.get("values", {})
        trials.append(Trial(folder, states[one.state], score, max(seen, default=0), values, told.get("reason", "")))
    metric = config.train.best_metric
    logarithmic = tuple(one.key for one in ranges if one.log)
    found = Search(path, metric, tuple(trials), tuple(one.words for one in ranges), logarithmic, _importances(study))
    if (best := found.best) is not None:
        chosen = load_config(config, [f"{key}={value}" for key, value in best.values.items()])
        remarks = dict.fromkeys(best.values, f"chosen by {metric} on the held-out images, of {len(trials)} trials")
        atomic_write(path / BEST, annotated_yaml(chosen, remarks))
    write_json(path / _TRIALS, found.as_json())
    write_page(found, config)
    return found


def _importances(study: "optuna.Study") -> dict[str, float]:
    """Return the share of each key in how far the best trials differ from the others; empty for few trials."""
    import optuna

    complete = [one for one in study.trials if one.state == optuna.trial.TrialState.COMPLETE]
    if len(complete) < _FEWEST or len({one.value for one in complete}) < _FEWEST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the measure is new
        return optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
