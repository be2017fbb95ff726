"""The Pareto front."""

import numpy as np


def dominators(gain: np.ndarray, cost: np.ndarray) -> list[list[int]]:
    """For each candidate, the candidates that dominate it.

    A candidate dominates another where it is no worse in both figures and better in one.

    Parameters
    ----------
    gain : float [n], the more the better
    cost : float [n], the less the better

    Returns
    -------
    Lists of indices; an empty list marks a member of the front (Pareto optimal).
    """
    no_worse = (gain[None] >= gain[:, None]) & (cost[None] <= cost[:, None])
    better = (gain[None] > gain[:, None]) | (cost[None] < cost[:, None])
    return [np.flatnonzero(row).tolist() for row in no_worse & better]
