"""Scores of a set of images in many resamples: order statistics and shares below a threshold."""

import numpy as np


class ResampledScores:
    """One candidate's scores in bootstrap resamples, sorted and counted once.

    Parameters
    ----------
    scores : float [n]
    times : int [resamples, n], how often each image is in each resample; n in all
    """

    def __init__(self, scores: np.ndarray, times: np.ndarray):
        order = np.argsort(scores)
        self._sorted = scores[order]
        below = np.zeros((len(times), len(scores) + 1), int)
        np.cumsum(times[:, order], axis=1, out=below[:, 1:])
        # Each resample counts on from the one before, so that all are one sorted list.
        self._starts = np.arange(len(times)) * (len(scores) + 1)
        self._below = (below + self._starts[:, None]).ravel()

    def order_statistic(self, place: int) -> np.ndarray:
        """The score at a place in the order of each resample, the lowest at 0: [resamples]."""
        found = np.searchsorted(self._below, self._starts + place, side="right")
        return self._sorted[found - self._starts - 1]

    def share_below(self, thresholds: np.ndarray) -> np.ndarray:
        """The share of each resample that is below its threshold, both float [resamples]."""
        places = np.searchsorted(self._sorted, thresholds)
        return (self._below[self._starts + places] - self._starts) / len(self._sorted)
