"""Paired comparisons of candidates on the same images."""

import math
from functools import lru_cache

import numpy as np
from scipy import stats

from beansweep.analysis.intervals import FEW, interval, share_interval

# An exact McNemar test of fewer one-way discordant images never reaches p < 0.05.
_FEWEST_DISCORDANT = 6
# Standard deviation of macro-F1 below which all resamples give the same difference.
_CONSTANT = 1e-6


def paired(
    true: np.ndarray,
    reference: np.ndarray,
    other: np.ndarray,
    drop_draws: np.ndarray,
    drop: float,
    confidence: float,
    margin: float,
) -> dict:
    """Whether a candidate is worse than a reference on the same images.

    Parameters
    ----------
    true, reference, other : int [n] class indices: the truth and both predictions
    drop_draws : float [RESAMPLES], the reference's macro-F1 minus the other's
    drop : the same on the images as they are
    margin : macro-F1 that may be lost

    Returns
    -------
    `drop_low` and `drop_high`, the paired interval, see `_least_reach`; `mcnemar_p`, exact and
    two-sided (Dietterich 1998); `verdict`, *non-inferior* (the whole interval is below the
    margin), *inferior* (above it) or *undecided*; and `images_to_decide`, see there.
    """
    lost, gained = (reference == true) & (other != true), (reference != true) & (other == true)
    only_reference, only_other = int(lost.sum()), int(gained.sum())
    low, high = map(float, interval(drop_draws, confidence))
    if only_reference + only_other < FEW:
        below, above = _least_reach(true, lost, gained, confidence)
        low, high = min(low, drop - below), max(high, drop + above)
    verdict = "non-inferior" if high < margin else "inferior" if low > margin else "undecided"
    return {
        "drop_low": low,
        "drop_high": high,
        "mcnemar_p": float(mcnemar(only_reference, only_other)),
        "verdict": verdict,
        "images_to_decide": images_to_decide(len(true), drop, low, high, margin),
    }


def _least_reach(
    true: np.ndarray, lost: np.ndarray, gained: np.ndarray, confidence: float
) -> tuple[float, float]:
    """How far an accuracy drop may lie below and above what a few images show of it.

    A bootstrap of few images that differ is too sure: it cannot draw those that were not seen. The
    intervals of both shares are combined by squares instead (Newcombe 1998, "Improved confidence
    intervals for the difference between binomial proportions based on paired data"). Macro-F1 gives
    an image of a small class more weight than accuracy does, and the reach grows with it.

    Parameters
    ----------
    true : int [n] class indices
    lost, gained : bool [n], the images that only the reference gets right, and only the other
    """
    images = len(true)
    one, other = int(lost.sum()), int(gained.sum())
    one_low, one_high = share_interval(one, images, confidence)
    other_low, other_high = share_interval(other, images, confidence)
    below = math.hypot(one / images - one_low, other_high - other / images)
    above = math.hypot(one_high - one / images, other / images - other_low)
    weight, differs = 1.0, true[lost | gained]
    if len(differs):
        count = np.bincount(true)
        weights = images / (np.count_nonzero(count) * count[differs])
        weight = max(weight, float(weights.mean()))
    return weight * below, weight * above


def images_to_decide(images: int, drop: float, low: float, high: float, margin: float) -> float:
    """About how many more images would decide a comparison, if the drop stayed as it is.

    An interval shrinks with the root of the number of images.

    Parameters
    ----------
    images : number of images now
    drop, low, high : the accuracy drop and both ends of its interval
    margin : macro-F1 that may be lost

    Returns
    -------
    NaN where the comparison is decided, infinity where the drop is the margin.
    """
    if high < margin or low > margin:
        return math.nan
    if drop == margin:
        return math.inf
    reach = high - drop if drop < margin else drop - low
    return images * ((reach / abs(margin - drop)) ** 2 - 1)


def mcnemar(one: np.ndarray | int, other: np.ndarray | int) -> np.ndarray:
    """Exact two-sided p of McNemar's test from the two counts of discordant images, elementwise."""
    one, other = np.asarray(one), np.asarray(other)
    tail = stats.binom.sf(np.maximum(one, other) - 1, one + other, 0.5)
    return np.minimum(1.0, 2 * tail)


def only(flags: np.ndarray) -> np.ndarray:
    """How many images one candidate flags and another does not.

    Parameters
    ----------
    flags : bool [candidates, n]

    Returns
    -------
    float [candidates, candidates], at [i, j] those that i flags and j does not.
    """
    flagged = flags.astype(np.float32)
    return flagged @ (1 - flagged).T


def more_often(only_one: np.ndarray, confidence: float) -> np.ndarray:
    """Which candidates are shown to flag more images than which others, all pairs at once.

    McNemar's exact test of each pair, with Bonferroni's correction for the number of pairs.

    Parameters
    ----------
    only_one : [candidates, candidates], from `only`

    Returns
    -------
    bool [candidates, candidates], true at [i, j] where i flags more than j.
    """
    count, largest = len(only_one), int(only_one.max(initial=0))
    needed = _enough(2 * largest, (1 - confidence) / max(1, count * (count - 1) / 2))
    return (only_one > only_one.T) & (only_one >= needed[(only_one + only_one.T).astype(int)])


@lru_cache(maxsize=64)
def _enough(discordant: int, bound: float) -> np.ndarray:
    """Of 0, 1, ... discordant images, how many one candidate has to flag for McNemar's p <= bound.

    Returns
    -------
    float [discordant + 1]
    """
    return np.asarray(stats.binom.isf(bound / 2, np.arange(discordant + 1), 0.5)) + 1


def margins(
    scores: np.ndarray, draws: np.ndarray, flags: np.ndarray, confidence: float
) -> np.ndarray:
    """By how much a score has to differ for two candidates to be told apart, all pairs at once.

    The largest of all studentized differences in each resample gives one critical value for all
    pairs, as in Tukey's range test (Westfall and Young 1993, single-step maxT). The chance that
    *any* pair is told apart wrongly is 1 - confidence. Pairs with too few discordant images for an
    exact test to tell them apart take no part.

    Parameters
    ----------
    scores : float [candidates], such as macro-F1, on the images as they are
    draws : float [candidates, resamples], the same on resampled images
    flags : bool [candidates, n], for which images a candidate is right, or wrong

    Returns
    -------
    float [candidates, candidates], symmetric; infinite where no difference tells them apart.
    """
    result = np.full((len(scores), len(scores)), np.inf)
    discordant = only(flags)
    first, second = np.triu_indices(len(scores), 1)
    enough = np.maximum(discordant, discordant.T)[first, second] >= _FEWEST_DISCORDANT
    first, second = first[enough], second[enough]
    if len(first):
        errors, critical = _critical_value(draws, first, second, scores, confidence)
        result[first, second] = result[second, first] = critical * errors
    return result


def worse(scores: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Which candidates have a score that is lower by more than a margin.

    Parameters
    ----------
    scores : float [candidates]
    margin : float [candidates, candidates], from `margins`

    Returns
    -------
    bool [candidates, candidates], true at [i, j] where i is worse than j.
    """
    return scores[None, :] - scores[:, None] > margin


def _critical_value(
    draws: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    scores: np.ndarray,
    confidence: float,
) -> tuple[np.ndarray, float]:
    """The standard error of each pair's difference, and one critical value for all pairs.

    Parameters
    ----------
    draws : float [candidates, resamples]
    first, second : int [pairs], indices of candidates
    scores : float [candidates], on the images as they are
    """
    errors, largest = np.zeros(len(first)), np.zeros(draws.shape[1])
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        drawn = draws[i] - draws[j]
        errors[pair] = drawn.std()
        # Two collapsed networks differ alike in every resample, which is no error to divide by.
        if errors[pair] > _CONSTANT:
            studentized = np.abs(drawn - (scores[i] - scores[j])) / errors[pair]
            largest = np.maximum(largest, studentized)
    return errors, float(np.quantile(largest, confidence))
