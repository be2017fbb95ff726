"""The front, and the pick: exact rules over a table with one row a candidate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from beansweep.analysis.limits import CONSTRAINTS, OBJECTIVES, satisfied


def barred(candidates: pd.DataFrame) -> list[str]:
    """Why each candidate is never picked, whatever the limits; empty where it may be.

    A baseline is there to be compared with. And where another candidate beats one (no worse in p50, size and
    validation macro-F1, better in one of them) and is not shown to be worse than it in anything, the limits
    that the one keeps and the other does not are kept by chance.
    """
    rivals = candidates[~candidates["baseline"]]
    reasons = []
    for index, row in candidates.iterrows():
        gains = pd.DataFrame(
            {
                "p50_ms": row["p50_ms"] - rivals["p50_ms"],
                "megabytes": row["megabytes"] - rivals["megabytes"],
                "val_macro_f1": rivals["val_macro_f1"] - row["val_macro_f1"],
            }
        )
        better = rivals[(gains >= 0).all(axis=1) & (gains > 0).any(axis=1)]
        better = [
            other
            for other, rival in better.iterrows()
            if index not in rival["val_beaten_by"] and index not in rival["val_misses_more_than"]
        ]
        reasons.append(
            "a baseline" if row["baseline"] else f"beaten by {better[0]}" if better else ""
        )
    return reasons


def unbeaten(candidates: pd.DataFrame, deploy: dict) -> pd.DataFrame:
    """Candidates that meet every constraint, are not `barred`, and that no other such is shown to be better than.

    Better is by macro-F1 on the validation images: column `val_beaten_by`, lists of index labels.
    """
    allowed = candidates[satisfied(candidates, deploy).all(axis=1) & (candidates["barred"] == "")]
    return allowed[[set(allowed.index).isdisjoint(by) for by in allowed["val_beaten_by"]]]


def choose(candidates: pd.DataFrame, deploy: dict):
    """Index label of the best of `unbeaten` by the objective; None where no candidate meets every constraint.

    The validation images cannot tell these candidates apart, so the objective decides. Ties go to
    the higher validation macro-F1, then to the faster, then to the smaller.
    """
    among = unbeaten(candidates, deploy)
    if among.empty:
        return None
    column, sense = OBJECTIVES[deploy["objective"]]
    order = pd.DataFrame(
        {
            "objective": -sense * among[column],
            "accuracy": -among["val_macro_f1"],
            "speed": among["p50_ms"],
            "size": among["megabytes"],
        }
    )
    return order.sort_values(list(order), kind="stable").index[0]


def tied(candidates: pd.DataFrame, deploy: dict) -> list:
    """Index labels of those of `unbeaten` that the objective cannot tell from the pick either.

    For p50, those whose interval meets the pick's: of the same backbone, where its variants were
    timed beside each other, the interval of the speed-up over FP32; else that of the p50 itself.
    For macro-F1 all of them; sizes are exact.
    """
    chosen = choose(candidates, deploy)
    among = unbeaten(candidates, deploy)
    if deploy["objective"] == "p50_ms":
        row = candidates.loc[chosen]
        beside = among["speedup_high"] >= row["speedup_low"]
        apart = among["p50_low_ms"] <= row["p50_high_ms"]
        interleaved = (among["backbone"] == row["backbone"]) & among["speedup_low"].notna()
        among = among[beside.where(interleaved, apart)]
    elif deploy["objective"] == "megabytes":
        among = among[among["megabytes"] == candidates.loc[chosen, "megabytes"]]
    return [index for index in among.index if index != chosen]


def nearest(candidates: pd.DataFrame, deploy: dict) -> tuple[object, dict[str, float]]:
    """Where nothing may be deployed: the candidate with the least excess of those not `barred`, and its excesses.

    An excess is how far the worst broken limit is missed: in points for macro-F1 and for the
    missed-defect rate, as a share of the limit for megabytes and milliseconds.

    Returns
    -------
    Index label, and config key -> signed distance from the limit of each constraint that it breaks.
    """
    candidates = candidates[candidates["barred"] == ""]
    unit = {
        key: max(deploy[key], 1e-9)
        for key in ("max_megabytes", "max_p50_ms")
        if deploy[key] is not None
    }
    excess = pd.DataFrame(
        {
            key: (sense * (deploy[key] - candidates[column])).clip(lower=0) / unit.get(key, 1)
            for key, (column, sense) in CONSTRAINTS.items()
            if deploy[key] is not None
        }
    )
    index = excess.max(axis=1).idxmin()
    broken = {
        key: float(candidates.loc[index, CONSTRAINTS[key][0]] - deploy[key])
        for key in excess
        if excess.loc[index, key] > 0
    }
    return index, broken


@dataclass
class Change:
    """The pick becomes `index` (None: nothing qualifies) with the limit `key` at `limit`.

    Where `tighter`, `limit` lies just beyond the value of the candidate that it keeps out.
    """

    key: str
    limit: float
    index: object
    tighter: bool


def what_would_change(candidates: pd.DataFrame, deploy: dict) -> list[Change]:
    """For each constraint, the nearest tighter and the nearest looser limit with another pick."""
    chosen = choose(candidates, deploy)
    changes = []
    for key, (column, sense) in CONSTRAINTS.items():
        values = np.unique(candidates[column])
        current = deploy[key] if deploy[key] is not None else -sense * np.inf
        looser = values[sense * values < sense * current]
        # A limit at a candidate's value admits it; just beyond the value keeps it out.
        beyond = np.nextafter(values[sense * values >= sense * current], sense * np.inf)
        nearest_first = {
            False: looser[np.argsort(-sense * looser)],
            True: beyond[np.argsort(sense * beyond)],
        }
        for tighter, limits in nearest_first.items():
            for limit in limits:
                found = choose(candidates, {**deploy, key: float(limit)})
                if found != chosen:
                    changes.append(Change(key, float(limit), found, tighter))
                    break
    return changes
