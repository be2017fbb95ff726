"""The operating point of a candidate: below which defect score an image is shipped.

A sorting line ships or rejects. The defect score of an image is the sum of its probabilities of
defect classes, and an image is shipped where it is below a threshold.

The threshold comes from order statistics (Wilks 1941). Of n defects, the k-th lowest score is below
a share of all defects that has a Beta(k, n - k + 1) distribution, whatever the distribution of
scores is. So the k with P(share <= limit) >= confidence vouches for the limit; it is the same bound
as that of Clopper and Pearson (1934) for k - 1 defects missed of n. The one assumption is that new
images are exchangeable with these. Scores that tie only make it safer.
"""

import decimal
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

# Without a limit on missed defects, an image is shipped where a good class is likelier.
_EVEN = 0.5
# Above every score: the sum of all probabilities is 1 but for rounding.
ABOVE_ALL = 2.0
# Significant digits of a threshold: what is written in decimals is what is compared.
_DIGITS = decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR)


@dataclass(frozen=True)
class OperatingPoint:
    """Two thresholds of the defect score.

    Attributes
    ----------
    ship_below : an image with a lower score is shipped
    reject_from : an image with this score or more is rejected; between the two, a person decides.
        Equal to `ship_below` where nothing goes to a person
    """

    ship_below: float
    reject_from: float


# Where no class is a defect, nothing is shipped or rejected.
NONE = OperatingPoint(math.nan, math.nan)


def defect_scores(probabilities: np.ndarray, is_defect: np.ndarray) -> np.ndarray:
    """Sum of the probabilities of defect classes.

    It is added class by class in double precision, so that every machine gets the same sum.

    Parameters
    ----------
    probabilities : float [..., classes]
    is_defect : bool [classes]

    Returns
    -------
    float64 [...]
    """
    scores = np.zeros(probabilities.shape[:-1])
    for index in np.flatnonzero(is_defect):
        # A table of predictions holds the decimals of float32 numbers.
        scores += probabilities[..., index].astype(np.float32)
    return scores


@lru_cache(maxsize=1024)
def allowed_misses(defects: int, limit: float, confidence: float) -> int:
    """How many of so many defects may be missed, so that they vouch for a limit.

    Parameters
    ----------
    defects : number of validation defects; near-duplicates count once
    limit : on the share of defects that are missed
    confidence : with which the share of all defects has to be within the limit

    Returns
    -------
    -1 where even none missed does not vouch for the limit.
    """
    missed = np.arange(defects)
    vouched = np.asarray(stats.beta.cdf(limit, missed + 1, defects - missed)) >= confidence
    # The chance falls as more may be missed.
    return int(vouched.sum()) - 1


def place_of_threshold(defects: int, limit: float | None, confidence: float) -> int | None:
    """Which of the defect scores, from the lowest at 0, is the largest threshold within a limit.

    Where the defects cannot vouch for the limit it is the lowest score: none of them is missed.

    Returns
    -------
    None where there is no limit, or no defect to find a threshold by.
    """
    if limit is None or not defects:
        return None
    return max(0, allowed_misses(defects, limit, confidence))


def missed_bound(missed: int, defects: int, confidence: float) -> float:
    """The largest share of defects missed that so many of so many are compatible with.

    One-sided and exact (Clopper and Pearson 1934); 1 where there are no defects.
    """
    if missed >= defects:
        return 1.0
    return float(stats.beta.ppf(confidence, missed + 1, defects - missed))


def defects_needed(limit: float, confidence: float) -> int | None:
    """The fewest defects that can vouch for a limit, with none of them missed; None for limit 0."""
    if limit <= 0:
        return None
    return 1 if limit >= 1 else math.ceil(math.log(1 - confidence) / math.log(1 - limit))


def group_scores(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The lowest score of each group of near-duplicates, which are one observation.

    Parameters
    ----------
    scores : float [..., n]
    group : int [n] number of each image's group

    Returns
    -------
    float [..., groups]
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    if not len(starts):
        return scores[..., :0]
    return np.minimum.reduceat(scores[..., order], starts, axis=-1)


def find(
    scores: np.ndarray,
    defects: np.ndarray,
    limit: float | None,
    by_hand: float,
    confidence: float,
) -> OperatingPoint:
    """The operating point that rejects the fewest good images within a limit.

    Parameters
    ----------
    scores : float [n] defect scores of all validation images
    defects : float [groups] defect scores of the defects among them, one a group of near-duplicates
    limit : on the share of defects missed; None for no limit
    by_hand : share of images that may go to a person
    confidence : of the limit
    """
    ship_below, place = _EVEN, place_of_threshold(len(defects), limit, confidence)
    if place is not None:
        ship_below = rounded_down(float(np.sort(defects)[place]))
    return OperatingPoint(ship_below, _reject_from(scores, ship_below, by_hand))


def _reject_from(scores: np.ndarray, ship_below: float, by_hand: float) -> float:
    """Up to which score images go to a person: the most doubtful of those that are not shipped."""
    above = np.sort(scores[scores >= ship_below])
    allowed = math.floor(by_hand * len(scores) + 1e-9)
    if not allowed or not len(above):
        return ship_below
    if allowed >= len(above):
        return ABOVE_ALL
    return max(ship_below, rounded_down(float(above[allowed])))


def rounded_down(score: float) -> float:
    """A score with fewer digits and not above it, so that its decimals are exact in every file."""
    return float(_DIGITS.create_decimal_from_float(score))
