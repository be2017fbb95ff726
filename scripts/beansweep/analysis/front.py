"""The Pareto front."""

import numpy as np


def dominators(gain: np.ndarray, cost: np.ndarray) -> list[list[int]]:
    """For each candidate, those that dominate it: no worse in both figures, better in one.

    Parameters
    ----------
    gain : [n], the more the better
    cost : [n], the less the better

    Returns
    -------
    Lists of indices; an empty list marks a member of the front (Pareto optimal).
    """
    no_worse = (gain[None] >= gain[:, None]) & (cost[None] <= cost[:, None])
    better = (gain[None] > gain[:, None]) | (cost[None] < cost[:, None])
    return [np.flatnonzero(row).tolist() for row in no_worse & better]
