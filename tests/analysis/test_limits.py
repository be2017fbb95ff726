"""A limit is one entry of a table, and all that is written of limits follows from it."""

import numpy as np
import pytest
import synthetic
from beansweep.analysis import candidates, limits, pick, standing
from beansweep.report import decision, page, tables

BACKBONES, VARIANTS = ["mobilenet_v3_small", "resnet18"], ["fp32", "int8_static"]
NO_LIMITS = {
    **dict.fromkeys(synthetic.CONFIG["deploy"]),
    "max_by_hand_rate": 0,
    "objective": "p50_ms",
}
FAST = limits.Limit(
    "min_images_per_second",
    "images_per_second",
    limits.AT_LEAST,
    "throughput",
    digits=0,
    unit=" images/s",
    relative=True,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made-up")
    synthetic.write(folder, BACKBONES, VARIANTS, images=8)
    report = synthetic.CONFIG["report"]
    return candidates.read(
        folder / "results", BACKBONES, VARIANTS, synthetic.GOOD, NO_LIMITS, report
    ).table


def choice(table, deploy):
    """What the report's text is made from."""
    judged = table.copy()
    candidates.judge_pick(judged, deploy)
    return decision.Choice(judged, deploy, 0.95, lambda _: judged, [])


@pytest.fixture
def fast(monkeypatch):
    """The table of limits with one on images per second, and a configuration that has its key."""
    monkeypatch.setattr(limits, "LIMITS", [*limits.LIMITS, FAST])
    return {**NO_LIMITS, FAST.key: None}


def test_every_key_of_the_configuration_is_a_limit_or_the_objective():
    known = {limit.key for limit in limits.LIMITS} | {"objective", "max_by_hand_rate"}
    assert known == set(synthetic.CONFIG["deploy"])


def test_a_new_limit_is_checked(table, fast):
    middle = table["images_per_second"].median()
    met = limits.satisfied(standing.of(table), {**fast, FAST.key: middle})
    assert list(met) == [FAST.key]
    assert met[FAST.key].tolist() == (table["images_per_second"] >= middle).tolist()
    chosen = pick.choose(table, {**fast, FAST.key: middle})
    assert table.loc[chosen, "images_per_second"] >= middle


def test_a_new_limit_is_in_the_decision_and_in_what_would_change_it(table, fast):
    text = decision.text(choice(table, {**fast, FAST.key: 50}))
    assert "with throughput at least 50 images/s." in text
    assert "- with throughput above" in text
    assert "(now 50 images/s)" in text
    changes = pick.what_would_change(table, fast, lambda _: table, [])
    changed = [change.limit.key for change in changes]
    assert FAST.key in changed


def test_a_new_limit_that_nothing_keeps_is_said_to_be_missed(table, fast):
    deploy = {**fast, FAST.key: 1e5}
    best = table["images_per_second"].idxmax()
    label, broken = pick.nearest(table, deploy)
    assert label == best
    assert broken == {FAST.key: pytest.approx(table.loc[best, "images_per_second"] - 1e5)}
    missed = f"{1e5 - table.loc[best, 'images_per_second']:.0f} images/s"
    text = decision.text(choice(table, deploy))
    assert f"throughput at least 100000 images/s is missed by {missed}" in text
    assert "no: min_images_per_second" in tables.all_candidates(choice(table, deploy).table)


def test_a_new_limit_is_a_slider_of_the_page(table, fast):
    assert page.described_limits()[FAST.key] == {
        "column": "images_per_second",
        "estimate": "images_per_second",
        "worse": "",
        "direction": 1,
        "words": "throughput at least",
        "scale": 1,
        "digits": 0,
        "unit": " images/s",
    }
    for known in page.described(table):
        assert known["figures"]["images_per_second"] > 0


def test_a_new_objective_is_picked_by_and_offered_by_the_page(table, monkeypatch):
    goal = limits.Objective("throughput", "images_per_second", 1, "throughput", "the most images/s")
    monkeypatch.setattr(limits, "OBJECTIVES", [*limits.OBJECTIVES, goal])
    deploy = {**NO_LIMITS, "objective": "throughput"}
    chosen = pick.choose(table, deploy)
    obstacles = pick.obstacles(table, deploy)
    assert chosen == table["images_per_second"].where(obstacles == "").idxmax()
    assert "Wanted: the most images/s, no limits." in decision.text(choice(table, deploy))
    assert page.described_objectives()["throughput"]["column"] == "images_per_second"


@pytest.mark.parametrize(
    ("key", "value", "words", "strict", "distance"),
    [
        (
            "min_macro_f1",
            0.85,
            "validation macro-F1 at least 0.850",
            "validation macro-F1 above 0.850",
            "0.850",
        ),
        (
            "max_missed_defect_rate",
            0.08,
            "share of defects missed at most 8.00%",
            "share of defects missed below 8.00%",
            "8.00 points",
        ),
        ("max_megabytes", 2, "size at most 2.00 MB", "size below 2.00 MB", "2.00 MB"),
        ("max_p50_ms", 2, "p50 at most 2.00 ms", "p50 below 2.00 ms", "2.00 ms"),
    ],
)
def test_limits_in_words(key, value, words, strict, distance):
    limit = next(limit for limit in limits.LIMITS if limit.key == key)
    assert limit.words(value) == words
    assert limit.words(value, strict=True) == strict
    assert limit.distance(-value) == distance


def test_the_estimate_of_the_end_of_an_interval():
    estimates = {limit.key: limit.estimate for limit in limits.LIMITS}
    assert estimates == {
        "min_macro_f1": "val_macro_f1",
        "max_missed_defect_rate": "val_missed_defect_rate",
        "max_rejected_good_rate": "val_rejected_good_rate",
        "max_megabytes": "megabytes",
        "max_p50_ms": "p50_ms",
    }


def test_a_missing_value_keeps_no_limit():
    known = standing.Standing({"p50_high_ms": np.array([np.nan, 1])}, {}, None, None)
    met = limits.satisfied(known, {**NO_LIMITS, "max_p50_ms": 2})
    assert met["max_p50_ms"].tolist() == [False, True]
