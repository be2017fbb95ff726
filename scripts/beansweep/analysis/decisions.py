"""What candidates decide at their operating points: missed defects and rejected good images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from beansweep.analysis import comparisons, intervals, operating_point
from beansweep.analysis.image_set import ImageSet
from beansweep.analysis.operating_point import OperatingPoint
from beansweep.analysis.resampled_scores import ResampledScores

# Limits on missed defects that a reader may try, and the loosest of them.
_STEPS, _LOOSEST = 200, 0.5
# Bootstrap resamples that tell candidates apart in good images rejected.
_RESAMPLES = 500


def points(images: ImageSet, deploy: dict, confidence: float) -> list[OperatingPoint]:
    """The operating point of each candidate, from validation images.

    Parameters
    ----------
    deploy : max_missed_defect_rate and max_by_hand_rate, as in config.yaml
    confidence : of the limit
    """
    return [
        operating_point.find(
            scores,
            defects,
            deploy["max_missed_defect_rate"],
            deploy["max_by_hand_rate"],
            confidence,
        )
        for scores, defects in zip(images.scores, images.defect_scores, strict=True)
    ]


def missed(images: ImageSet, found: list[OperatingPoint]) -> np.ndarray:
    """Which defects are shipped, one a group of near-duplicates: bool [candidates, groups]."""
    thresholds = np.array([point.ship_below for point in found])
    return images.defect_scores < thresholds[:, None]


def rejected(images: ImageSet, found: list[OperatingPoint]) -> np.ndarray:
    """Which good images are rejected: bool [candidates, good images]."""
    thresholds = np.array([point.reject_from for point in found])
    return images.good_scores >= thresholds[:, None]


def figures(images: ImageSet, found: list[OperatingPoint], confidence: float) -> list[dict]:
    """How often each candidate misses a defect and rejects a good image, with Wilson's intervals.

    Returns
    -------
    A row a candidate, of counts and shares; NaN where there are no such images.
    """
    misses, rejects = missed(images, found), rejected(images, found)
    rows = []
    for index, point in enumerate(found):
        scores = images.scores[index]
        by_hand = (scores >= point.ship_below) & (scores < point.reject_from)
        row = {"defects": misses.shape[1], "good": rejects.shape[1]}
        row["by_hand_rate"] = float(by_hand.mean())
        for name, flags in (("missed_defect", misses[index]), ("rejected_good", rejects[index])):
            row |= _share(name, flags, confidence)
        rows.append(row)
    return rows


def _share(name: str, flags: np.ndarray, confidence: float) -> dict:
    """How many of some images are flagged, and their share with its interval."""
    count, total = int(flags.sum()), len(flags)
    low, high = intervals.share_interval(count, total, confidence) if total else (np.nan, np.nan)
    return {
        f"{name}_count": count,
        f"{name}_rate": count / total if total else np.nan,
        f"{name}_rate_low": low,
        f"{name}_rate_high": high,
    }


def vouched(found: pd.DataFrame, confidence: float) -> list[float]:
    """The share of defects missed that the validation images vouch for, for each candidate.

    One-sided and exact, so it is within the limit by construction where there are defects enough.

    Parameters
    ----------
    found : a row a candidate, of `figures` on the validation images
    """
    bounds = []
    for count, defects in zip(found["missed_defect_count"], found["defects"], strict=True):
        bound = operating_point.missed_bound(count, defects, confidence) if defects else np.nan
        bounds.append(bound)
    return bounds


def rejected_margins(
    images: ImageSet, found: Mapping[float | None, list[OperatingPoint]], confidence: float
) -> dict[float | None, np.ndarray]:
    """By how much shares of good images rejected have to differ to tell candidates apart.

    Good images and defects are resampled, and each resample has operating points of its own. A
    threshold that is lucky by a defect more rejects fewer good images and misses more defects, and
    that shows nothing of the network.

    Parameters
    ----------
    found : limit on the share of defects missed, None for no limit -> operating points with it

    Returns
    -------
    Limit -> float [candidates, candidates], see `comparisons.margins`
    """
    goods, defects = images.good_scores, images.defect_scores
    if not goods.shape[1]:
        return {limit: np.full((len(goods), len(goods)), np.inf) for limit in found}
    rng = np.random.default_rng(0)
    good_times, defect_times = _times(rng, goods.shape[1]), _times(rng, defects.shape[1])
    draws: dict[float | None, list[np.ndarray]] = {limit: [] for limit in found}
    for index in range(len(goods)):
        resampled = ResampledScores(goods[index], good_times)
        resampled_defects = ResampledScores(defects[index], defect_times)
        for limit, points in found.items():
            place = operating_point.place_of_threshold(defects.shape[1], limit, confidence)
            thresholds = np.full(_RESAMPLES, points[index].ship_below)
            if place is not None:
                thresholds = resampled_defects.order_statistic(place)
            # What goes to a person keeps its width.
            thresholds = thresholds + (points[index].reject_from - points[index].ship_below)
            draws[limit].append(1 - resampled.share_below(thresholds))
    margins = {}
    for limit, points in found.items():
        rejects = rejected(images, points)
        rates = rejects.mean(axis=1)
        margins[limit] = comparisons.margins(rates, np.stack(draws[limit]), rejects, confidence)
    return margins


def _times(rng: np.random.Generator, count: int) -> np.ndarray:
    """How often each of some images is in each resample: int [_RESAMPLES, count]."""
    if not count:
        return np.zeros((_RESAMPLES, 0), int)
    return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)


def limit_steps(defects: int, confidence: float, present: float | None) -> list[float]:
    """Limits on missed defects at which one more may be missed, rising, and the present one.

    Up to an even chance; of very many, _STEPS of them. They are rounded up, to hold as written.

    Parameters
    ----------
    defects : number of validation defects; near-duplicates count once
    present : the limit as it is set
    """
    count = np.arange(defects)
    bounds = stats.beta.ppf(confidence, count + 1, defects - count)
    bounds = np.unique(np.ceil(bounds[bounds <= _LOOSEST] * 1e4) / 1e4)
    if len(bounds) > _STEPS:
        bounds = bounds[np.linspace(0, len(bounds) - 1, _STEPS).astype(int)]
    return sorted({*bounds.tolist(), *([] if present is None else [present])})


def curve(good: np.ndarray, defects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of good images rejected against share of defects missed, over all thresholds.

    Parameters
    ----------
    good, defects : float [n], float [m] defect scores of one candidate

    Returns
    -------
    missed, rejected : float [thresholds], the first rising and the second falling
    """
    thresholds = np.unique(np.concatenate([defects, [np.inf]]))
    missed = np.searchsorted(np.sort(defects), thresholds, side="left") / len(defects)
    rejected = 1 - np.searchsorted(np.sort(good), thresholds, side="left") / len(good)
    return missed, rejected
