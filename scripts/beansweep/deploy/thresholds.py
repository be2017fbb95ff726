"""The operating point that a bundle takes along: its thresholds, and what they guarantee."""

import math

import pandas as pd

from beansweep.analysis import intervals


def read(row: pd.Series, labels: list[str], settings: dict) -> dict | None:
    """The operating point of a candidate, as run.json has it.

    Parameters
    ----------
    row : the candidate's line of pareto.csv
    labels : class names, in the order of the model's outputs
    settings : good_classes, deploy and report, as in config.yaml

    Returns
    -------
    None where the candidate has no thresholds, because no class is good.
    """
    if pd.isna(row.get("ship_below")):
        return None
    good = settings["good_classes"]
    point = {
        "defect_classes": [label for label in labels if label not in good],
        "ship_below": float(row["ship_below"]),
        "reject_from": float(row["reject_from"]),
        "max_missed_defect_rate": _vouched(row, settings["deploy"]["max_missed_defect_rate"]),
        "confidence": settings["report"]["confidence"],
        "validation_defects": int(row["val_defects"]),
    }
    return {**point, "guarantee": _guarantee(point)}


def _vouched(row: pd.Series, limit: float | None) -> float:
    """The share of defects missed that the thresholds keep.

    It is the limit, where the validation images vouch for it, or else what they do vouch for.
    """
    bound = float(row["val_missed_defect_rate_high"])
    return bound if limit is None else max(limit, bound)


def _guarantee(point: dict) -> str:
    """What the thresholds guarantee, in one sentence with its assumption."""
    # Rounded up, so that the sentence promises no more than the thresholds do.
    rate = math.ceil(1e4 * point["max_missed_defect_rate"] - 1e-9) / 1e4
    return (
        f"With {intervals.percent(point['confidence'])} confidence, at most {rate:.2%} "
        "of defects are shipped, if new images are exchangeable with the "
        f"{point['validation_defects']} validation defects: drawn in the same way"
    )
