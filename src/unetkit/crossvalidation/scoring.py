"""Every image predicted by the networks that did not see it, and the scores of all of them.

Where a fold was trained with several seeds, their probabilities are averaged for the predictions, and each training is
scored by itself too; gaps are closed in the mean, as the ensemble does it. The weights are those of the last step:
nothing was chosen on the images that are scored.

Legend of shapes: K classes, H height, W width.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.crossvalidation.folder import Folder
from unetkit.crossvalidation.predictions import Put
from unetkit.data import Dataset, Sample
from unetkit.evaluation import (
    Challenge,
    Evaluation,
    ScoredImage,
    notes_on,
    score_answer,
    summarise,
    with_object_words,
)
from unetkit.metrics import scores_chosen_elsewhere
from unetkit.networks import LAST
from unetkit.objects import ObjectMap, find_objects
from unetkit.prediction import Predictor
from unetkit.progress import Reporter, Silence

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
    families: Collection[str] = (),
    put: Put = lambda index, probabilities, found: None,
    reporter: Reporter | None = None,
) -> OutOfFold:
    """Predict and score every image out of fold.

    Args:
        folder: of a cross-validation whose trainings are finished.
        dataset: the images that it was made on.
        load: makes a network ready to predict.
        challenge: compute the ISBI challenge's numbers too; None: do not.
        families: further scores: "objects" and "confidence", as of `evaluation.evaluate`.
        put: takes what was predicted for every image, such as `written` gives it.
        reporter: hears about the course.

    Raises:
        DataError: an image without labels.
    """
    whole, alone = dict[int, ScoredImage](), {member.name: list[ScoredImage]() for member in folder.members}
    judged, predictors = _Judge(challenge, families), {name: load(folder.path / name / LAST) for name in alone}
    for index, answers in _predictions(folder, dataset, predictors):
        (reporter or Silence()).advance(len(whole), len(folder.folds.fold_of()), {})
        sample, found, closed_KHW = dataset[index], None, np.empty(0, np.float32)
        for name, own_KHW in answers.items():
            whole[index], found, closed_KHW = judged.scored(predictors[name], own_KHW, sample)
            alone[name].append(whole[index])
        first = predictors[next(iter(answers))]
        if len(answers) > 1:
            whole[index], found, closed_KHW = judged.scored(first, np.mean(list(answers.values()), 0), sample)
        put(index, first.of_data(torch.from_numpy(closed_KHW)).numpy(), found)
    in_order = [whole[index] for index in sorted(whole)]
    pooled = _with_honest_thresholds(judged.pooled(in_order, predictors), in_order, folder)
    return OutOfFold(pooled, {name: judged.pooled(own, {name: predictors[name]}) for name, own in alone.items()})


@dataclass(frozen=True, slots=True)
class _Judge:
    """What is asked of every image and of every set of them."""

    challenge: Challenge | None
    families: Collection[str]

    def scored(
        self, predictor: Predictor, open_KHW: NDArray[np.float32], sample: Sample
    ) -> tuple[ScoredImage, ObjectMap | None, NDArray[np.float32]]:
        """Return the scores, the objects and the probabilities, gaps closed where the predictor closes them."""
        closed_KHW, found = predictor.closed(open_KHW), None
        if "objects" in self.families:
            found = find_objects(closed_KHW, predictor.classes, predictor.object_config)
        sure = "confidence" in self.families
        scored = score_answer(predictor, closed_KHW, sample, self.challenge, found=found, confidence=sure)
        return scored, found, closed_KHW

    def pooled(self, scored: Sequence[ScoredImage], made: Mapping[str, Predictor]) -> Evaluation:
        first = next(iter(made.values()))
        pooled = summarise(scored, first.data_classes, self.challenge, notes=notes_on(first))
        return with_object_words(pooled, made) if "objects" in self.families else pooled


def _predictions(
    folder: Folder, dataset: Dataset, predictors: Mapping[str, Predictor]
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Yield every image's index with the probabilities [K, H, W] of each training that had not seen it, by its name.

    Gaps are left open.
    """
    leaving_open = {name: one.with_options({"close_gaps": False}) for name, one in predictors.items()}
    for fold, held in enumerate(folder.folds.held_out):
        names = [member.name for member in folder.members if member.fold == fold]
        for index in held:
            pixels = dataset[index].pixels
            yield index, {name: leaving_open[name].probabilities(pixels) for name in names}


def _with_honest_thresholds(evaluation: Evaluation, scored: Sequence[ScoredImage], folder: Folder) -> Evaluation:
    parts = [one.part for one in scored if one.part is not None]
    if not parts:
        return evaluation
    fold_of = folder.folds.fold_of()
    chosen = scores_chosen_elsewhere(parts, [fold_of[index] for index in sorted(fold_of)])
    return replace(evaluation, scores=evaluation.scores | chosen)
