"""The text of the pick says what the figures say."""

from dataclasses import replace

import pandas as pd
import pytest
from beansweep.analysis import candidates as analysis
from beansweep.analysis import finalists, stability
from beansweep.report import decision
from beansweep.report.decision import Choice

DEPLOY = {
    "min_macro_f1": 0.85,
    "max_missed_defect_rate": 0.1,
    "max_rejected_good_rate": None,
    "max_by_hand_rate": 0,
    "max_megabytes": None,
    "max_p50_ms": None,
    "objective": "p50_ms",
}
LISTS = ("beaten_by", "misses_more_than", "rejects_more_than")
RESAMPLES = 100


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
            "ship_below": 0.2,
            "reject_from": 0.2,
            "portability": "",
            "baseline": False,
        },
        index=["net:fp32", "net:int8", "net:int8_small"],
    )
    rows["also"] = [[], ["int8_mixed"], []]
    ends = ("", "_low", "_high")
    figures = {
        "macro_f1": (0.9, 0.88, 0.92),
        "missed_defect_rate": (0.05, 0.03, 0.08),
        "rejected_good_rate": (0.2, 0.15, 0.25),
    }
    for split in ("val", "test"):
        for figure, values in figures.items():
            for end, value in zip(ends, values, strict=True):
                rows[f"{split}_{figure}{end}"] = value
        counts = {"defects": 100, "missed_defect_count": 5, "good": 50, "rejected_good_count": 10}
        for figure, count in counts.items():
            rows[f"{split}_{figure}"] = count
        rows[f"{split}_by_hand_rate"] = 0.0
        for column in LISTS:
            rows[f"{split}_{column}"] = [[] for _ in rows.index]
    finalists.mark_timed_alone(rows, "a machine")
    for column, values in changes.items():
        rows[column] = values
    return rows


def choose(table=None, deploy=DEPLOY, picks=(), decide=None):
    """What the text is made from, where no limit moves a threshold unless `decide` does."""
    table = candidates() if table is None else table
    analysis.judge_pick(table, deploy)
    picks = pd.Series(picks, dtype=str)
    return Choice(table, deploy, 0.95, decide or (lambda _: table), [], picks)


def test_the_first_line_has_the_decisions_on_the_test_images():
    text = decision.text(choose())
    assert text.startswith(
        "**Pick: `net` `int8` (also `int8_mixed`)**: p50 1.00 ms (0.95 to 1.05), 1.00 MB, "
        "test macro-F1 0.900 (0.880 to 0.920). On test it misses 5 of 100 defects (3.0% to 8.0%), "
        "and rejects 10 of 50 good ones (15.0% to 25.0%)."
    )


def test_a_p50_of_one_process_has_no_interval_in_the_first_line():
    ends = {"p50_low_ms": float("nan"), "p50_high_ms": float("nan")}
    assert "p50 1.00 ms, 1.00 MB, test" in decision.text(choose(candidates(**ends)))


def test_the_first_line_says_how_stable_the_pick_is():
    picks = ["net:int8"] * 60 + ["net:int8_small"] * 30 + [stability.NOTHING] * 10
    choice = choose(picks=picks)
    lead = decision.text(choice).split("\n\n")[0]
    assert "The same file is picked in 60 of 100 resamples of the validation images" in lead
    assert "the same backbone in 90" in lead
    rows = decision.other_picks(choice).splitlines()[4:]
    assert rows == [
        "| `net` `int8` (also `int8_mixed`) | 60.0% |",
        "| `net` `int8_small` | 30.0% |",
        "| nothing | 10.0% |",
    ]


@pytest.mark.parametrize(("same", "warned"), [(50, False), (49, True)])
def test_a_pick_of_less_than_half_of_the_resamples_is_doubted_in_the_headline(same, warned):
    picks = ["net:int8"] * same + ["net:fp32"] * (RESAMPLES - same)
    headline = decision.text(choose(picks=picks)).split("**")[1]
    assert (
        "most resamples of the validation images give another pick (49% give this one)" in headline
    ) == warned


def test_where_all_resamples_agree_there_is_no_table():
    assert decision.other_picks(choose(picks=["net:int8"] * RESAMPLES)) == ""


def test_where_nothing_may_be_deployed_the_resamples_that_agree_are_counted():
    picks = [stability.NOTHING] * 70 + ["net:int8"] * 30
    text = decision.text(choose(deploy={**DEPLOY, "min_macro_f1": 0.95}, picks=picks))
    assert text.startswith("**No candidate may be deployed.**")
    assert "70% of 100 resamples of the validation images agree." in text


def test_a_tie_is_said_and_a_clear_pick_is_not_called_one():
    # Of equal size the slower one is beaten, and no tie.
    table = candidates(val_rejected_good_rate=[0.2, 0.2, 0.19])
    text = decision.text(choose(table))
    assert text.startswith("**Pick: `net` `int8`")
    assert "**A tie**: its p50 cannot be told apart from that of `net` `int8_small`." in text
    assert text.count("On them it keeps the same limits.") == 1
    table = candidates(val_rejected_good_rate=[0.2, 0.2, 0.19], speedup_high=[1.0, 2.02, 1.9])
    assert "tie" not in decision.text(choose(table))


@pytest.mark.parametrize(
    ("megabytes", "rejected", "words"),
    [
        ([4.0, 1.624296, 1.62433], 0.2, "the smaller file decided, by 34 bytes."),
        (1.0, [0.2, 0.19, 0.2], "the fewest good ones rejected on validation decided."),
        (1.0, 0.2, "the order in the configuration decided."),
    ],
)
def test_what_decides_between_equals_is_said(megabytes, rejected, words):
    same = {"p50_ms": [2.0, 1.0, 1.0], "p50_high_ms": [2.1, 1.05, 1.05]}
    same |= {"speedup_low": [1.0, 1.98, 1.98], "speedup_high": [1.0, 2.02, 2.02]}
    table = candidates(megabytes=megabytes, val_rejected_good_rate=rejected, **same)
    text = decision.text(choose(table))
    assert (
        f"**A tie**: `net` `int8_small` has the same p50 and is not shown to be worse; {words}"
        in text
    )


def test_without_limits_the_text_has_no_word_on_keeping_them():
    free = {**DEPLOY, "min_macro_f1": None, "max_missed_defect_rate": None}
    text = decision.text(choose(deploy=free))
    assert "Wanted: the lowest p50, no limits. 1 of 3" in text
    assert "played no part in the choice. They show no candidate to be better than it.\n" in text
    assert "A limit is kept where the whole 95% interval keeps it." in decision.text(choose())


def test_an_estimate_beyond_its_limit_breaks_it():
    text = decision.text(choose(deploy={**DEPLOY, "min_macro_f1": 0.91}))
    assert text.startswith("**No candidate may be deployed.**")
    assert "validation macro-F1 at least 0.910 is missed by 0.030" in text


def test_what_the_test_images_say_of_the_pick():
    text = decision.text(choose(candidates(test_macro_f1_low=0.84)))
    assert "its estimate keeps test macro-F1 at least 0.850, but its interval does not" in text
    text = decision.text(choose(candidates(test_macro_f1=0.84, test_macro_f1_low=0.82)))
    assert "**its estimate breaks test macro-F1 at least 0.850**, though its interval" in text
    worst = {"test_macro_f1": 0.84, "test_macro_f1_low": 0.82, "test_macro_f1_high": 0.845}
    text = decision.text(choose(candidates(**worst)))
    assert "On them **it breaks test macro-F1 at least 0.850**" in text
    text = decision.text(choose(candidates(test_rejects_more_than=[[], ["net:fp32"], []])))
    lead = text.split("\n\n")[0]
    assert lead.endswith(
        "**The test images show these to be better** in good ones rejected: `net` `fp32`."
    )
    assert "They show no candidate to be better" not in text


def test_what_would_change_the_pick():
    text = decision.text(choose())
    assert "- with size below 1.00 MB (now no limit), the pick is `net` `int8_small`" in text
    assert "- with p50 below 1.05 ms (now no limit), no candidate may be deployed" in text


def test_what_would_change_the_pick_is_rounded_to_where_it_is_true():
    high = [2.1, 1.1554, 1.1554]
    text = decision.text(choose(candidates(p50_high_ms=high, megabytes=[4.0, 1.6187, 1.7])))
    assert "- with p50 below 1.15 ms (now no limit), no candidate may be deployed" in text
    assert "- with size below 1.61 MB (now no limit), no candidate may be deployed" in text
    text = decision.text(choose(candidates(val_macro_f1_low=0.8801)))
    assert "- with validation macro-F1 above 0.881 (now 0.850), no candidate" in text
    small = {"p50_ms": 0.5, "p50_low_ms": 0.4, "p50_high_ms": [0.9, 0.58169, 0.58169]}
    assert "- with p50 below 0.581 ms" in decision.text(choose(candidates(**small)))


@pytest.mark.parametrize("high", [float("nan"), 1e9], ids=["one process", "a wide interval"])
def test_no_limit_on_p50_is_named_where_p50_is_not_known(high):
    text = decision.text(choose(candidates(p50_low_ms=1e-9, p50_high_ms=high)))
    assert "- p50: its intervals are missing or too wide to say" in text
    assert "with p50" not in text
    assert "- p50:" not in decision.text(choose())


def test_the_limit_on_missed_defects_that_no_image_can_vouch_for_is_named():
    """Of 100 defects none missed vouch for 2.95%, however high the scores of defects are."""
    steps = [0.0296, DEPLOY["max_missed_defect_rate"]]
    table = candidates(val_missed_defect_rate_high=0.029513)
    choice = replace(choose(table), steps=steps)
    line = "- with share of defects missed below 2.95% (now 10.00%), no candidate may be deployed"
    assert line in decision.text(choice)
    too_tight = {**DEPLOY, "max_missed_defect_rate": 0.02}
    text = decision.text(replace(choose(table, too_tight), steps=steps))
    assert "- with share of defects missed at most 2.96% (now 2.00%), the pick is" in text
    assert "missed below" not in text


def test_where_no_single_limit_helps_it_is_said():
    deploy = {**DEPLOY, "min_macro_f1": 0.99, "max_missed_defect_rate": 0.01}
    text = decision.text(choose(deploy=deploy))
    assert "- no single limit: a candidate may be deployed only where several limits change" in text


def test_a_pick_that_depends_on_the_instruction_set_is_said_to():
    text = decision.text(choose(candidates(portability="saturates here")))
    assert "**It may predict otherwise on another instruction set**" in text
    assert "another instruction set" not in decision.text(choose())
    text = decision.text(choose(candidates(portability=["", "saturates here", ""])))
    assert text.startswith("**Pick: `net` `int8_small`**")
    assert (
        "Against these there is only that each predicts otherwise on another instruction set: "
        "`net` `int8`." in text
    )


def test_too_few_defects_are_one_sentence_with_the_number_needed():
    few = decision.operating_points(choose(candidates(val_defects=20)))
    assert "**20 validation defects cannot vouch for 10.00%, even with none missed**" in few
    assert "that takes 29 of them" in few
    assert "the tightest limit that they can vouch for is 13.91%." in few
    assert "The threshold is the largest" not in few
    assert "cannot vouch" not in decision.operating_points(choose())
    free = {**DEPLOY, "max_missed_defect_rate": None}
    assert "the threshold is 0.5." in decision.operating_points(choose(deploy=free))


def by_hand(deploy):
    """Candidates under a share by hand: a person takes that many times two of the rejects."""
    rate = 0.2 - 2 * deploy["max_by_hand_rate"]
    table = candidates(test_rejected_good_rate=rate, test_by_hand_rate=deploy["max_by_hand_rate"])
    analysis.judge_pick(table, deploy)
    return table


def test_what_a_person_buys_or_would_buy():
    text = decision.operating_points(choose(decide=by_hand))
    assert "most doubtful 1% or 5% of the validation images (1.0% or 5.0% on test" in text
    assert "would reject 18.0% or 10.0% of good ones on test instead of 20.0%" in text
    deploy = {**DEPLOY, "max_by_hand_rate": 0.03}
    text = decision.operating_points(choose(by_hand(deploy), deploy, decide=by_hand))
    assert (
        "A person decides on the most doubtful 3.0% of the validation images (3.0% on test)" in text
    )
    assert "rejects 14.0% of good ones on test instead of 20.0%" in text


def test_without_a_good_class_the_text_speaks_of_no_defects():
    nothing = float("nan")
    changes = dict.fromkeys(("ship_below", "reject_from"), nothing)
    for split in ("val", "test"):
        changes[f"{split}_defects"] = 0
        for end in ("", "_low", "_high"):
            for figure in ("missed_defect_rate", "rejected_good_rate"):
                changes[f"{split}_{figure}{end}"] = nothing
    deploy = {**DEPLOY, "max_missed_defect_rate": None}
    choice = choose(candidates(**changes), deploy)
    text = decision.text(choice)
    assert text.startswith("**Pick: `net` `int8` (also `int8_mixed`)**: p50 1.00 ms")
    for word in ("defect", "reject", "nan", "threshold"):
        assert word not in text
    assert decision.operating_points(choice) == ""
