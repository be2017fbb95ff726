"""How stable the pick is: how often the same file is picked from resampled validation images.

Each resample is a stratified bootstrap resample, class by class. Operating points, decisions,
comparisons and the pick are made from it as from the validation images. Latencies stay as they are,
and intervals keep their width.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from beansweep.analysis import comparisons, decisions, intervals, pick, standing
from beansweep.analysis.candidates import Candidates
from beansweep.analysis.image_set import ImageSet
from beansweep.analysis.standing import Standing

RESAMPLES = 1000
# The name of a resample in which no candidate may be deployed.
NOTHING = ""


def picks(candidates: Candidates) -> pd.Series:
    """The name of the pick in each resample; NOTHING where there is none: str [RESAMPLES]."""
    names = candidates.table.index
    found = []
    for resampled in itertools.islice(_resampled(candidates), RESAMPLES):
        place = pick.best(resampled, candidates.deploy)
        found.append(NOTHING if place is None else names[place])
    return pd.Series(found, dtype=str)


def shares(names: pd.Series, table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """In which share of the resamples each candidate, and each backbone, is picked.

    Parameters
    ----------
    names : from `picks`
    table : of candidates

    Returns
    -------
    By candidate and by backbone, the most frequent first; NOTHING is among both.
    """
    backbones = names.map({**table["backbone"], NOTHING: NOTHING})
    return names.value_counts(normalize=True), backbones.value_counts(normalize=True)


def _resampled(candidates: Candidates) -> Iterator[Standing]:
    """The candidates as each resample of the validation images shows them."""
    images, confidence = candidates.images["val"], candidates.report["confidence"]
    known = standing.of(candidates.table)
    draws = intervals.macro_f1_draws(images.true, images.predicted, len(images.labels))
    scores = known.figures["val_macro_f1"]
    right = images.predicted == images.true
    margin = comparisons.margins(scores, draws, right, confidence)
    points = decisions.points(images, candidates.deploy, confidence)
    limit = candidates.deploy["max_missed_defect_rate"]
    rejected_margin = decisions.rejected_margins(images, {limit: points}, confidence)[limit]
    blocks = intervals.resamples(images.true)
    for drawn, weights in zip(draws.T, itertools.chain.from_iterable(blocks), strict=True):
        figures = dict(known.figures)
        _shift(figures, "val_macro_f1", drawn)
        worse = {"val_beaten_by": comparisons.worse(drawn, margin)}
        resample = images.repeat(weights.astype(int))
        worse |= _decide(candidates, resample, figures, rejected_margin)
        yield Standing(figures, worse, known.eligible, known.portable)


def _decide(
    candidates: Candidates, images: ImageSet, figures: dict, margin: np.ndarray
) -> dict[str, np.ndarray]:
    """Decide as a resample says: set the share of good images rejected, and compare.

    Parameters
    ----------
    images : the resample
    figures : changed in place, as in `Standing`
    margin : see `decisions.rejected_margins`
    """
    confidence = candidates.report["confidence"]
    points = decisions.points(images, candidates.deploy, confidence)
    rejected, missed = decisions.rejected(images, points), decisions.missed(images, points)
    rates = np.zeros(len(points))
    if rejected.shape[1]:
        rates = rejected.mean(axis=1)
        _shift(figures, "val_rejected_good_rate", rates)
    return {
        "val_misses_more_than": comparisons.more_often(comparisons.only(missed), confidence),
        "val_rejects_more_than": comparisons.worse(-rates, margin),
    }


def _shift(figures: dict, column: str, values: np.ndarray) -> None:
    """Put a figure at the values of a resample, with both ends of its interval."""
    for end in ("_low", "_high"):
        figures[column + end] = figures[column + end] + values - figures[column]
    figures[column] = values
