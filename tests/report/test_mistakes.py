"""The mistakes of a candidate, the most telling first."""

import pandas as pd
import pytest
from beansweep.report import mistakes

EVEN = {"fp32": 0.5, "int8": 0.5}


@pytest.fixture
def folder(tmp_path):
    """Predictions of four test images and one validation image."""
    rows = pd.DataFrame(
        {
            "path": ["1", "2", "3", "4", "5"],
            "split": ["test"] * 4 + ["val"],
            "class": ["bad", "good", "bad", "bad", "bad"],
            "predicted": ["bad", "bad", "good", "bad", "good"],
            "p_bad": [0.9, 0.99, 0.4, 0.8, 0.1],
            "p_good": [0.1, 0.01, 0.6, 0.2, 0.9],
        }
    )
    rows.to_csv(tmp_path / "fp32.csv", index=False)
    int8 = rows.assign(
        predicted=["good", "bad", "good", "good", "good"],
        p_good=[0.7, 0, 1, 0.8, 1],
        p_bad=[0.3, 1, 0, 0.2, 0],
    )
    int8.to_csv(tmp_path / "int8.csv", index=False)
    return tmp_path


def test_missed_defects_of_fp32_come_before_surer_mistakes(folder):
    found = mistakes.find(folder, "fp32", ["good"], EVEN)
    assert found.rows["path"].tolist() == ["3", "2"]
    assert found.rows["missed"].tolist() == [True, False]
    assert found.kind == "images that it gets wrong"


def test_the_mistakes_of_int8_are_those_that_fp32_does_not_make(folder):
    found = mistakes.find(folder, "int8", ["good"], EVEN)
    assert sorted(found.rows["path"]) == ["1", "4"]
    assert "FP32 gets right" in found.kind


def test_a_missed_defect_is_one_below_the_threshold_whatever_the_prediction(folder):
    strict = mistakes.find(folder, "fp32", ["good"], {"fp32": 0.3}).rows
    assert not strict["missed"].any()
    assert strict["path"].tolist() == ["2", "3"]
    loose = mistakes.find(folder, "fp32", ["good"], {"fp32": 0.85}).rows
    assert loose["path"].tolist() == ["4", "3", "2"]
    assert loose["missed"].tolist() == [True, True, False]


def test_without_a_mistake_the_table_has_no_row(folder):
    found = mistakes.find(folder, "fp32", None, EVEN)
    assert not found.rows["missed"].any()
    perfect = pd.read_csv(folder / "fp32.csv").assign(predicted=lambda rows: rows["class"])
    perfect.to_csv(folder / "fp32.csv", index=False)
    assert mistakes.find(folder, "fp32", ["good"], {"fp32": 0.3}).rows.empty


def test_a_mistake_in_words(folder):
    rows = mistakes.find(folder, "fp32", ["good"], EVEN).rows
    assert mistakes.caption(rows.iloc[0]) == "bad predicted as good, 60%, a missed defect"
    assert mistakes.caption(rows.iloc[1]) == "good predicted as bad, 99%"
