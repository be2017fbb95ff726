"""What a sample of images can tell, and what it cannot: intervals, paired comparisons, ties.

All figures of a set of images come from one stratified bootstrap, class by class, in which every
candidate is judged on the same resampled images (Efron and Tibshirani 1993, chapters 13 and 8).
Shares, such as a recall, have Wilson's interval instead: a bootstrap of 0 mistakes in 20 images
would claim to know that there are none.
"""

import math

import numpy as np
from scipy import stats

RESAMPLES = 2000
# Resamples in memory at a time.
_BLOCK = 200
# An exact McNemar test of fewer one-way discordant images never reaches p < 0.05.
_FEWEST_DISCORDANT = 6


def macro_f1_draws(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Macro-F1 of several candidates on the same resampled sets of images.

    Parameters
    ----------
    true : int [n] class indices
    predicted : int [candidates, n]

    Returns
    -------
    float [candidates, RESAMPLES]
    """
    rng = np.random.default_rng(0)
    strata = [np.flatnonzero(true == label) for label in np.unique(true)]
    count = np.bincount(true, minlength=classes)
    as_class = predicted[..., None] == np.arange(classes)
    hit = as_class & (true[:, None] == np.arange(classes))
    # One matrix product gives every candidate's predictions and hits of each class: [n, 2 * candidates * classes].
    marks = np.stack([as_class, hit]).transpose(2, 0, 1, 3).reshape(len(true), -1).astype(np.float32)
    draws = []
    for _ in range(0, RESAMPLES, _BLOCK):
        weights = np.zeros((_BLOCK, len(true)), np.float32)
        for stratum in strata:
            chosen = rng.integers(len(stratum), size=(_BLOCK, len(stratum)))
            for row, indices in zip(weights, chosen, strict=True):
                row[stratum] = np.bincount(indices, minlength=len(stratum))
        found, hits = (weights @ marks).reshape(_BLOCK, 2, len(predicted), classes).transpose(1, 2, 0, 3)
        draws.append((2 * hits / np.maximum(found + count, 1)).mean(axis=-1))
    return np.concatenate(draws, axis=1)


def interval(draws: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the percentile interval of draws along the last axis."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=-1)
    return low, high


def macro_f1_interval(draws: np.ndarray, mistakes: int, images: int, confidence: float) -> tuple[float, float]:
    """Interval of one candidate's macro-F1.

    Where there is no mistake to resample, the lower end is that of the accuracy (Clopper and
    Pearson 1934).
    """
    low, high = interval(draws, confidence)
    return float(low if mistakes else 1 - unseen(images, confidence)), float(high)


def unseen(images: int, confidence: float) -> float:
    """The largest share that something not seen once in so many images may have (exact, one-sided)."""
    return float(stats.binomtest(0, images).proportion_ci(2 * confidence - 1, method="exact").high)


def share_interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); everything where there is nothing to share."""
    if not total:
        return 0.0, 1.0
    found = stats.binomtest(count, total).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def paired(true: np.ndarray, reference: np.ndarray, other: np.ndarray, lost: np.ndarray, loss: float,
           confidence: float, margin: float) -> dict:
    """Whether a candidate is worse than a reference on the same images.

    Parameters
    ----------
    true, reference, other : int [n] class indices: the truth and both predictions
    lost : float [RESAMPLES], draws of the reference's macro-F1 less the other's
    loss : the same on the images as they are
    margin : macro-F1 that may be lost

    Returns
    -------
    `loss_low` and `loss_high`, the paired interval; `mcnemar_p`, exact and two-sided (Dietterich
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
    return {"loss_low": float(low), "loss_high": float(high), "mcnemar_p": mcnemar(only_reference, only_other),
            "verdict": verdict, "images_to_decide": more}


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of McNemar's test from the two counts of discordant images."""
    return float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def beaten(scores: np.ndarray, draws: np.ndarray, right: np.ndarray, confidence: float) -> np.ndarray:
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
    result[np.where(better_first, second, first)[apart], np.where(better_first, first, second)[apart]] = True
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


def mean_interval(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Mean of independent repetitions and Student's interval of it; infinite from one repetition alone."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -math.inf, math.inf
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - reach, mean + reach
