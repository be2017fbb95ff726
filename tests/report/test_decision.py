"""The text of the pick says what the figures say."""

import pandas as pd
from beansweep.analysis import finalists
from beansweep.report import decision

DEPLOY = {
    "min_macro_f1": 0.85,
    "max_missed_defect_rate": 0.1,
    "max_megabytes": None,
    "max_p50_ms": None,
    "objective": "p50_ms",
}


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
        },
        index=["net:fp32", "net:int8", "net:int8_small"],
    )
    ends = ("", "_low", "_high")
    for split in ("val", "test"):
        for end, value in zip(ends, (0.9, 0.88, 0.92), strict=True):
            rows[f"{split}_macro_f1{end}"] = value
        for end, value in zip(ends, (0.05, 0.03, 0.08), strict=True):
            rows[f"{split}_missed_defect_rate{end}"] = value
        rows[f"{split}_beaten_by"] = [[] for _ in rows.index]
    finalists.mark_timed_alone(rows, "a machine")
    rows["barred"] = ""
    for column, values in changes.items():
        rows[column] = values
    return rows


def test_a_tie_is_said_and_a_clear_pick_is_not_called_one():
    text = decision.text(candidates(), DEPLOY, 0.95)
    assert text.startswith("**Pick: `net` `int8`**")
    assert "**A tie**: its p50 cannot be told apart from that of `net` `int8_small`." in text
    assert "On them it keeps the same limits; no candidate is shown to be better than it" in text
    assert "tie" not in decision.text(candidates(speedup_high=[1.0, 2.02, 1.9]), DEPLOY, 0.95)


def test_the_end_of_an_interval_has_to_keep_the_limit():
    text = decision.text(candidates(), {**DEPLOY, "min_macro_f1": 0.89}, 0.95)
    assert text.startswith("**No candidate may be deployed.**")
    assert "validation macro-F1 at least 0.890 is missed by 0.010" in text


def test_what_the_test_images_say_of_the_pick():
    text = decision.text(candidates(test_macro_f1_low=0.84), DEPLOY, 0.95)
    assert "its estimate keeps test macro-F1 at least 0.850, but its interval does not" in text
    text = decision.text(candidates(test_macro_f1=0.84, test_macro_f1_low=0.82), DEPLOY, 0.95)
    assert "**On them it breaks test macro-F1 at least 0.850**" in text
    text = decision.text(candidates(test_beaten_by=[[], ["net:fp32"], []]), DEPLOY, 0.95)
    assert "`net` `fp32` is shown to be better than it" in text


def test_what_would_change_the_pick():
    text = decision.text(candidates(), DEPLOY, 0.95)
    assert "- with size below 1.00 MB (now no limit), the pick is `net` `int8_small`" in text
    assert "- with p50 below 1.05 ms (now no limit), no candidate may be deployed" in text


def test_where_no_single_limit_helps_it_is_said():
    deploy = {**DEPLOY, "min_macro_f1": 0.99, "max_missed_defect_rate": 0.01}
    text = decision.text(candidates(), deploy, 0.95)
    assert "- no single limit: a candidate may be deployed only where several limits change" in text


def test_candidates_that_are_never_picked_are_counted_and_explained():
    text = decision.text(candidates(barred=["a baseline", "", ""]), DEPLOY, 0.95)
    assert "1 candidate(s) are never picked: each is a baseline" in text
    assert "never picked" not in decision.text(candidates(), DEPLOY, 0.95)
