"""The pick: exact rules over a table with one row a candidate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from beansweep.analysis import limits


def barred(candidates: pd.DataFrame) -> list[str]:
    """Why each candidate is never picked, whatever the limits; empty where it may be picked.

    A baseline is there for comparison, and times of another machine cannot be ranked. A candidate
    that another one beats is barred too: the other one is no worse in every objective and better in
    one, and no image set shows it to be worse in anything. Limits that only the beaten candidate
    keeps are then kept by chance.
    """
    rivals = candidates[~candidates["baseline"] & ~candidates["timed_elsewhere"]]
    return [_why_barred(row, rivals) for _, row in candidates.iterrows()]


def _why_barred(row: pd.Series, rivals: pd.DataFrame) -> str:
    """Why one candidate is never picked; empty where it may be picked."""
    if row["baseline"]:
        return "a baseline"
    if row["timed_elsewhere"]:
        return f"timed on another machine ({row['timed_on']})"
    gains = pd.DataFrame(index=rivals.index)
    for goal in limits.OBJECTIVES:
        gains[goal.key] = goal.direction * (rivals[goal.column] - row[goal.column])
    better = rivals[(gains >= 0).all(axis=1) & (gains > 0).any(axis=1)]
    for name, rival in better.iterrows():
        if row.name not in rival["val_beaten_by"] and row.name not in rival["val_misses_more_than"]:
            return f"beaten by {name}"
    return ""


def unbeaten(candidates: pd.DataFrame, deploy: dict) -> pd.DataFrame:
    """The candidates that may be picked: they keep every limit and none of them is worse.

    They are not `barred`, and the validation images do not show another candidate that may be
    deployed to be better in macro-F1 (column `val_beaten_by`, lists of index labels).
    """
    allowed = candidates[
        limits.satisfied(candidates, deploy).all(axis=1) & (candidates["barred"] == "")
    ]
    not_worse = [set(allowed.index).isdisjoint(by) for by in allowed["val_beaten_by"]]
    # An empty list would select columns.
    return allowed[np.array(not_worse, bool)]


def finalists(candidates: pd.DataFrame, deploy: dict) -> list:
    """Index labels of the candidates that could be the pick, and are worth timing together.

    They are those of `unbeaten` that could have the lowest p50 by its interval, and the next one.
    """
    among = unbeaten(candidates, deploy).sort_values("p50_ms", kind="stable")
    could_be_fastest = among["p50_low_ms"] <= among["p50_high_ms"].min()
    return [*among.index[could_be_fastest], *among.index[~could_be_fastest][:1]]


def choose(candidates: pd.DataFrame, deploy: dict):
    """The pick: index label of the best of `unbeaten` by the objective, or None.

    The validation images cannot tell these candidates apart, so the objective decides. Of several
    with the same value the other objectives decide, in the order of their table.

    Returns
    -------
    None where no candidate may be deployed.
    """
    among = unbeaten(candidates, deploy)
    if among.empty:
        return None
    order = pd.DataFrame(index=among.index)
    for place, goal in enumerate([limits.objective(deploy), *limits.OBJECTIVES]):
        order[place] = -goal.direction * among[goal.column]
    return order.sort_values(list(order), kind="stable").index[0]


def tied(candidates: pd.DataFrame, deploy: dict) -> list:
    """Index labels of the candidates of `unbeaten` that tie with the pick in the objective.

    For p50 these are the candidates that are not shown to be slower. Of finalists, which were timed
    together, the interval of the ratio to the pick says so. Of other variants of one backbone,
    which were timed interleaved, it is the interval of the speed-up over FP32, and else the
    interval of the p50. For macro-F1 all of `unbeaten` tie. Sizes are exact.
    """
    chosen = candidates.loc[choose(candidates, deploy)]
    among = unbeaten(candidates, deploy)
    if deploy["objective"] == "p50_ms":
        interleaved = (among["backbone"] == chosen["backbone"]) & among["speedup_low"].notna()
        by_speedup = among["speedup_high"] >= chosen["speedup_low"]
        by_p50 = among["p50_low_ms"] <= chosen["p50_high_ms"]
        by_ratio = pd.Series([chosen.name not in by for by in among["p50_beaten_by"]], among.index)
        together = among["timed_together"] & chosen["timed_together"]
        among = among[by_ratio.where(together, by_speedup.where(interleaved, by_p50))]
    elif deploy["objective"] == "megabytes":
        among = among[among["megabytes"] == chosen["megabytes"]]
    return [label for label in among.index if label != chosen.name]


def nearest(candidates: pd.DataFrame, deploy: dict) -> tuple[object, dict[str, float]]:
    """The candidate that misses the limits by the least, where none may be deployed.

    What counts is the limit that a candidate misses by the most. The distance is in the unit of
    the figure, or a share of the limit for a `relative` limit. Barred candidates take no part.

    Returns
    -------
    Index label, and config key -> signed distance from the limit, for each limit that it breaks.
    """
    candidates = candidates[candidates["barred"] == ""]
    excess = pd.DataFrame(index=candidates.index)
    for limit in limits.limits_set(deploy):
        distance = limit.direction * (deploy[limit.key] - candidates[limit.column])
        unit = max(deploy[limit.key], 1e-9) if limit.relative else 1
        excess[limit.key] = distance.clip(lower=0) / unit
    label = excess.max(axis=1).idxmin()
    broken = {}
    for limit in limits.limits_set(deploy):
        if excess.loc[label, limit.key] > 0:
            broken[limit.key] = float(candidates.loc[label, limit.column] - deploy[limit.key])
    return label, broken


@dataclass
class Change:
    """A change of one limit that changes the pick.

    Attributes
    ----------
    limit : the limit that changes
    value : its new value; where `tighter`, just beyond the value of the candidate that it excludes
    label : index label of the new pick; None where no candidate may be deployed
    tighter : whether the new value allows less than the present one
    """

    limit: limits.Limit
    value: float
    label: object
    tighter: bool


def what_would_change(candidates: pd.DataFrame, deploy: dict) -> list[Change]:
    """For each limit, the nearest tighter and the nearest looser value with another pick."""
    chosen = choose(candidates, deploy)
    changes = []
    for limit in limits.LIMITS:
        looser, tighter = _other_values(candidates, deploy, limit)
        for values, is_tighter in ((looser, False), (tighter, True)):
            for value in map(float, values):
                label = choose(candidates, {**deploy, limit.key: value})
                if label != chosen:
                    changes.append(Change(limit, value, label, is_tighter))
                    break
    return changes


def _other_values(
    candidates: pd.DataFrame, deploy: dict, limit: limits.Limit
) -> tuple[np.ndarray, np.ndarray]:
    """Values of a limit that admit one candidate more, and that admit one less, nearest first."""
    direction = limit.direction
    values = np.unique(candidates[limit.column])
    present = deploy[limit.key] if deploy[limit.key] is not None else -direction * np.inf
    looser = values[direction * values < direction * present]
    # A limit at a candidate's value admits it; just beyond the value excludes it.
    beyond = values[direction * values >= direction * present]
    tighter = np.nextafter(beyond, direction * np.inf)
    return looser[np.argsort(-direction * looser)], tighter[np.argsort(direction * tighter)]
