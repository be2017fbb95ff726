"""The report's words say what the figures say."""

import pandas as pd
import pytest
from beansweep.report import wording


def bench(again=(0.99, 1.0, 1.01), control_model=1.0, threads=("1",)):
    low, ratio, high = again
    return {
        "controls": {
            "fp32_again": {"speedup": ratio, "speedup_low": low, "speedup_high": high},
            "control_model": {"p50_ms": control_model},
        },
        "variants": {"fp32": {}, "int8": {}},
        "by_threads": {
            count: {"fp32": 2 / int(count), "int8": 1 / int(count)} for count in threads
        },
    }


@pytest.mark.parametrize(
    ("again", "control_model", "words"),
    [
        ((0.99, 1.0, 1.01), 1.0, None),
        ((0.90, 1.0, 1.10), 1.0, "Too noisy: ratios nearer to 1 than 1.11"),
        ((1.01, 1.02, 1.03), 1.0, "leaves out 1"),
        ((0.99, 1.0, 1.01), 1.2, "another speed than in the other benches"),
    ],
)
def test_a_noisy_or_drifting_machine_is_said(again, control_model, words):
    text = wording.noise(
        {"quiet": bench(), "also_quiet": bench(), "this": bench(again, control_model)}
    )
    quiet, also, this = text.splitlines()
    assert "**" not in quiet + also
    assert words in this if words else this.endswith("benches).")


def test_threads_are_a_table_where_there_are_several():
    assert wording.threads_table({"net": bench()}) == ""
    text = wording.threads_table({"net": bench(threads=("1", "2"))})
    assert "| `net` | `int8` | 1.000 | 0.500 |" in text


def test_seeds_are_shown_beside_the_sampling_interval():
    candidates = pd.DataFrame(
        {"test_macro_f1_low": [0.88], "test_macro_f1_high": [0.92]}, index=["net:fp32"]
    )
    assert "not measured" in wording.seeds({"net": {"net": 0.9}}, candidates)
    text = wording.seeds({"net": {"net": 0.9, "net.seed1": 0.88, "net.seed2": 0.92}}, candidates)
    assert "| `net` | 0.900, 0.880, 0.920 | 0.900 | 0.020 | 0.020 |" in text


def test_the_images_are_described_and_what_is_wrong_with_them_named():
    manifest = pd.DataFrame(
        {
            "path": ["a/1.png", "b/1.png"],
            "class": ["a", "b"],
            "split": ["train", "test"],
            "width": [10, 30],
            "height": [20, 20],
            "contrast": [0.5, 40],
        }
    )
    pairs = pd.DataFrame(
        {
            "first_path": ["a/1.png"],
            "second_path": ["b/1.png"],
            "crosses_splits": [True],
            "crosses_classes": [True],
        }
    )
    text = wording.data_checks(manifest, pairs, "warn")
    for words in (
        "from 10 x 20 to 30 x 20 pixels",
        "1 image(s), such as a/1.png",
        "test figures may flatter",
        "have two classes",
    ):
        assert words in text
    assert "was dropped" in wording.data_checks(manifest, pairs, "drop")
    clean = wording.data_checks(manifest.assign(contrast=40, width=10), pairs.head(0), "warn")
    assert "**" not in clean
    assert "all are 10 x 20 pixels" in clean


def candidates(**changes):
    """Three candidates of one backbone that differ in speed and size alone."""
    rows = pd.DataFrame(
        {
            "backbone": "net",
            "variant": ["fp32", "int8", "int8_small"],
            "megabytes": [4.0, 1.0, 0.9],
            "p50_ms": [2.0, 1.0, 1.02],
            "p50_low_ms": [1.9, 0.95, 0.97],
            "p50_high_ms": [2.1, 1.05, 1.07],
            "speedup_low": [1.0, 1.98, 1.94],
            "speedup_high": [1.0, 2.02, 1.99],
            "images_per_second": [500.0, 1000.0, 980.0],
            **{
                f"{split}_{figure}{end}": value
                for split in ("val", "test")
                for figure, values in (
                    ("macro_f1", (0.9, 0.88, 0.92)),
                    ("missed_defect_rate", (0.05, 0.03, 0.08)),
                )
                for end, value in zip(("", "_low", "_high"), values, strict=True)
            },
        },
        index=["net:fp32", "net:int8", "net:int8_small"],
    )
    for split in ("val", "test"):
        rows[f"{split}_beaten_by"] = [[] for _ in rows.index]
    rows["barred"] = ""
    for column, values in changes.items():
        rows[column] = values
    return rows


DEPLOY = {
    "min_macro_f1": 0.85,
    "max_missed_defect_rate": 0.1,
    "max_megabytes": None,
    "max_p50_ms": None,
    "objective": "p50_ms",
}


def test_a_tie_is_said_and_a_clear_pick_is_not_called_one():
    text = wording.decision(candidates(), DEPLOY, 0.95)
    assert text.startswith("**Pick: `net` `int8`**")
    assert "**A tie**: its p50 cannot be told from that of `net` `int8_small`." in text
    assert "on them it keeps the same limits, and no candidate is shown to be above it" in text
    assert "tie" not in wording.decision(candidates(speedup_high=[1.0, 2.02, 1.9]), DEPLOY, 0.95)


def test_the_end_of_an_interval_has_to_keep_the_limit():
    text = wording.decision(candidates(), {**DEPLOY, "min_macro_f1": 0.89}, 0.95)
    assert text.startswith("**No candidate may be deployed.**")
    assert "validation macro-F1 at least 0.890 is missed by 0.010" in text


def test_what_the_test_images_say_of_the_pick():
    text = wording.decision(candidates(test_macro_f1_low=0.84), DEPLOY, 0.95)
    assert (
        "keeps test macro-F1 at least 0.850 by its estimate, but not by its whole interval" in text
    )
    text = wording.decision(candidates(test_macro_f1=0.84, test_macro_f1_low=0.82), DEPLOY, 0.95)
    assert "**on them it breaks test macro-F1 at least 0.850**" in text
    text = wording.decision(candidates(test_beaten_by=[[], ["net:fp32"], []]), DEPLOY, 0.95)
    assert "`net` `fp32` is shown to be above it" in text
