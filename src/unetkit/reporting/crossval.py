"""The page and the pictures of a cross-validation: spread, scores of every image, the worst and the best of them."""

from unetkit.data import Dataset
from unetkit.evaluation.crossval import OutOfFold, read_objects, read_predictions, spreads, train_seconds
from unetkit.evaluation.folds import Folder
from unetkit.evaluation.score import Evaluation, objects_of
from unetkit.reporting.history import image_score, ranking_metric
from unetkit.reporting.markup import Content, Html, breakable, facts, picture, table, tag
from unetkit.reporting.page import LoadExample, assembled, confidence_part, gallery, key
from unetkit.reporting.pictures import Example
from unetkit.reporting.plots import dots
from unetkit.reporting.tables import config_table, definition_cards, image_table, object_table, score_table
from unetkit.reporting.text import shown
from unetkit.storage.atomic import atomic_write, make_folder

_THINNED = "v_rand_thinned"
_TOLD = ("soft_dice_two_class", "mean_precision", "f1_50")
_OUT_OF_FOLD = "it tells of the trainings by themselves: their mean, the ensemble, is less sure than each of them."


def write_page(folder: Folder, dataset: Dataset, scores: OutOfFold, notes: tuple[str, ...]) -> None:
    """Write `report.html` and `pictures/` into the folder.

    Raises:
        StorageError: the disk did not take a file.
    """
    pictures, whole = folder.path / "pictures", scores.whole
    make_folder(pictures)
    metric = _THINNED if whole.isbi is not None else folder.folds.config.train.best_metric
    metric = ranking_metric(whole, metric)
    drawn = dots(_by_fold(folder, scores, metric), metric)
    atomic_write(pictures / "scores.png", drawn["png"])
    outlined, look = whole.object_counts is not None, _look(folder, dataset, whole)
    figures = list(gallery(pictures, whole, look, metric=metric, each=3))
    parts: dict[str, list[Content]] = {
        "Summary": [_summary(folder, scores, notes)],
        "Spread over the trainings": [_spread_table(scores), _members_table(folder, scores, metric)],
        "Scores out of fold": [
            tag("figure", picture(drawn["svg"], "image/svg+xml", f"{metric} of every image")),
            *(tag("p", f"Note: {note}.") for note in whole.notes),
            score_table(whole, metric, marks="the score that ranks the images"),
            object_table(whole),
            image_table(whole, metric),
        ],
        "Worst and best images": [key(whole.classes, objects=outlined), *figures],
        **({} if whole.confidence is None else {"Confidence": confidence_part(whole.confidence, _OUT_OF_FOLD)}),
        "Configuration": [config_table(folder.folds.config)],
        "What the scores mean": [definition_cards(list(whole.scores), whole.classes)],
    }
    atomic_write(folder.path / "report.html", assembled(f"Cross-validation {folder.path.resolve().name}", parts))


def _look(folder: Folder, dataset: Dataset, whole: Evaluation) -> LoadExample:
    places = {dataset[index].name: index for index in folder.folds.fold_of()}

    def look(name: str) -> Example:
        sample, index = dataset[places[name]], places[name]
        assert sample.labels is not None
        shown, objects = read_predictions(folder.path, dataset, index), None
        if whole.object_counts is not None:
            objects = objects_of(sample, whole.classes), read_objects(folder.path, dataset, index)
        return Example(name, sample.pixels, sample.labels, shown, objects=objects)

    return look


def _by_fold(folder: Folder, scores: OutOfFold, metric: str) -> dict[str, list[float]]:
    fold_of = folder.folds.fold_of()
    groups: dict[str, list[float]] = {f"fold {fold}": [] for fold in range(len(folder.folds.held_out))}
    for index, image in zip(sorted(fold_of), scores.whole.images, strict=True):
        value = image_score(image, metric)
        if value is not None:
            groups[f"fold {fold_of[index]}"].append(value)
    return {name: values for name, values in groups.items() if values}


def _summary(folder: Folder, scores: OutOfFold, notes: tuple[str, ...]) -> Html:
    split, members = folder.folds.config.data.split, len(folder.members)
    folds = len(folder.folds.held_out)
    lines: list[tuple[str, Content]] = [
        ("Trainings", f"{members}: {folds} folds, {members // folds} seed(s) each, split '{split.method}'"),
        ("Images", f"{len(scores.whole.images)}, each predicted by what had not seen it"),
        ("Weights", "those of the last step: nothing was chosen on the images that are scored"),
        ("Training", f"{sum(train_seconds(folder).values()):.0f} s of steps in all"),
        *(("Note", note) for note in notes),
    ]
    return facts(lines)


def _spread_table(scores: OutOfFold) -> Html:
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
    return table(caption, head, rows, numbers=range(1, len(head)))


def _members_table(folder: Folder, scores: OutOfFold, metric: str) -> Html:
    seconds = train_seconds(folder)
    told = [score for score in dict.fromkeys((metric, *_TOLD)) if score in scores.whole.scores]
    rows: list[list[Content]] = [
        [
            tag("a", name, href=f"{name}/report.html"),
            str(len(one.images)),
            *(shown(one.scores.get(score)) for score in told),
            f"{seconds[name]:.1f}",
        ]
        for name, one in scores.members.items()
    ]
    head: list[Content] = ["Training", "Images", *map(breakable, told), "Seconds"]
    return table("Every training, with its own report.", head, rows, numbers=range(1, len(head)))
