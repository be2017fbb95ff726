"""Paired comparisons of candidates on the same images."""

import math

import numpy as np
from scipy import stats

from beansweep.analysis.intervals import interval, unseen

# An exact McNemar test of fewer one-way discordant images never reaches p < 0.05.
_FEWEST_DISCORDANT = 6


def paired(
    true: np.ndarray,
    reference: np.ndarray,
    other: np.ndarray,
    lost: np.ndarray,
    loss: float,
    confidence: float,
    margin: float,
) -> dict:
    """Whether a candidate is worse than a reference on the same images.

    Parameters
    ----------
    true, reference, other : int [n] class indices: the truth and both predictions
    lost : float [RESAMPLES], draws of the reference's macro-F1 less the other's
    loss : the same on the images as they are
    margin : macro-F1 that may be lost

    Returns
    -------
    `drop_low` and `drop_high`, the paired interval; `mcnemar_p`, exact and two-sided (Dietterich
    1998); `verdict`, *non-inferior* (the whole interval is below the margin), *inferior* (above
    it) or *undecided*; and `images_to_decide`, about how many more images would decide it, were
    the loss as it is here (NaN where that is decided, infinite where the loss is the margin).
    """
    only_reference = int(np.sum((reference == true) & (other != true)))
    only_other = int(np.sum((reference != true) & (other == true)))
    low, high = interval(lost, confidence)
    if np.array_equal(reference, other):
        high = unseen(len(true), confidence)
        low = -high
    verdict = "non-inferior" if high < margin else "inferior" if low > margin else "undecided"
    more = math.nan
    if verdict == "undecided":
        # An interval shrinks with the root of the number of images.
        away = abs(margin - loss)
        reach = high - loss if loss < margin else loss - low
        more = len(true) * ((reach / away) ** 2 - 1) if away else math.inf
    return {
        "drop_low": float(low),
        "drop_high": float(high),
        "mcnemar_p": mcnemar(only_reference, only_other),
        "verdict": verdict,
        "images_to_decide": more,
    }


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of McNemar's test from the two counts of discordant images."""
    return float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def beaten(
    scores: np.ndarray, draws: np.ndarray, right: np.ndarray, confidence: float
) -> np.ndarray:
    """Which candidates a set of images shows to be worse than which others, all pairs at once.

    The largest of all studentized differences in each resample gives one critical value for all
    pairs, as in Tukey's range test (Westfall and Young 1993, single-step maxT): that *any* pair is
    told apart wrongly has a chance of 1 - confidence. Pairs with too few discordant images for an
    exact test to tell them apart take no part.

    Parameters
    ----------
    scores : float [candidates] on the images as they are
    draws : float [candidates, resamples]
    right : bool [candidates, n], whose prediction of which image is right

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
    difference = scores[first] - scores[second]
    largest, errors = np.zeros(draws.shape[1]), []
    for i, j, seen in zip(first, second, difference, strict=True):
        drawn = draws[i] - draws[j]
        errors.append(drawn.std())
        largest = np.maximum(largest, np.abs(drawn - seen) / errors[-1])
    critical = np.quantile(largest, confidence)
    apart = np.abs(difference) > critical * np.array(errors)
    better_first = difference > 0
    result[
        np.where(better_first, second, first)[apart], np.where(better_first, first, second)[apart]
    ] = True
    return result


def misses_more(missed: np.ndarray, confidence: float) -> np.ndarray:
    """Which candidates a set of defects shows to miss more of them than which others, all pairs at once.

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
