"""Paired comparisons of candidates on the same images."""

import math

import numpy as np
from scipy import stats

from beansweep.analysis.intervals import interval, largest_unseen_share

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
    `drop_low` and `drop_high`, the paired interval; `mcnemar_p`, exact and two-sided (Dietterich
    1998); `verdict`, *non-inferior* (the whole interval is below the margin), *inferior* (above
    it) or *undecided*; and `images_to_decide`, see there.
    """
    only_reference = int(np.sum((reference == true) & (other != true)))
    only_other = int(np.sum((reference != true) & (other == true)))
    low, high = map(float, interval(drop_draws, confidence))
    if np.array_equal(reference, other):
        high = largest_unseen_share(len(true), confidence)
        low = -high
    verdict = "non-inferior" if high < margin else "inferior" if low > margin else "undecided"
    return {
        "drop_low": low,
        "drop_high": high,
        "mcnemar_p": mcnemar(only_reference, only_other),
        "verdict": verdict,
        "images_to_decide": images_to_decide(len(true), drop, low, high, margin),
    }


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


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of McNemar's test from the two counts of discordant images."""
    return float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def beaten(
    scores: np.ndarray, draws: np.ndarray, right: np.ndarray, confidence: float
) -> np.ndarray:
    """Which candidates a set of images shows to be worse than which others, all pairs at once.

    The largest of all studentized differences in each resample gives one critical value for all
    pairs, as in Tukey's range test (Westfall and Young 1993, single-step maxT). The chance that
    *any* pair is told apart wrongly is 1 - confidence. Pairs with too few discordant images for an
    exact test to tell them apart take no part.

    Parameters
    ----------
    scores : float [candidates], macro-F1 on the images as they are
    draws : float [candidates, resamples], macro-F1 on resampled images
    right : bool [candidates, n], which candidate predicts which image right

    Returns
    -------
    bool [candidates, candidates], true at [i, j] where j is better than i.
    """
    count = len(scores)
    result = np.zeros((count, count), bool)
    only = right.astype(np.int32) @ (~right).astype(np.int32).T
    first, second = np.triu_indices(count, 1)
    enough = np.maximum(only, only.T)[first, second] >= _FEWEST_DISCORDANT
    first, second = first[enough], second[enough]
    if not len(first):
        return result
    differences = scores[first] - scores[second]
    errors, critical = _critical_value(draws, first, second, differences, confidence)
    apart = np.abs(differences) > critical * errors
    worse = np.where(differences > 0, second, first)
    better = np.where(differences > 0, first, second)
    result[worse[apart], better[apart]] = True
    return result


def _critical_value(
    draws: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    differences: np.ndarray,
    confidence: float,
) -> tuple[np.ndarray, float]:
    """The standard error of each pair's difference, and one critical value for all pairs.

    Parameters
    ----------
    draws : float [candidates, resamples]
    first, second : int [pairs], indices of candidates
    differences : float [pairs], on the images as they are
    """
    errors, largest = np.zeros(len(first)), np.zeros(draws.shape[1])
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        drawn = draws[i] - draws[j]
        errors[pair] = drawn.std()
        # Two collapsed networks differ alike in every resample, which is no error to divide by.
        if errors[pair] > _CONSTANT:
            studentized = np.abs(drawn - differences[pair]) / errors[pair]
            largest = np.maximum(largest, studentized)
    return errors, float(np.quantile(largest, confidence))


def misses_more(missed: np.ndarray, confidence: float) -> np.ndarray:
    """Which candidates a set of defects shows to miss more than which others, all pairs at once.

    McNemar's exact test of each pair, with Bonferroni's correction for the number of pairs.

    Parameters
    ----------
    missed : bool [candidates, defects]

    Returns
    -------
    bool [candidates, candidates], true at [i, j] where i misses more than j.
    """
    count = len(missed)
    result = np.zeros((count, count), bool)
    only = missed.astype(np.int32) @ (~missed).astype(np.int32).T
    bound = (1 - confidence) / max(1, count * (count - 1) / 2)
    for i, j in zip(*np.nonzero(only > only.T), strict=True):
        result[i, j] = mcnemar(int(only[i, j]), int(only[j, i])) < bound
    return result
