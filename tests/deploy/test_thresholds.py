"""What a bundle says of its thresholds, and what they guarantee."""

import numpy as np
import pandas as pd
import pytest
from beansweep.deploy import thresholds

LABELS = ["black", "good", "sour"]


def read(limit: float | None = 0.08, **figures) -> dict | None:
    """The operating point of a candidate with these figures."""
    row = {"ship_below": 0.2, "reject_from": 0.2, "val_missed_defect_rate_high": 0.05}
    row = pd.Series({**row, "val_defects": 2, **figures})
    settings = {
        "good_classes": ["good"],
        "deploy": {"max_missed_defect_rate": limit},
        "report": {"confidence": 0.9},
    }
    return thresholds.read(row, LABELS, settings)


def test_all_classes_but_the_good_ones_are_defects():
    point = read()
    assert point["defect_classes"] == ["black", "sour"]
    assert point["validation_defects"] == 2
    assert (point["ship_below"], point["reject_from"]) == (0.2, 0.2)


@pytest.mark.parametrize(
    ("limit", "bound", "vouched"),
    [(0.08, 0.05, 0.08), (0.08, 0.3, 0.3), (None, 0.05, 0.05)],
    ids=["limit kept", "too few defects for the limit", "no limit"],
)
def test_the_guarantee_is_what_the_validation_images_vouch_for(limit, bound, vouched):
    point = read(limit, val_missed_defect_rate_high=bound)
    assert point["max_missed_defect_rate"] == vouched
    assert f"With 90% confidence, at most {vouched:.2%} of defects" in point["guarantee"]


def test_the_guarantee_promises_no_more_than_the_thresholds_do():
    point = read(None, val_missed_defect_rate_high=0.030401)
    assert "at most 3.05% of defects" in point["guarantee"]


def test_a_candidate_without_thresholds_has_no_operating_point():
    assert read(ship_below=np.nan) is None
    assert thresholds.read(pd.Series({"backbone": "net"}), LABELS, {}) is None
