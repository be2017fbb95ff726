"""The mistakes of a candidate on the test images, the most telling first."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import operating_point
from beansweep.evaluation import predictions


@dataclass
class Mistakes:
    """Wrong predictions of a candidate.

    Attributes
    ----------
    rows : of its predictions, with `defect_score` (NaN for what is no defect), `missed` (a defect
        that is shipped), `wrong` (missed, or of another class than predicted) and `sure` (the
        probability of the predicted class); missed defects first, then the surest
    kind : in words, which mistakes these are
    """

    rows: pd.DataFrame
    kind: str


def find(
    folder: Path, variant: str, good_classes: list[str] | None, ship_below: dict[str, float]
) -> Mistakes:
    """The mistakes of a variant: images of another class than predicted, and missed defects.

    For FP32 these are all of them. For INT8 they are those of images that FP32 gets right.

    Parameters
    ----------
    folder : of the backbone's predictions
    good_classes : every other class is a defect; None where no class is
    ship_below : threshold of the variant, and of fp32
    """
    found = _judged(folder, variant, good_classes, ship_below[variant])
    wrong = (found["split"] == "test") & found["wrong"]
    kind = "images that it gets wrong"
    if variant != "fp32":
        wrong &= ~_judged(folder, "fp32", good_classes, ship_below["fp32"])["wrong"]
        kind = "images that INT8 gets wrong and FP32 gets right"
    rows = found[wrong].sort_values(["missed", "sure"], ascending=False, kind="stable")
    return Mistakes(rows, kind)


def _judged(
    folder: Path, variant: str, good_classes: list[str] | None, ship_below: float
) -> pd.DataFrame:
    """A variant's predictions with the columns of `Mistakes`."""
    found = predictions.read(folder / f"{variant}.csv")
    labels = predictions.labels_of(found)
    is_defect = np.zeros(len(labels), bool)
    if good_classes is not None:
        is_defect = ~np.isin(labels, good_classes)
    probabilities = found[[f"p_{label}" for label in labels]].to_numpy(float)
    is_one = is_defect[predictions.indices(found["class"], labels)]
    score = operating_point.defect_scores(probabilities, is_defect)
    # In one piece: pandas warns of columns added to a table of hundreds.
    found = found.copy()
    found["defect_score"] = np.where(is_one, score, np.nan)
    found["missed"] = found["defect_score"] < ship_below
    found["wrong"] = found["missed"] | (found["predicted"] != found["class"])
    found["sure"] = probabilities.max(axis=1)
    return found


def prediction(row: pd.Series) -> str:
    """What a mistake is predicted as: `black predicted as good, 81%`."""
    return f"{row['class']} predicted as {row['predicted']}, {row['sure']:.0%}"


def caption(row: pd.Series) -> str:
    """A mistake in words: `black predicted as good, 81%, a missed defect`."""
    return prediction(row) + (", a missed defect" if row["missed"] else "")
