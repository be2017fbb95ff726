"""The pick: exact rules over candidates.

Four rules, in this order. (1) A baseline is never picked, nor what was timed on
another machine, nor a file that predicts otherwise on another instruction set, unless no other
qualifies. (2) Every limit is kept, see
`limits.satisfied`. (3) Never picked is a candidate that another one beats: one that keeps every
limit too, no worse in p50, in good images rejected and in the objective, better in p50 or the
objective, and not shown to be worse in anything. (4) Of the rest, those that are shown to reject
more good images than another are out, and the objective decides among the others: the images cannot
tell these apart.

Where no class is good, nothing is rejected, and macro-F1 takes the place of good images rejected.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from beansweep.analysis import limits, standing
from beansweep.analysis.limits import MACRO_F1, P50, REJECTED_GOOD, Limit, Objective
from beansweep.analysis.standing import Standing

# An interval of p50 that ends beyond so many times its estimate tells nothing.
_USELESS = 10
# The obstacle of the first rule, but for baselines.
NOT_PORTABLE = "predicts otherwise on another instruction set"
# The table of candidates under another limit on missed defects, or share by hand, which moves
# every threshold.
Decide = Callable[[dict], pd.DataFrame]


def quality(known: Standing) -> tuple[Objective, str]:
    """What candidates are compared in, and the column of those that are shown to be better in it.

    It is good images rejected; macro-F1 where no class is good.
    """
    if np.isnan(known.figures.get(REJECTED_GOOD.column, np.nan)).all():
        return MACRO_F1, "val_beaten_by"
    return REJECTED_GOOD, "val_rejects_more_than"


def beaten_by(known: Standing, deploy: dict, rivals: np.ndarray) -> np.ndarray:
    """Which candidate each rival beats, by the third rule.

    Fewer good images rejected do not suffice: of two that take as long, such as a variant and the
    one that is trained from it, other images would have the other one reject fewer.

    Parameters
    ----------
    rivals : bool [candidates], those that may beat another one

    Returns
    -------
    bool [candidates, candidates], true at [i, j] where j beats i.
    """
    objective = limits.objective(deploy)
    no_worse = np.ones((len(rivals), len(rivals)), bool)
    better = ~no_worse
    for goal in (P50, quality(known)[0], objective):
        values = goal.direction * known.figures[goal.column]
        gain = values[None, :] - values[:, None]
        no_worse &= gain >= 0
        if goal in (P50, objective):
            better |= gain > 0
    shown_worse = np.zeros_like(better)
    for matrix in known.worse.values():
        shown_worse |= matrix.T
    return no_worse & better & ~shown_worse & rivals


def _pools(known: Standing) -> list[np.ndarray]:
    """By the first rule: the candidates to pick from, and those where none of them qualifies."""
    return [known.eligible & known.portable, known.eligible]


def _qualified(known: Standing, deploy: dict, pool: np.ndarray) -> np.ndarray:
    """Which candidates of a pool all rules leave: bool [candidates]."""
    keeps_all = np.logical_and.reduce([pool, *limits.satisfied(known, deploy).values()])
    left = keeps_all & ~beaten_by(known, deploy, keeps_all).any(axis=1)
    shown_worse = known.worse[quality(known)[1]][:, left].any(axis=1)
    return left & ~shown_worse


def qualified(known: Standing, deploy: dict) -> np.ndarray:
    """Which candidates may be picked: bool [candidates]."""
    found = np.zeros(len(known.eligible), bool)
    for pool in _pools(known):
        found = _qualified(known, deploy, pool)
        if found.any():
            break
    return found


def could_qualify(known: Standing, deploy: dict) -> np.ndarray:
    """Which candidates may be picked, or might be if their p50 were at the end of its interval.

    A p50 that is higher by noise alone lets another candidate beat one.

    Returns
    -------
    bool [candidates]
    """
    found, lowest = qualified(known, deploy), known.figures["p50_low_ms"]
    # One process alone gives no interval.
    for place in np.flatnonzero(~found & known.eligible & ~np.isnan(lowest)):
        p50 = known.figures["p50_ms"].copy()
        p50[place] = lowest[place]
        faster = replace(known, figures={**known.figures, "p50_ms": p50})
        found[place] = qualified(faster, deploy)[place]
    return found


def best(known: Standing, deploy: dict) -> int | None:
    """Position of the pick; None where no candidate may be deployed.

    Of several with the same value of the objective the other objectives decide, in the order of
    their table.
    """
    among = np.flatnonzero(qualified(known, deploy))
    if not len(among):
        return None
    keys = []
    for goal in (limits.objective(deploy), *limits.OBJECTIVES):
        if goal.column in known.figures:
            keys.append(-goal.direction * known.figures[goal.column][among])
    # The last key is the first to sort by.
    return int(among[np.lexsort(keys[::-1])[0]])


def choose(candidates: pd.DataFrame, deploy: dict):
    """Index label of the pick; None where no candidate may be deployed."""
    place = best(standing.of(candidates), deploy)
    return None if place is None else candidates.index[place]


def finalists(candidates: pd.DataFrame, deploy: dict) -> list:
    """Index labels of the candidates that could be the pick, and are worth timing together.

    They are those that might qualify and could have the lowest p50, both by its interval, and the
    next one.
    """
    among = candidates[could_qualify(standing.of(candidates), deploy)]
    among = among.sort_values("p50_ms", kind="stable")
    could_be_fastest = among["p50_low_ms"] <= among["p50_high_ms"].min()
    return [*among.index[could_be_fastest], *among.index[~could_be_fastest][:1]]


def obstacles(candidates: pd.DataFrame, deploy: dict) -> pd.Series:
    """Why each candidate may not be picked, in words; empty where it may be.

    Returns
    -------
    str, a row a candidate: the keys of the limits that it breaks, or the rule that leaves it out.
    """
    known = standing.of(candidates)
    found = qualified(known, deploy)
    kept = limits.satisfied(known, deploy)
    pool = next((pool for pool in _pools(known) if (pool & found).any()), known.eligible)
    beaten = beaten_by(known, deploy, np.logical_and.reduce([pool, *kept.values()]))
    goal, column = quality(known)
    never, words = standing.never_picked(candidates), []
    for place in range(len(candidates)):
        if found[place]:
            words.append("")
            continue
        reasons = [key for key, values in kept.items() if not values[place]]
        if never.iloc[place]:
            reasons.append(never.iloc[place])
        elif not pool[place]:
            reasons.append(NOT_PORTABLE)
        elif beaten[place].any():
            reasons.append(f"beaten by {candidates.index[beaten[place].argmax()]}")
        elif not reasons:
            better = np.flatnonzero(known.worse[column][place] & found)
            others = better if len(better) else np.flatnonzero(known.worse[column][place])
            reasons.append(f"shown to be worse in {goal.name} than {candidates.index[others[0]]}")
        words.append(", ".join(reasons))
    return pd.Series(words, candidates.index)


def tied(candidates: pd.DataFrame, deploy: dict) -> list:
    """Index labels of the candidates that tie with the pick in the objective.

    For p50 these are the candidates that are not shown to be slower. Of finalists, which were timed
    together, the interval of the ratio to the pick says so. Of other variants of one backbone,
    which were timed interleaved, it is the interval of the speed-up over FP32, and else the
    interval of the p50. Of estimates all that qualify tie. Sizes are exact.
    """
    chosen = candidates.loc[choose(candidates, deploy)]
    known = standing.of(candidates)
    among = candidates[qualified(known, deploy)]
    if deploy["objective"] == "p50_ms":
        among = candidates[could_qualify(known, deploy)]
        interleaved = (among["backbone"] == chosen["backbone"]) & among["speedup_low"].notna()
        by_speedup = among["speedup_high"] >= chosen["speedup_low"]
        # One process alone gives no interval, and tells nothing apart.
        by_p50 = ~(among["p50_low_ms"] > chosen["p50_high_ms"])
        by_ratio = pd.Series([chosen.name not in by for by in among["p50_beaten_by"]], among.index)
        together = among["timed_together"] & chosen["timed_together"]
        among = among[by_ratio.where(together, by_speedup.where(interleaved, by_p50))]
    elif deploy["objective"] == "megabytes":
        among = among[among["megabytes"] == chosen["megabytes"]]
    return [label for label in among.index if label != chosen.name]


def nearest(candidates: pd.DataFrame, deploy: dict) -> tuple[object, dict[str, float]]:
    """The candidate that misses the limits by the least, where none may be deployed.

    What counts is the limit that a candidate misses by the most. The distance is in the unit of
    the figure, or a share of the limit for a `relative` limit. Candidates that are no `eligible`
    ones take no part.

    Returns
    -------
    Index label, and config key -> signed distance from the limit, for each limit that it breaks.
    """
    known = standing.of(candidates)
    kept = pd.DataFrame(limits.satisfied(known, deploy), candidates.index)
    candidates = candidates[known.eligible]
    excess = pd.DataFrame(index=candidates.index)
    for limit in limits.limits_set(deploy):
        distance = limit.direction * (deploy[limit.key] - candidates[limit.column])
        unit = max(deploy[limit.key], 1e-9) if limit.relative else 1
        excess[limit.key] = distance.where(~kept.loc[candidates.index, limit.key], 0) / unit
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
    value : its new value; where `strict`, just beyond the value of the candidate that it excludes
    label : index label of the new pick; None where no candidate may be deployed
    strict : whether the value itself excludes no candidate yet
    """

    limit: Limit
    value: float
    label: object
    strict: bool


def is_p50_known(candidates: pd.DataFrame) -> bool:
    """Whether intervals of p50 are narrow enough for a limit on it to mean anything.

    One process gives none. Few processes and a high confidence give intervals beyond all reason.
    """
    return bool((candidates["p50_high_ms"] <= _USELESS * candidates["p50_ms"]).all())


def what_would_change(
    candidates: pd.DataFrame, deploy: dict, decide: Decide, steps: list[float]
) -> list[Change]:
    """For each limit, the nearest tighter and the nearest looser value with another pick.

    There is none for p50 where it is not known, see `is_p50_known`.

    Parameters
    ----------
    decide : the table under another limit on missed defects, which moves every threshold
    steps : values of that limit to try
    """
    chosen = choose(candidates, deploy)
    changes = []
    for limit in limits.LIMITS:
        if candidates[limit.column].isna().all():
            continue
        if limit.key == "max_p50_ms" and not is_p50_known(candidates):
            continue
        moves = limit.key == "max_missed_defect_rate"
        if moves:
            looser, tighter = _other_steps(deploy, limit, decide, steps)
        else:
            looser, tighter = _other_values(candidates, deploy, limit)
        for values, is_tighter in ((looser, False), (tighter, True)):
            for value in values:
                changed = {**deploy, limit.key: value}
                label = choose(decide(changed) if moves else candidates, changed)
                if label != chosen:
                    strict = is_tighter and value not in steps
                    changes.append(Change(limit, value, label, strict))
                    break
    return changes


def _other_steps(
    deploy: dict, limit: Limit, decide: Decide, steps: list[float]
) -> tuple[list[float], list[float]]:
    """Values of the limit on missed defects to try, looser and tighter ones, nearest first.

    The tightest is just below what the defects vouch for with none missed: nothing keeps it.
    """
    present = 1.0 if deploy[limit.key] is None else deploy[limit.key]
    lowest = float(decide({**deploy, limit.key: 0.0})[limit.column].min())
    tighter = [step for step in steps if step < present]
    if lowest <= present:
        tighter.insert(0, float(np.nextafter(lowest, 0)))
    return [step for step in steps if step > present], tighter[::-1]


def _other_values(
    candidates: pd.DataFrame, deploy: dict, limit: Limit
) -> tuple[list[float], list[float]]:
    """Values of a limit that may admit one candidate more, and one less, nearest first."""
    direction = limit.direction
    present = deploy[limit.key] if deploy[limit.key] is not None else -direction * np.inf
    # Rising.
    values = np.unique(candidates[[limit.column, limit.estimate]])
    beyond = values[direction * values >= direction * present]
    # A limit at a candidate's value admits it; just beyond the value excludes it.
    beyond = np.nextafter(beyond, direction * np.inf)
    looser = values[direction * values < direction * present]
    return looser[::-direction].tolist(), beyond[::direction].tolist()
