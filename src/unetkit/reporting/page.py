"""The pages of a run and of a cross-validation: one HTML file with everything in it, fit to be printed.

Puts together what the other files of this room draw: `templates/run.html` and `templates/crossval.html` say in which
order. Of files `page` writes the pictures of the worst and best images alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup

from unetkit.data import Dataset
from unetkit.evaluation.crossval import Folder, OutOfFold, read_objects, read_predictions, spreads, train_seconds
from unetkit.evaluation.score import Evaluation, objects_of
from unetkit.metrics import definition_of
from unetkit.models import decide
from unetkit.reporting import tables
from unetkit.reporting.history import History, best_validation, extremes, image_score, ranking_metric
from unetkit.reporting.html import Content, Facts, Picture, Table, breakable, render
from unetkit.reporting.pictures import (
    Example,
    error_names,
    error_shares,
    legend,
    panel,
    png,
    scale_note,
    stretch_note,
    tiles,
)
from unetkit.reporting.plots import dots, ranking_curves, reliability_diagram
from unetkit.reporting.text import shown
from unetkit.run import OWN_FUNCTIONS, Record, Run
from unetkit.storage.atomic import atomic_write, make_folder, written_to

LoadExample = Callable[[str], Example]
"""Gives the image of a name with its truth and what the network predicts."""
_MOST_COLOURS = 24


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One of the worst or best images as the page shows it.

    Attributes:
        name: of the image.
        place: such as "worst" or "2nd best".
        metric: the score that ranks.
        value: of that score.
        tiles: image, truth, prediction and what else there is.
        facts: what is said next to them.
    """

    name: str
    place: str
    metric: str
    value: float
    tiles: Sequence[Picture]
    facts: Facts

    @property
    def title(self) -> str:
        """The place as a heading."""
        return self.place.capitalize()

    @property
    def errors(self) -> Picture:
        """The picture of the errors, or the last one there is."""
        return next((tile for tile in self.tiles if "rror" in tile.title), self.tiles[-1])

    @property
    def caption(self) -> Content:
        """What the picture in the summary shows."""
        words = "{}, the {} held-out image by {}: {}."
        return Markup(words).format(self.name, self.place, breakable(self.metric), self.errors.title)


@dataclass(frozen=True, slots=True)
class Key:
    """What the colours of the pictures mean; `more` colours are left out."""

    colours: Sequence[tuple[tuple[int, int, int], str]]
    more: int
    words: str


@dataclass(frozen=True, slots=True)
class Deciding:
    """A number that decides whether a network is good enough, and what it means."""

    name: Content
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Scores:
    """The tables of an evaluation; `chosen_by` is the score that chose the weights, None where nothing did."""

    whole: Table
    objects: Table | None
    images: Table
    notes: Sequence[str]
    chosen_by: str | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """Drawn curves, such as those of a training, and what they show."""

    picture: Picture
    caption: Content


@dataclass(frozen=True, slots=True)
class ReliabilityPart:
    """How far probabilities can be trusted, in numbers and as a diagram."""

    facts: Facts
    diagram: Picture
    caption: str


def page(
    run: Run,
    history: History,
    evaluation: Evaluation | None,
    *,
    curves_svg: bytes | None,
    figures: Sequence[ShownImage],
    extra: Mapping[str, str],
    test: Evaluation | None = None,
) -> str:
    """Return the page of a run: of its folder and its log, and of the scores of its weights where there are any.

    `curves_svg` is None where the log holds no steps; `extra` are further lines for the list at the top.
    """
    metric = run.config.train.best_metric
    scores, key, cards, curves = None, None, None, None
    if evaluation is not None:
        chosen_by = metric if run.best.is_file() else None
        scores = scores_part(evaluation, metric, chosen_by=chosen_by)
        objects = evaluation.object_counts is not None
        key = key_of(evaluation.classes, borders=run.config.data.border_width > 0, objects=objects)
        cards = tables.definition_cards(list(evaluation.scores), evaluation.classes)
    if curves_svg is not None:
        chosen = Markup("c, d: scores of the held-out images; the circle marks the best {}.").format(breakable(metric))
        caption = f"a: the loss, the mean over {run.config.train.log_every} steps. b: the learning rate. "
        drawn = Picture(curves_svg, "loss, learning rate and validation scores")
        curves = Curves(drawn, caption + (chosen if history.validations else "No validation was made."))
    nothing = run.config.data.split.method == "none"
    fate = "it is kept with the weights and used where predict.calibrate asks for it"
    return render(
        "run.html",
        f"Training run {run.path.resolve().name}",
        numbers=deciding_numbers(evaluation, metric, figures) if evaluation is not None else None,
        summary=_summary(run, history, evaluation, extra),
        curves=curves,
        milestones=tables.milestone_table(history, metric),
        scores=scores,
        no_scores="nothing was held out (data.split.method: none)" if nothing else "no weights have been scored yet",
        test=scores_part(test, metric) if test is not None else None,
        figures=figures,
        key=key,
        ranking=ranking_part(evaluation) if evaluation is not None else None,
        reliability=reliability_part(evaluation, fate) if evaluation is not None else None,
        time=tables.time_table(run, history),
        data=tables.data_facts(run),
        configuration=tables.config_table(run.config),
        commands=tables.commands(run),
        functions=run.read_json(OWN_FUNCTIONS) or {},
        environment=tables.environment_facts(run),
        cards=cards,
    )


def _summary(run: Run, history: History, evaluation: Evaluation | None, extra: Mapping[str, str]) -> Facts:
    config, metric = run.config, run.config.train.best_metric
    network, train = config.model, config.train
    lines: list[tuple[str, Content]] = [("Status", status(run, history))]
    if evaluation is not None and metric in evaluation.scores:
        count = len(evaluation.images)
        over = f"over {count} held-out image{'s' if count > 1 else ''}"
        result = Markup("{} = <b>{}</b> {}").format(breakable(metric), shown(evaluation.scores[metric]), over)
        lines.append(("Result", result))
    if (best := best_validation(history, metric)) is not None:
        place = f"{shown(best[metric])} at step {best['step']}, after {best['train_seconds']:.1f} s of training"
        lines.append(("Best validation", place))
    chosen = f"widths {', '.join(map(str, network.widths))}" if network.widths else ""
    channels = chosen or f"width {network.width}, depth {network.depth}"
    lines.append(("Network", f"{network.name}, {channels}, {network.padding} padding, {network.norm} normalisation"))
    patches = f"{train.batch} patches of {' × '.join(map(str, train.sides))} px"
    lines.append(("Training", f"{train.steps} steps of {patches}, seed {train.seed}"))
    return [*lines, *extra.items()]


def status(run: Run, history: History) -> str:
    """Say in one sentence how far the run has come; an older summary counts for nothing once the run was extended."""
    steps, patience = run.config.train.steps, run.config.train.patience
    summary: Record | None = run.read_json("summary.json")
    done = -1 if summary is None else int(summary["step"])
    if done >= steps:
        return f"finished, all {steps} steps"
    if done >= history.step and patience is not None:
        return f"finished at step {done} of {steps}: the last {patience} validations were no better"
    return f"not finished: the log ends at step {history.step} of {steps}; go on with unetkit train --resume {run.path}"


def deciding_numbers(evaluation: Evaluation, metric: str, figures: Sequence[ShownImage]) -> list[Deciding]:
    """Return the three numbers that decide: the score, that of the worst image, and calibration or objects."""
    images = len(evaluation.images)
    numbers = [Deciding(breakable(metric), shown(evaluation.scores.get(metric)), f"over all {images} held-out images")]
    if figures:
        better = definition_of(figures[0].metric).better
        words = f"the worst image, {figures[0].name} ({better} is better)"
        numbers.append(Deciding(breakable(figures[0].metric), shown(figures[0].value), words))
    if (counts := evaluation.object_counts) is not None:
        words = f"of {counts.true} true objects are found (IoU above one half), {counts.predicted} are predicted"
        numbers.append(Deciding("objects", str(counts.matched[0]), words))
    elif (confidence := evaluation.confidence) is not None:
        words = "mean distance of the confidence from the share of right pixels (0: it can be taken at its word)"
        numbers.append(Deciding("calibration error", f"{confidence.reliability.error:.4f}", words))
    return numbers


def scores_part(
    evaluation: Evaluation,
    metric: str,
    *,
    chosen_by: str | None = None,
    marks: str = "the score that chooses the best weights",
) -> Scores:
    """Return the tables of an evaluation; `marks` says what `metric` is."""
    return Scores(
        tables.score_table(evaluation, metric, marks=marks),
        tables.object_table(evaluation),
        tables.image_table(evaluation, metric),
        evaluation.notes,
        chosen_by,
    )


def gallery(
    pictures: Path, evaluation: Evaluation, load_example: LoadExample, *, metric: str, each: int
) -> list[ShownImage]:
    """Return the worst and best images by a score as the page shows them, and write `worst-1.png` and so on.

    One image is held in memory at a time. Pictures of an earlier report are removed.

    Raises:
        StorageError: a picture cannot be written.
    """
    with written_to(pictures):
        for old in (path for end in ("worst", "best") for path in pictures.glob(f"{end}-*.png")):
            old.unlink()
    metric, classes, made = ranking_metric(evaluation, metric), evaluation.classes, list[ShownImage]()
    for chosen in extremes(evaluation, metric, each):
        example = load_example(chosen.image.name)
        heading = f"{chosen.title}: {example.name}   {metric} {shown(chosen.value)}   {scale_note(example)}"
        atomic_write(pictures / f"{chosen.end}-{chosen.place}.png", png(panel(example, classes, heading=heading)))
        facts: list[tuple[str, Content]] = [("Image", example.name), (metric, shown(chosen.value))]
        for name in ("mean_precision", "pixel_accuracy", "mean_dice", "mean_iou"):
            if name in chosen.image.scores and name != metric:
                facts.append((name, shown(chosen.image.scores[name])))
        if len(classes) == 2:
            shares = zip(error_names(classes), error_shares(example, classes), strict=True)
            facts += [(name.capitalize(), f"{100 * share:.2f} % of pixels") for name, share in shares]
        else:
            facts.append(("Wrong", f"{100 * float((example.prediction != example.labels).mean()):.2f} % of pixels"))
        if (counts := chosen.image.objects) is not None:
            facts.append(("Objects", f"{counts.true} true, {counts.predicted} found, {counts.matched[0]} pairs"))
        facts += [("Size", scale_note(example)), ("Grey values", stretch_note(example))]
        drawn = [Picture(png(tile.pixels), tile.title) for tile in tiles(example, classes)]
        made.append(ShownImage(example.name, chosen.title, metric, chosen.value, drawn, facts))
    return made


def key_of(classes: Sequence[str], *, borders: bool = False, objects: bool = False) -> Key:
    """Return what the pictures show and what their colours mean."""
    colours = legend(classes, borders=borders, objects=objects)
    if len(classes) == 2:
        words = "Errors lie on the faded image, coloured by their kind. "
    else:
        words = "Errors lie on the faded image, in the colour of the class that was predicted. "
    certain = f"the class {classes[1]}" if len(classes) == 2 else "the class that was predicted"
    words += f"The probability is that of {certain}: black is 0, white is 1."
    if objects:
        words += " Objects are partners where their IoU is above one half."
    return Key(colours[:_MOST_COLOURS], max(0, len(colours) - _MOST_COLOURS), words)


def ranking_part(evaluation: Evaluation) -> Curves | None:
    """Return ROC and precision-recall of the classes against the rest; None where they were not asked for."""
    if not evaluation.curves:
        return None
    caption = (
        "a: the share of a class's pixels that are found (recall, sensitivity) against the share of all other pixels "
        "that are found with them, at every threshold of the class's probability; AUC is the area below. b: the share "
        "of the found pixels that are right, against recall; AP is the area. Dotted: what chance gives. The circle is "
        "the mask as it is decided."
    )
    return Curves(Picture(ranking_curves(evaluation.curves), "ROC, and precision against recall"), caption)


def reliability_part(evaluation: Evaluation, fate: str) -> ReliabilityPart | None:
    """Return how far the probabilities can be trusted; `fate` says what becomes of the temperature."""
    if (confidence := evaluation.confidence) is None:
        return None
    as_it_is, calibrated = confidence.reliability, confidence.calibrated
    facts = [
        ("Expected calibration error", f"{as_it_is.error:.4f} as it is, {calibrated.error:.4f} calibrated"),
        ("That of each class", f"{as_it_is.class_error:.4f} as it is, {calibrated.class_error:.4f} calibrated"),
        ("Temperature", f"{confidence.temperature:.3f} (above 1: surer than right, below 1: less sure)"),
    ]
    caption = (
        "a: of the pixels that are given a confidence, how many are right; on the dotted line confidence can be taken "
        "at its word. b: how many pixels are given it. Calibrated: logits divided by the temperature, which was fitted "
        f"on these same images; {fate}."
    )
    diagram = Picture(reliability_diagram(confidence), "confidence against the share of right pixels")
    return ReliabilityPart(facts, diagram, caption)


_THINNED = "v_rand_thinned"
_MEMBER_SCORES = ("foreground_dice", "mean_precision", "f1_50")
_FATE = "it is that of the trainings by themselves: their mean, the ensemble, is less sure than each of them"


def write_crossval_page(folder: Folder, dataset: Dataset, scores: OutOfFold) -> None:
    """Write `report.html` and `pictures/` into the folder.

    Raises:
        StorageError: the disk did not take a file.
    """
    pictures, whole, config = folder.path / "pictures", scores.whole, folder.folds.config
    make_folder(pictures)
    metric = ranking_metric(whole, _THINNED if whole.isbi is not None else config.train.best_metric)
    fold_of = folder.folds.fold_of()
    groups: dict[str, list[float]] = {}
    for index, image in zip(sorted(fold_of), whole.images, strict=True):
        if (value := image_score(image, metric)) is not None:
            groups.setdefault(f"fold {fold_of[index]}", []).append(value)
    drawn = dots(dict(sorted(groups.items())), metric)
    atomic_write(pictures / "scores.png", drawn["png"])
    places = {dataset[index].name: index for index in fold_of}

    def load_example(name: str) -> Example:
        sample, index = dataset[places[name]], places[name]
        assert sample.labels is not None
        predicted, objects = read_predictions(folder.path, dataset, index), None
        if whole.object_counts is not None:
            objects = objects_of(sample, whole.classes), read_objects(folder.path, dataset, index)
        thresholds = config.predict.thresholds(whole.classes)
        decided = decide(torch.from_numpy(predicted)[None], thresholds)[0].numpy()
        if sample.valid is not None:
            decided = np.where(sample.valid, decided, 0)
        return Example(name, sample.pixels, sample.labels, predicted, objects=objects, decided=decided)

    figures = gallery(pictures, whole, load_example, metric=metric, each=3)
    text = render(
        "crossval.html",
        f"Cross-validation {folder.path.resolve().name}",
        numbers=deciding_numbers(whole, metric, figures),
        summary=_crossval_summary(folder, scores),
        spread=_spread_table(scores),
        members=_members_table(folder, scores, metric),
        by_fold=Picture(drawn["svg"], f"{metric} of every image"),
        scores=scores_part(whole, metric, marks="the score that ranks the images"),
        key=key_of(whole.classes, objects=whole.object_counts is not None),
        figures=figures,
        ranking=ranking_part(whole),
        reliability=reliability_part(whole, _FATE),
        configuration=tables.config_table(config),
        cards=tables.definition_cards(list(whole.scores), whole.classes),
    )
    atomic_write(folder.path / "report.html", text)


def _crossval_summary(folder: Folder, scores: OutOfFold) -> Facts:
    split, members = folder.folds.config.data.split, len(folder.members)
    folds = len(folder.folds.held_out)
    return [
        ("Trainings", f"{members}: {folds} folds, {members // folds} seed(s) each, split '{split.method}'"),
        ("Images", f"{len(scores.whole.images)}, each predicted by networks that had not seen it"),
        ("Weights", "those of the last step: nothing was chosen on the images that are scored"),
        ("Training", f"{sum(train_seconds(folder).values()):.0f} s of steps in all"),
        *(("Note", note) for note in folder.folds.notes),
    ]


def _spread_table(scores: OutOfFold) -> Table:
    rows: list[list[Content]] = [
        [breakable(name), *map(shown, (scores.whole.scores.get(name), one.mean, one.std, one.low, one.high))]
        for name, one in spreads(scores).items()
    ]
    caption = (
        f"Every score over all images out of fold, and its mean, standard deviation (n - 1) and range over the "
        f"{len(scores.members)} trainings, each on what it held out. The trainings share images, so that the deviation "
        "says how much they differ, not how sure the mean is."
    )
    head = ["Score", "Out of fold", "Mean", "Deviation", "Lowest", "Highest"]
    return Table(caption, head, rows, numbers=range(1, len(head)))


def _members_table(folder: Folder, scores: OutOfFold, metric: str) -> Table:
    seconds = train_seconds(folder)
    names = [score for score in dict.fromkeys((metric, *_MEMBER_SCORES)) if score in scores.whole.scores]
    rows: list[list[Content]] = [
        [
            Markup('<a href="{0}/report.html">{0}</a>').format(name),
            str(len(one.images)),
            *(shown(one.scores.get(score)) for score in names),
            f"{seconds[name]:.1f}",
        ]
        for name, one in scores.members.items()
    ]
    head: list[Content] = ["Training", "Images", *map(breakable, names), "Seconds"]
    return Table("Every training, with its own report.", head, rows, numbers=range(1, len(head)))
