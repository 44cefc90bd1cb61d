"""The page and the pictures of a cross-validation: spread, scores of every image, the worst and the best of them."""

import numpy as np
import torch
from markupsafe import Markup

from unetkit.data import Dataset
from unetkit.evaluation.crossval import OutOfFold, read_objects, read_predictions, spreads, train_seconds
from unetkit.evaluation.folds import Folder
from unetkit.evaluation.score import objects_of
from unetkit.models import decide
from unetkit.reporting import tables
from unetkit.reporting.history import image_score, ranking_metric
from unetkit.reporting.html import Content, Facts, Picture, Table, breakable, render
from unetkit.reporting.page import deciding_numbers, gallery, key_of, ranking_part, reliability_part, scores_part
from unetkit.reporting.pictures import Example
from unetkit.reporting.plots import dots
from unetkit.reporting.text import shown
from unetkit.storage.atomic import atomic_write, make_folder

_THINNED = "v_rand_thinned"
_MEMBER_SCORES = ("foreground_dice", "mean_precision", "f1_50")
_FATE = "it is that of the trainings by themselves: their mean, the ensemble, is less sure than each of them"


def write_page(folder: Folder, dataset: Dataset, scores: OutOfFold, notes: tuple[str, ...]) -> None:
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
        summary=_summary(folder, scores, notes),
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


def _summary(folder: Folder, scores: OutOfFold, notes: tuple[str, ...]) -> Facts:
    split, members = folder.folds.config.data.split, len(folder.members)
    folds = len(folder.folds.held_out)
    return [
        ("Trainings", f"{members}: {folds} folds, {members // folds} seed(s) each, split '{split.method}'"),
        ("Images", f"{len(scores.whole.images)}, each predicted by networks that had not seen it"),
        ("Weights", "those of the last step: nothing was chosen on the images that are scored"),
        ("Training", f"{sum(train_seconds(folder).values()):.0f} s of steps in all"),
        *(("Note", note) for note in notes),
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
