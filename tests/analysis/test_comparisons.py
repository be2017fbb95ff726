"""Verdicts follow from what the images can show."""

import numpy as np
import pytest
from beansweep.analysis import comparisons, intervals
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import CLASSES, POPULATION, macro_f1, sample, worse_by
from scipy import stats


def test_two_equal_models_are_rarely_told_apart_and_a_collapsed_one_always():
    rng = np.random.default_rng(2)
    wrongly, collapsed = 0, 0
    for _ in range(200):
        true, first = sample(rng, POPULATION, 100)
        others = [sample(rng, POPULATION, 100)[1] for _ in range(3)]
        predicted = np.stack([first, *others, rng.integers(0, CLASSES, len(true))])
        beaten = all_pairs(true, predicted)
        wrongly += beaten[:4, :4].any()
        collapsed += beaten[4, :4].all()
    # Of 200 families of four equal models about 10 are told apart wrongly, the test being exact.
    assert wrongly <= 18
    assert collapsed == 200


def all_pairs(true, predicted):
    scores = np.array([macro_f1(true, own) for own in predicted])
    draws = intervals.macro_f1_draws(true, predicted, CLASSES)
    margin = comparisons.margins(scores, draws, predicted == true, 0.95)
    return comparisons.worse(scores, margin)


def test_two_models_that_collapsed_alike_hide_no_other_difference():
    """Each predicts one class: their macro-F1 is the same in every resample."""
    rng = np.random.default_rng(5)
    true, good = sample(rng, POPULATION, 100)
    predicted = np.stack([good, np.zeros_like(true), np.ones_like(true)])
    assert all_pairs(true, predicted).tolist() == [
        [False, False, False],
        [True, False, False],
        [True, False, False],
    ]


def more_often(flags):
    return comparisons.more_often(comparisons.only(flags), 0.95)


def test_one_defect_more_or_less_missed_shows_nothing_and_half_of_them_does():
    rng = np.random.default_rng(3)
    hardness, wrongly = rng.uniform(size=300), 0
    for _ in range(200):
        missed = hardness + rng.normal(0, 0.1, (4, 300)) > 0.95
        wrongly += more_often(missed).any()
    # At most one family of four equal models in twenty; Bonferroni's correction leaves far fewer.
    assert wrongly <= 10
    missed = np.zeros((3, 300), bool)
    missed[0, :14] = missed[1, :17] = missed[2, :150] = True
    assert more_often(missed).tolist() == [
        [False] * 3,
        [False] * 3,
        [True, True, False],
    ]


def verdict(true, reference, other, margin=0.01):
    draws = intervals.macro_f1_draws(true, np.stack([reference, other]), CLASSES)
    drop = macro_f1(true, reference) - macro_f1(true, other)
    return comparisons.paired(true, reference, other, draws[0] - draws[1], drop, 0.95, margin)


def test_verdicts():
    rng = np.random.default_rng(3)
    true, reference = sample(rng, POPULATION, 400)
    assert verdict(true, reference, reference)["verdict"] == "non-inferior"
    assert verdict(true, reference, rng.integers(0, CLASSES, len(true)))["verdict"] == "inferior"
    undecided = verdict(true, reference, worse_by(rng, reference, 0.015))
    assert undecided["verdict"] == "undecided"
    assert undecided["images_to_decide"] > 0
    # Sixty images without a difference do not prove that there is less than a hundredth.
    few = np.repeat(np.arange(CLASSES), 15)
    assert verdict(few, few, few)["verdict"] == "undecided"


def test_few_images_that_differ_do_not_show_too_much():
    """With a drop of exactly the margin, at most one in forty is called non-inferior."""
    rng, wrongly, runs = np.random.default_rng(6), 0, 300
    true = np.repeat(np.arange(CLASSES), 360 // CLASSES)
    for _ in range(runs):
        # The other one loses a hundredth of the images, and gains none.
        other = np.where(rng.uniform(size=len(true)) < 0.01, (true + 1) % CLASSES, true)
        wrongly += verdict(true, true, other)["verdict"] == "non-inferior"
    assert wrongly <= stats.binom.ppf(0.999, runs, 0.025)


def test_one_image_that_differs_leaves_more_open_than_none():
    true = np.repeat(np.arange(CLASSES), 50)
    other = true.copy()
    other[0] = 1
    same, differs = verdict(true, true, true), verdict(true, true, other)
    assert same["drop_low"] < 0 < same["drop_high"] < differs["drop_high"]


def test_as_many_more_images_as_asked_for_decide():
    rng = np.random.default_rng(4)
    undecided = 0
    for _ in range(8):
        true, reference = sample(rng, POPULATION, 60)
        other = worse_by(rng, reference, 0.03)
        first = verdict(true, reference, other)
        if first["verdict"] == "undecided" and first["images_to_decide"] < 20 * len(true):
            undecided += 1
            copies = 1 + int(np.ceil(1.3 * first["images_to_decide"] / len(true)))
            more = [np.tile(classes, copies) for classes in (true, reference, other)]
            assert verdict(*more)["verdict"] != "undecided"
    assert undecided >= 3


@pytest.mark.parametrize(
    ("drop", "low", "high", "expected"),
    [
        (0.0, -0.005, 0.005, np.nan),
        (0.05, 0.02, 0.08, np.nan),
        (0.01, 0.0, 0.02, np.inf),
        # The upper end has to come half as near: four times as many images, three times more.
        (0.0, -0.02, 0.02, 300),
    ],
)
def test_the_number_of_images_to_decide(drop, low, high, expected):
    found = comparisons.images_to_decide(100, drop, low, high, margin=0.01)
    assert found == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test(one, other):
    expected = min(1.0, 2 * stats.binom.cdf(min(one, other), one + other, 0.5))
    assert comparisons.mcnemar(one, other) == pytest.approx(expected)


@given(st.integers(2, 20), st.integers(0, 40), st.integers(0, 40))
def test_a_pair_is_told_apart_where_mcnemars_p_is_below_its_share_of_the_error(count, one, other):
    only = np.zeros((count, count))
    only[0, 1], only[1, 0] = one, other
    bound = 0.05 / (count * (count - 1) / 2)
    told_apart = bool(comparisons.mcnemar(one, other) <= bound)
    found = comparisons.more_often(only, 0.95)
    assert found[0, 1] == (told_apart and one > other)
    assert found[1, 0] == (told_apart and other > one)


def test_images_that_one_flags_and_the_other_does_not():
    flags = np.array([[True, True, False, False], [True, False, False, True]])
    assert comparisons.only(flags).tolist() == [[0, 1], [1, 0]]
