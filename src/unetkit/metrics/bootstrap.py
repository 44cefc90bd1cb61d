"""How sure a difference between two networks on the same images is: the paired bootstrap.

The images are drawn anew with replacement, for both networks alike, and the difference is computed again and again. A
score that is the best of several thresholds chooses its threshold anew each time. The percentiles are widened as
Student's t asks for few images (the "expanded percentile" interval of Hesterberg 2015, The American Statistician 69:4);
without that, an interval from six images would be a third too narrow. With it 95 % covers 92 % at six normally
distributed images, 94 % at thirty.

Assumes that the images are exchangeable; of neighbours that look alike, blocks of them have to be.

Legend of shapes: T thresholds, N images, R resamples.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import UsageError

_Values = NDArray[np.float64]
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two scores over the same images.

    Attributes:
        value: score of the first minus score of the second.
        low: lower end of the 95 % interval.
        high: upper end.
        share: of the resamples in which the first is better; a tie counts half.
        images: how many there are.
        block: how many neighbours were drawn together.
        resamples: how often the images were drawn anew.
    """

    value: float
    low: float
    high: float
    share: float
    images: int
    block: int
    resamples: int


def paired_bootstrap(
    first_TN: NDArray[Any],
    second_TN: NDArray[Any],
    *,
    better: Literal["higher", "lower"] = "higher",
    block: int = 1,
    seed: int = 0,
    resamples: int = 10_000,
) -> Difference:
    """Compare two networks by a score that is the best over thresholds of the mean over images.

    Args:
        first_TN: the first network's values; T is 1 for a plain mean.
        second_TN: the second's, of the same images in the same order.
        better: whether the highest or the lowest threshold mean is the score.
        block: neighbouring images that are drawn together (round the end of the order); 1: each by itself.
        seed: of the draws.
        resamples: how often.

    Raises:
        UsageError: fewer than two blocks of images.
    """
    count = first_TN.shape[1]
    if not 1 <= block <= count // 2:
        raise UsageError(f"{count} images in blocks of {block}: at least two blocks are needed to tell anything")
    weights_RN = _draws(count, block, resamples, np.random.default_rng(seed)) / count
    best = np.max if better == "higher" else np.min
    first_R, second_R = (best(weights_RN @ values_TN.T, axis=1) for values_TN in (first_TN, second_TN))
    difference_R = first_R - second_R
    value = float(best(first_TN.mean(1)) - best(second_TN.mean(1)))
    tail = _expanded_tail(count / block)
    low, high = np.quantile(difference_R, (tail, 1 - tail))
    ahead = (difference_R > 0).mean() + (difference_R == 0).mean() / 2
    share = float(ahead if better == "higher" else 1 - ahead)
    return Difference(value, float(low), float(high), share, count, block, resamples)


def _draws(count: int, block: int, resamples: int, rng: np.random.Generator) -> _Values:
    """Return how often each of N images is drawn in each of R resamples, [R, N]."""
    starts = rng.integers(count, size=(resamples, math.ceil(count / block)))
    drawn = ((starts[:, :, None] + np.arange(block)) % count).reshape(resamples, -1)[:, :count]
    places = drawn + count * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def _expanded_tail(count: float) -> float:
    """Return the share of resamples to leave out at each end, for as many independent images."""
    from scipy.stats import norm, t

    reach = math.sqrt(count / (count - 1)) * float(t.ppf((1 + _LEVEL) / 2, count - 1))
    return float(norm.cdf(-reach))
