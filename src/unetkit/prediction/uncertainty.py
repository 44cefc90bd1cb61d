"""Where a network does not know: how far probabilities are from certain, and how far several answers differ.

Several answers to one image come from its eight flips and turns, and from the members of an ensemble. The entropy of
their mean is high wherever the answer is uncertain, for whatever reason; the mutual information is that part of it that
comes from the answers' differing (Smith and Gal 2018): what more training data could settle. Both are divided by the
logarithm of the number of classes, so that 1 is knowing nothing.

Legend of shapes: C channels, K classes, H height, W width.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.errors import UsageError
from unetkit.prediction.crops import EIGHT
from unetkit.prediction.predictor import Predictor

MEASURES = ("entropy", "mutual information")
"""The channels of an uncertainty map."""

_LEAST = 1e-12


def uncertainty(answers: Iterable[NDArray[Any]]) -> NDArray[np.float32]:
    """Return entropy and mutual information [2, H, W], 0 to 1, of several answers: probabilities [K, H, W] each.

    One answer is held at a time, beside the sums.

    Raises:
        UsageError: there are no answers.
    """
    count, total, entropies = 0, np.zeros(0), np.zeros(0)
    for answer in answers:
        p_KHW = answer.astype(np.float64)
        own = _entropy(p_KHW)
        total, entropies = (p_KHW, own) if count == 0 else (total + p_KHW, entropies + own)
        count += 1
    if count == 0:
        raise UsageError("no answers were given; an uncertainty needs at least one")
    entropy = _entropy(total / count)
    information = np.maximum(entropy - entropies / count, 0)
    return (np.stack([entropy, information]) / np.log(len(total))).astype(np.float32)


def answers_to(pixels_CHW: NDArray[Any], members: Sequence[Predictor]) -> Iterator[NDArray[np.float32]]:
    """Yield the probabilities [K, H, W] of the data's classes that each member gives in each flip and turn of an image.

    Pixels [C, H, W] are as stored. The members' own averaging over flips and turns is left out, and gaps are left open.

    Raises:
        DataError, UsageError: as `Predictor.probabilities`.
    """
    for member in members:
        single = member.with_options({"tta": False, "close_gaps": False})
        for symmetry in EIGHT:
            shown = single.probabilities(np.ascontiguousarray(symmetry.apply(pixels_CHW)))
            yield symmetry.undo(single.of_data(torch.from_numpy(shown))).numpy()


def _entropy(p_KHW: NDArray[np.float64]) -> NDArray[np.float64]:
    return -(p_KHW * np.log(p_KHW.clip(_LEAST))).sum(0)
