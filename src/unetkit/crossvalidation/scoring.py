"""Every image predicted by the networks that did not see it: one file of predictions, and the scores of all of them.

Where a fold was trained with several seeds, their probabilities are averaged for the predictions, and each training is
scored by itself too. The weights are those of the last step: nothing was chosen on the images that are scored.

Legend of shapes: K classes, H height, W width.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.crossvalidation.folder import Folder
from unetkit.data import Dataset, samples_of
from unetkit.evaluation import (
    Challenge,
    Evaluation,
    ScoredImage,
    data_probabilities,
    score_prediction,
    summarise,
)
from unetkit.metrics import scores_chosen_elsewhere
from unetkit.networks import LAST
from unetkit.prediction import Predictor
from unetkit.prediction.outputs import Form, tiff_stack
from unetkit.progress import Reporter, Silence
from unetkit.storage import make_folder

OUT_OF_FOLD = "out-of-fold"

Put = Callable[[int, NDArray[Any]], None]
"""Takes the probabilities [K, H, W] of the image at an index."""

Load = Callable[[Path], Predictor]
"""Makes the network of a weights file ready to predict."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """The scores of a cross-validation.

    Attributes:
        whole: over all images, each predicted by the networks that had not seen it.
        members: of every training on what it held out, by its name.
    """

    whole: Evaluation
    members: dict[str, Evaluation]


def score_folder(
    folder: Folder,
    dataset: Dataset,
    load: Load,
    *,
    challenge: Challenge | None,
    put: Put = lambda index, probabilities: None,
    reporter: Reporter | None = None,
) -> OutOfFold:
    """Predict and score every image out of fold.

    Args:
        folder: of a cross-validation whose trainings are finished.
        dataset: the images that it was made on.
        load: makes a network ready to predict.
        challenge: compute the ISBI challenge's numbers too; None: do not.
        put: takes the probabilities [K, H, W] of every image by its index, such as `written` gives it.
        reporter: hears about the course.

    Raises:
        DataError: an image without labels.
    """
    whole: dict[int, ScoredImage] = {}
    alone: dict[str, list[ScoredImage]] = {member.name: [] for member in folder.members}
    classes = dataset.classes
    for index, each in _predictions(folder, dataset, load):
        (reporter or Silence()).advance(len(whole), len(folder.folds.fold_of()), {})
        scored = [score_prediction(one, dataset[index], classes, challenge) for one in each.values()]
        for name, own in zip(each, scored, strict=True):
            alone[name].append(own)
        mean_KHW = np.mean(list(each.values()), 0)
        put(index, mean_KHW)
        mixed = len(scored) > 1
        whole[index] = score_prediction(mean_KHW, dataset[index], classes, challenge) if mixed else scored[0]
    in_order = [whole[index] for index in sorted(whole)]
    pooled = _with_honest_thresholds(summarise(in_order, classes, challenge), in_order, folder)
    return OutOfFold(pooled, {name: summarise(own, classes, challenge) for name, own in alone.items()})


def _predictions(folder: Folder, dataset: Dataset, load: Load) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Yield every image's index with the probabilities [K, H, W] of each training that had not seen it, by its name."""
    for fold, held in enumerate(folder.folds.held_out):
        names = [member.name for member in folder.members if member.fold == fold]
        predictors = {name: load(folder.path / name / LAST) for name in names}
        for index in held:
            pixels = dataset[index].pixels
            yield index, {name: data_probabilities(one, pixels) for name, one in predictors.items()}


def _with_honest_thresholds(evaluation: Evaluation, scored: Sequence[ScoredImage], folder: Folder) -> Evaluation:
    parts = [one.part for one in scored if one.part is not None]
    if not parts:
        return evaluation
    fold_of = folder.folds.fold_of()
    chosen = scores_chosen_elsewhere(parts, [fold_of[index] for index in sorted(fold_of)])
    return replace(evaluation, scores=evaluation.scores | chosen)


@contextmanager
def written(folder: Path, dataset: Dataset) -> Generator[Put]:
    """Give a function that takes the probabilities of an image to their place: a page, or a file where sizes differ.

    Two classes are written as the probability of the second, more as one channel a class.

    Raises:
        StorageError: the disk did not take them.
    """
    samples = {index: (one.name, one.pixels.shape[1:]) for index, one in enumerate(samples_of(dataset))}
    sizes = {size for _, size in samples.values()}
    with ExitStack() as stack:
        one = stack.enter_context(_stack(folder, sizes.pop(), len(samples), dataset)) if len(sizes) == 1 else None

        def put(index: int, probabilities_KHW: NDArray[Any]) -> None:
            values = probabilities_KHW[1:] if len(probabilities_KHW) == 2 else probabilities_KHW
            if one is not None:
                one.put(index, 0, 0, values)
                return
            name, size = samples[index]
            make_folder(folder / OUT_OF_FOLD)
            with tiff_stack(folder / OUT_OF_FOLD / f"{name}.tif", _form(size, 1, dataset.classes)) as output:
                output.put(0, 0, 0, values)

        yield put


def _stack(folder: Path, size: tuple[int, ...], pages: int, dataset: Dataset) -> Any:
    return tiff_stack(folder / f"{OUT_OF_FOLD}.tif", _form(size, pages, dataset.classes))


def _form(size: tuple[int, ...], pages: int, classes: tuple[str, ...]) -> Form:
    channels = () if len(classes) == 2 else classes
    return Form(np.float32, size[0], size[1], pages, channels, white=1.0)


def read_predictions(folder: Path, dataset: Dataset, index: int) -> NDArray[np.float32]:
    """Return the probabilities [K, H, W] that were written for an image."""
    import tifffile

    whole = folder / f"{OUT_OF_FOLD}.tif"
    count = 1 if len(dataset.classes) == 2 else len(dataset.classes)
    if whole.is_file():
        pages = range(index * count, (index + 1) * count)
        stored = np.stack([tifffile.imread(whole, key=page) for page in pages])
    else:
        stored = tifffile.imread(folder / OUT_OF_FOLD / f"{dataset[index].name}.tif")
        stored = stored.reshape(count, *stored.shape[-2:])
    return np.concatenate([1 - stored, stored]) if count == 1 else stored
