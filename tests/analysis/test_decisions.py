"""What candidates decide, and which are told apart by it."""

import dataclasses

import numpy as np
import pytest
from beansweep.analysis import comparisons, decisions
from hypothesis import given
from hypothesis import strategies as st
from populations import image_set

DEPLOY = {"max_missed_defect_rate": 0.08, "max_by_hand_rate": 0}


def rejects_more(images, deploy=DEPLOY):
    """Which candidates are shown to reject more good images than which others."""
    points = decisions.points(images, deploy, 0.95)
    rejected = decisions.rejected(images, points)
    limit = deploy["max_missed_defect_rate"]
    margin = decisions.rejected_margins(images, {limit: points}, 0.95)[limit]
    return comparisons.worse(-rejected.mean(axis=1), margin)


def test_equal_networks_are_rarely_told_apart_by_thresholds_that_are_lucky():
    """Many good images and few defects: the thresholds are all that differs."""
    rng, wrongly = np.random.default_rng(0), 0
    fixed = 0
    for _ in range(60):
        images = image_set(rng, [0.5] * 3, goods=1000, defects=60)
        wrongly += rejects_more(images).any()
        rejected = decisions.rejected(images, decisions.points(images, DEPLOY, 0.95))
        fixed += comparisons.more_often(comparisons.only(rejected), 0.95).any()
    assert wrongly <= 8
    # At fixed thresholds they would be.
    assert fixed > 20


def test_a_worse_network_is_shown_to_reject_more():
    rng, found = np.random.default_rng(1), 0
    for _ in range(20):
        shown = rejects_more(image_set(rng, [0.1, 2.0], goods=300, defects=300))
        found += shown[1, 0]
        assert not shown[0, 1]
    assert found == 20


@pytest.mark.parametrize("changes", [{"max_missed_defect_rate": None}, {"max_by_hand_rate": 0.05}])
def test_candidates_are_told_apart_without_a_limit_and_with_images_by_hand(changes):
    images = image_set(np.random.default_rng(2), [0.1, 3.0], goods=300, defects=300)
    assert rejects_more(images, {**DEPLOY, **changes}).tolist() == [[False, False], [True, False]]


def test_without_good_images_nobody_is_told_apart():
    images = image_set(np.random.default_rng(3), [0.1, 3.0], goods=50, defects=50)
    plain = dataclasses.replace(images, is_defect=np.array([False, False]))
    points = decisions.points(plain, DEPLOY, 0.95)
    assert np.isinf(decisions.rejected_margins(plain, {0.08: points}, 0.95)[0.08]).all()


@given(st.integers(1, 400), st.sampled_from([None, 0.033, 0.08]))
def test_each_step_of_the_limit_allows_a_defect_more(defects, present):
    steps = decisions.limit_steps(defects, 0.95, present)
    assert steps == sorted(set(steps))
    assert present is None or present in steps
    assert all(0 < step <= 0.5 for step in steps)


def test_a_curve_falls_as_more_defects_are_missed():
    images = image_set(np.random.default_rng(4), [0.5], goods=80, defects=40)
    missed, rejected = decisions.curve(images.good_scores[0], images.defect_scores[0])
    assert (np.diff(missed) >= 0).all()
    assert (np.diff(rejected) <= 0).all()
    assert (missed[0], missed[-1]) == (0, 1)
    assert rejected[-1] == 0
