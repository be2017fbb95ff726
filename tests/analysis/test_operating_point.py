"""The operating point keeps its limit on images that it has never seen."""

import math

import numpy as np
import pytest
from beansweep.analysis import operating_point
from hypothesis import given
from hypothesis import strategies as st

CONFIDENCE = 0.95
# Repetitions of a simulation, and what chance leaves of a share of 95% in so many: 4 sigma.
TIMES, CHANCE = 4000, 0.014


def threshold(defects, limit, scores=None, by_hand=0.0):
    scores = defects if scores is None else scores
    return operating_point.find(scores, defects, limit, by_hand, CONFIDENCE)


@pytest.mark.parametrize(("limit", "defects"), [(0.08, 36), (0.01, 299), (0.001, 2995)])
def test_so_many_defects_are_needed_for_a_limit(limit, defects):
    assert operating_point.defects_needed(limit, CONFIDENCE) == defects
    assert operating_point.allowed_misses(defects, limit, CONFIDENCE) == 0
    assert operating_point.allowed_misses(defects - 1, limit, CONFIDENCE) == -1
    assert operating_point.missed_bound(0, defects, CONFIDENCE) <= limit
    assert operating_point.missed_bound(0, defects - 1, CONFIDENCE) > limit


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_allowed_misses_are_the_most_that_clopper_and_pearson_allow(defects, limit, confidence):
    allowed = operating_point.allowed_misses(defects, limit, confidence)
    if allowed >= 0:
        assert operating_point.missed_bound(allowed, defects, confidence) <= limit + 1e-9
    if allowed + 1 < defects:
        assert operating_point.missed_bound(allowed + 1, defects, confidence) > limit - 1e-9


@pytest.mark.parametrize("defects", [36, 60, 100, 300])
@pytest.mark.parametrize("ties", [False, True])
def test_the_limit_holds_in_the_population_as_often_as_promised(defects, ties):
    """The score is uniform, so the share below a threshold is the threshold itself."""
    rng = np.random.default_rng(defects)
    kept = []
    for _ in range(TIMES):
        scores = rng.uniform(size=defects)
        if ties:
            scores = np.round(scores, 1)
        found = threshold(scores, 0.08).ship_below
        missed = found if not ties else max(0.0, math.ceil(found * 10 - 1e-9) / 10 - 0.05)
        kept.append(missed <= 0.08)
    share = np.mean(kept)
    assert share >= CONFIDENCE - CHANCE
    # By steps of a whole defect, few defects are further on the safe side.
    assert ties or share <= 1 - 0.5 * (1 - CONFIDENCE) + CHANCE


def test_too_few_defects_give_the_strictest_point_that_they_vouch_for():
    scores = np.linspace(0.2, 0.9, 20)
    assert threshold(scores, 0.08).ship_below == operating_point.rounded_down(0.2)
    assert operating_point.missed_bound(0, 20, CONFIDENCE) == pytest.approx(1 - 0.05 ** (1 / 20))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_a_looser_limit_ships_no_less(defects, one, other):
    strict, loose = sorted([one, other])
    scores = np.array(defects)
    assert threshold(scores, strict).ship_below <= threshold(scores, loose).ship_below


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_at_most_the_share_that_may_goes_to_a_person(good, defects, by_hand):
    scores = np.array(good + defects)
    without = threshold(np.array(defects), 0.2, scores)
    point = threshold(np.array(defects), 0.2, scores, by_hand)
    assert without.ship_below == without.reject_from == point.ship_below <= point.reject_from
    sent = (scores >= point.ship_below) & (scores < point.reject_from)
    assert sent.sum() <= by_hand * len(scores) + 1e-6


def test_near_duplicates_are_one_observation():
    scores = np.array([[0.5, 0.2, 0.9, 0.4]])
    groups = operating_point.group_scores(scores, np.array([0, 1, 0, 1]))
    np.testing.assert_array_equal(np.sort(groups), [[0.2, 0.5]])


def test_without_a_limit_the_likelier_kind_decides():
    assert threshold(np.array([0.1, 0.9]), None).ship_below == 0.5


@given(st.floats(1e-12, 1.5))
def test_a_threshold_has_few_digits_and_is_not_above_the_score(score):
    found = operating_point.rounded_down(score)
    assert found <= score <= found * (1 + 1.01e-5)
    assert float(f"{found:.6g}") == found


def test_a_score_adds_defect_classes_alone():
    probabilities = np.array([[0.5, 0.2, 0.3]], np.float32)
    found = operating_point.defect_scores(probabilities, np.array([False, True, True]))
    assert found[0] == float(np.float32(0.2)) + float(np.float32(0.3))


def test_where_all_the_rest_may_go_to_a_person_no_score_is_rejected():
    """As written to a table with few digits, too."""
    scores = np.array([0.2, 0.6, 1.0 + 1e-7])
    point = threshold(scores, None, by_hand=1.0)
    assert float(f"{point.reject_from:.6g}") == point.reject_from > scores.max()
