"""What a sample of images can tell: intervals of macro-F1, of shares and of means.

All macro-F1 figures of a set of images come from one stratified bootstrap, class by class, in which
every candidate is judged on the same resampled images (Efron and Tibshirani 1993, chapters 8 and
13). Shares such as a recall have Wilson's interval instead: a bootstrap of 0 mistakes in 20 images
would claim that there are none.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import stats

RESAMPLES = 2000
# A bootstrap of fewer images that are wrong, or that differ, claims to know more than it does.
FEW = 20
# Resamples in memory at a time.
_BLOCK = 200


def resamples(true: np.ndarray) -> Iterator[np.ndarray]:
    """RESAMPLES stratified bootstrap resamples, block by block; the same at every call.

    Parameters
    ----------
    true : int [n] class indices; each class keeps its number of images

    Yields
    ------
    float32 [block, n], how often each image is in each resample
    """
    rng = np.random.default_rng(0)
    strata = [np.flatnonzero(true == label) for label in np.unique(true)]
    for _ in range(0, RESAMPLES, _BLOCK):
        yield _resample(rng, strata, len(true))


def macro_f1_draws(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Macro-F1 of several candidates on the same resampled sets of images, `resamples`.

    Parameters
    ----------
    true : int [n] class indices
    predicted : int [candidates, n] class indices
    classes : number of classes

    Returns
    -------
    float [candidates, RESAMPLES]
    """
    count = np.bincount(true, minlength=classes)
    marks = _marks(true, predicted, classes)
    draws = []
    for weights in resamples(true):
        # One matrix product counts every candidate's predictions and hits of each class.
        counts = (weights @ marks).reshape(len(weights), 2, len(predicted), classes)
        found, hits = counts.transpose(1, 2, 0, 3)
        draws.append((2 * hits / np.maximum(found + count, 1)).mean(axis=-1))
    return np.concatenate(draws, axis=1)


def _marks(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Each candidate's predictions of each class, and its hits, as ones among zeros.

    Returns
    -------
    float32 [n, 2 * candidates * classes]
    """
    as_class = predicted[..., None] == np.arange(classes)
    hit = as_class & (true[:, None] == np.arange(classes))
    both = np.stack([as_class, hit]).transpose(2, 0, 1, 3)
    return both.reshape(len(true), -1).astype(np.float32)


def _resample(rng: np.random.Generator, strata: list[np.ndarray], images: int) -> np.ndarray:
    """How often each image is in each of a block of resamples: float32 [_BLOCK, images]."""
    weights = np.zeros((_BLOCK, images), np.float32)
    for stratum in strata:
        chosen = rng.integers(len(stratum), size=(_BLOCK, len(stratum)))
        for row, indices in zip(weights, chosen, strict=True):
            row[stratum] = np.bincount(indices, minlength=len(stratum))
    return weights


def interval(draws: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the percentile interval of draws along the last axis."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=-1)
    return low, high


def macro_f1_interval(
    draws: np.ndarray, mistakes: int, images: int, confidence: float
) -> tuple[float, float]:
    """Interval of one candidate's macro-F1.

    With few mistakes to resample, the lower end is at most that of the accuracy, by Wilson's
    interval.

    Parameters
    ----------
    draws : float [RESAMPLES]
    mistakes, images : numbers of wrong predictions and of images
    """
    low, high = map(float, interval(draws, confidence))
    if mistakes < FEW:
        low = min(low, share_interval(images - mistakes, images, confidence)[0])
    return low, high


@lru_cache(maxsize=65536)
def share_interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); from 0 to 1 where the total is 0."""
    if not total:
        return 0.0, 1.0
    found = stats.binomtest(count, total).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def mean_interval(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Mean of independent repetitions and Student's interval; it is infinite for one repetition."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -math.inf, math.inf
    quantile = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    reach = float(quantile * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - reach, mean + reach


def percent(confidence: float) -> str:
    """A confidence in words, with all its digits: `95%`, `99.9%`."""
    return f"{100 * confidence:.10g}%"
