"""The mistakes of a candidate on the test images, the most telling first."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from beansweep.evaluation import predictions


@dataclass
class Mistakes:
    """Wrong predictions of a candidate.

    Attributes
    ----------
    rows : of its predictions, with `missed` (the image is a missed defect) and `sure` (the
        probability of the wrong class); missed defects first, then the surest
    kind : in words, which mistakes these are
    """

    rows: pd.DataFrame
    kind: str


def find(folder: Path, variant: str, good_classes: list[str]) -> Mistakes:
    """The mistakes of a variant.

    For FP32 these are all its wrong predictions. For INT8 they are the images that FP32 gets right.

    Parameters
    ----------
    folder : of the backbone's predictions
    good_classes : every other class is a defect
    """
    found = predictions.read(folder / f"{variant}.csv")
    wrong = (found["split"] == "test") & (found["predicted"] != found["class"])
    kind = "images that it gets wrong"
    if variant != "fp32":
        fp32 = predictions.read(folder / "fp32.csv")
        wrong &= fp32["predicted"] == fp32["class"]
        kind = "images that INT8 gets wrong and FP32 gets right"
    # Before the choice of rows: pandas would take the columns of a table without rows for others.
    found["missed"] = ~found["class"].isin(good_classes) & found["predicted"].isin(good_classes)
    found["sure"] = found.filter(regex="^p_").max(axis=1)
    rows = found[wrong].sort_values(["missed", "sure"], ascending=False, kind="stable")
    return Mistakes(rows, kind)


def caption(row: pd.Series) -> str:
    """A mistake in words: `black predicted as good, 81%, a missed defect`."""
    missed = ", a missed defect" if row["missed"] else ""
    return f"{row['class']} predicted as {row['predicted']}, {row['sure']:.0%}{missed}"
