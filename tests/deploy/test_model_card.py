"""The text of MODEL_CARD.md, from a made-up candidate."""

import pandas as pd
import pytest
from beansweep.common import files
from beansweep.deploy import model_card

LABELS = ["black", "good", "sour"]
BENCH = {
    "machine": {"instruction_set": "AVX512-VNNI", "onnxruntime": "1.32.0", "cpu": "made up"},
    "settings": {"threads": [2, 1], "batch_size": 4},
}
RUN = {
    "labels": LABELS,
    "preprocessing": {"image_size": 160},
    "oldest": {"Python": "3.8", "Pillow": "9.1", "onnxruntime": "1.14"},
}
POINT = {
    "defect_classes": ["black", "sour"],
    "ship_below": 0.125,
    "reject_from": 0.125,
    "guarantee": "At most 8% of defects are shipped",
}
SETTINGS = {"good_classes": ["good"], "report": {"confidence": 0.9}}
# True class, predicted class and number of the test images.
MISTAKES = [("black", "good", 2), ("sour", "black", 1), ("good", "sour", 3)]


@pytest.fixture
def row():
    """A line of pareto.csv."""
    figures = {
        "backbone": "net",
        "variant": "int8_static",
        "megabytes": 1.625,
        "p50_ms": 2.25,
        "p50_low_ms": 2.0,
        "p50_high_ms": 2.5,
        "end_to_end_p50_ms": 3.75,
        "portability": "",
    }
    for name in ("macro_f1", "missed_defect_rate", *(f"recall@_{label}" for label in LABELS)):
        stem, _, label = name.partition("@")
        figures[f"test_{stem}{label}"] = 0.5
        figures[f"test_{stem}_low{label}"] = 0.25
        figures[f"test_{stem}_high{label}"] = 0.75
    for label in LABELS:
        figures[f"test_precision_{label}"] = figures[f"test_f1_{label}"] = 0.5
    figures["test_missed_defect_count"], figures["test_defects"] = 2, 20
    figures["test_rejected_good_count"], figures["test_good"] = 3, 10
    figures["test_rejected_good_rate"], figures["test_rejected_good_rate_low"] = 0.3, 0.1
    figures["test_rejected_good_rate_high"] = 0.6
    figures["ship_below"] = figures["reject_from"] = 0.125
    return pd.Series(figures)


def predictions(mistakes: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Predictions of ten test images of each class, with these mistakes."""
    predicted = {label: [label] * 10 for label in LABELS}
    for true, wrong, count in mistakes:
        predicted[true][:count] = [wrong] * count
    rows = []
    for label, names in predicted.items():
        for name in names:
            rows.append({"split": "test", "class": label, "predicted": name})
    # A mistake on validation counts for nothing here.
    rows.append({"split": "val", "class": "sour", "predicted": "good"})
    return pd.DataFrame(rows)


@pytest.fixture
def describe(row, tmp_path):
    """A function that gives the model card, with changes of the candidate's line."""
    manifest = tmp_path / "manifest.csv"
    splits = ["train"] * 7 + ["val"] * 5 + ["test"] * 30 + ["dropped"]
    pd.DataFrame({"path": "x", "class": "good", "split": splits}).to_csv(manifest, index=False)

    def describe(mistakes=MISTAKES, point=None, good_classes=("good",), **changes):
        changed = pd.Series({**row, **changes})
        found = predictions(mistakes)
        run = {**RUN, "operating_point": point}
        settings = {**SETTINGS, "good_classes": good_classes and list(good_classes)}
        text = model_card.describe(changed, run, found, manifest, BENCH, settings)
        # Where a line is broken is of no interest.
        return " ".join(text.split())

    return describe


def test_the_model_card_has_the_figures_with_their_intervals(describe):
    text = describe()
    for words in (
        "# net int8_static",
        "`black`, `good`, `sour`",
        "AVX512-VNNI with ONNX Runtime 1.32.0",
        "160 pixels",
        "macro-F1 0.500 (0.250 to 0.750)",
        "missed defects: 2 of 20, 50.0% (25.0% to 75.0%)",
        "2.25 ms (2.00 to 2.50) for the model alone, batch 4",
        "3.75 ms end to end",
        "2 threads on made up",
        "1.62 MB",
        "a missed defect is a defect that is shipped",
        "good ones rejected: 3 of 10, 30.0% (10.0% to 60.0%)",
        "The good classes are `good`; all others are defects.",
        "90% confidence",
        "It needs Python 3.8, Pillow 9.1, onnxruntime 1.14, or later ones.",
        "the 30 test images",
    ):
        assert words in text
    assert "{" not in text


def test_the_model_card_names_the_data_that_it_rests_on(describe, tmp_path):
    text = describe()
    assert "trained on 7 images and chosen on 5 others" in text
    assert f"manifest SHA-256 `{files.sha256(tmp_path / 'manifest.csv')}`" in text


def test_without_thresholds_the_model_card_says_so(describe):
    assert "It has no threshold: it gives the likeliest class of each image." in describe()


def test_the_model_card_states_the_thresholds_and_their_guarantee(describe):
    text = describe(point=POINT)
    assert "the sum of its probabilities of `black`, `sour`." in text
    assert "shipped where the score is below 0.125, and rejected from 0.125 on. At most 8%" in text
    assert "a missed defect is a defect that is shipped" in text
    text = describe(point={**POINT, "reject_from": 0.75})
    assert "never rejected" in describe(point={**POINT, "reject_from": 2.0})
    assert "rejected from 0.75 on. Images between both go to a person. At most 8%" in text


def test_without_a_good_class_nothing_is_a_defect(describe):
    text = describe(good_classes=None)
    assert "No class is good, and none is a defect." in text
    assert "defect |" not in text
    assert "missed defect" not in text
    assert "a defect as a good one" not in text


def test_known_failures_are_the_most_frequent_mistakes(describe):
    text = describe()
    failures = text[text.index("## Known failures") : text.index("## Limits")]
    assert failures.split(" - ")[1:] == [
        "3 of 10 `good` predicted as `sour`",
        "2 of 10 `black` predicted as `good` (a defect as a good one)",
        "1 of 10 `sour` predicted as `black` ",
    ]
    assert "## Known failures - None on the test images." in describe(mistakes=[])


@pytest.mark.parametrize("empty", ["", float("nan"), None])
def test_the_limits_name_other_instruction_sets(describe, empty):
    assert "accuracy is the same on every instruction set" in describe(portability=empty)
    text = describe(portability="saturates on AVX2")
    assert "Portability: saturates on AVX2." in text
    assert "accuracy is the same" not in text
