"""Intervals cover what they say, and verdicts follow from what the images can tell."""

import numpy as np
import pytest
from beansweep.analysis import comparisons, intervals
from beansweep.evaluation import metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

CLASSES = 4
# P(predicted | true) of a population: rows are true classes.
POPULATION = np.array(
    [
        [0.90, 0.06, 0.02, 0.02],
        [0.10, 0.80, 0.05, 0.05],
        [0.02, 0.03, 0.93, 0.02],
        [0.04, 0.08, 0.03, 0.85],
    ]
)


def sample(rng, matrix, per_class):
    """True classes and predictions of a set of images drawn from a population."""
    true = np.repeat(np.arange(len(matrix)), per_class)
    return true, np.array([rng.choice(len(matrix), p=matrix[label]) for label in true])


def population_macro_f1(matrix):
    hits, found = np.diag(matrix), matrix.sum(axis=0)
    return np.mean(2 * hits / (found + 1))


def score(true, predicted):
    return metrics.macro_f1(true, predicted, CLASSES)


@pytest.mark.parametrize("per_class", [40, 200])
def test_intervals_of_macro_f1_cover(per_class):
    rng = np.random.default_rng(per_class)
    expected, covered = population_macro_f1(POPULATION), 0
    for _ in range(300):
        true, predicted = sample(rng, POPULATION, per_class)
        draws = intervals.macro_f1_draws(true, predicted[None], CLASSES)[0]
        low, high = intervals.macro_f1_interval(
            draws, int(np.sum(true != predicted)), len(true), 0.95
        )
        covered += low <= expected <= high
    assert 0.92 <= covered / 300 <= 0.98


@pytest.mark.parametrize("share", [0.03, 0.2, 0.9])
def test_intervals_of_shares_cover(share):
    counts = np.random.default_rng(0).binomial(120, share, 400)
    covered = [
        low <= share <= high
        for low, high in (intervals.share_interval(int(count), 120, 0.95) for count in counts)
    ]
    assert 0.92 <= np.mean(covered) <= 0.98


def worse_by(rng, true, predicted, share):
    """The same predictions, with a share of them replaced at random."""
    return np.where(rng.random(len(true)) < share, rng.integers(0, CLASSES, len(true)), predicted)


def test_paired_intervals_of_the_loss_cover():
    """Both models err together on most images: the loss is known far better than either score."""
    rng = np.random.default_rng(1)
    share = 0.05
    matrix = (1 - share) * POPULATION + share / CLASSES
    expected, covered, widths, single = (
        population_macro_f1(POPULATION) - population_macro_f1(matrix),
        0,
        [],
        [],
    )
    for _ in range(300):
        true, reference = sample(rng, POPULATION, 150)
        other = worse_by(rng, true, reference, share)
        draws = intervals.macro_f1_draws(true, np.stack([reference, other]), CLASSES)
        low, high = intervals.interval(draws[0] - draws[1], 0.95)
        covered += low <= expected <= high
        widths.append(high - low)
        single.append(np.ptp(intervals.interval(draws[0], 0.95)))
    assert 0.92 <= covered / 300 <= 0.98
    assert np.mean(widths) < 0.6 * np.mean(single)


def test_two_equal_models_are_rarely_told_apart_and_a_collapsed_one_always():
    rng = np.random.default_rng(2)
    wrongly, collapsed = 0, 0
    for _ in range(200):
        true, first = sample(rng, POPULATION, 100)
        others = [sample(rng, POPULATION, 100)[1] for _ in range(3)]
        predicted = np.stack([first, *others, rng.integers(0, CLASSES, len(true))])
        scores = np.array([score(true, each) for each in predicted])
        draws = intervals.macro_f1_draws(true, predicted, CLASSES)
        beaten = comparisons.beaten(scores, draws, predicted == true, 0.95)
        wrongly += beaten[:4, :4].any()
        collapsed += beaten[4, :4].all()
    # Of 200 families of four equal models about 10 are told apart wrongly, the test being exact.
    assert wrongly <= 18
    assert collapsed == 200


def test_one_defect_more_or_less_missed_shows_nothing_and_half_of_them_does():
    rng = np.random.default_rng(3)
    hardness, wrongly = rng.uniform(size=300), 0
    for _ in range(200):
        missed = hardness + rng.normal(0, 0.1, (4, 300)) > 0.95
        wrongly += comparisons.misses_more(missed, 0.95).any()
    # At most one family of four equal models in twenty; Bonferroni's correction leaves far fewer.
    assert wrongly <= 10
    missed = np.zeros((3, 300), bool)
    missed[0, :14] = missed[1, :17] = missed[2, :150] = True
    assert comparisons.misses_more(missed, 0.95).tolist() == [
        [False] * 3,
        [False] * 3,
        [True, True, False],
    ]


def verdict(true, reference, other, margin=0.01):
    draws = intervals.macro_f1_draws(true, np.stack([reference, other]), CLASSES)
    loss = score(true, reference) - score(true, other)
    return comparisons.paired(true, reference, other, draws[0] - draws[1], loss, 0.95, margin)


def test_verdicts():
    rng = np.random.default_rng(3)
    true, reference = sample(rng, POPULATION, 400)
    assert verdict(true, reference, reference)["verdict"] == "non-inferior"
    assert verdict(true, reference, rng.integers(0, CLASSES, len(true)))["verdict"] == "inferior"
    undecided = verdict(true, reference, worse_by(rng, true, reference, 0.015))
    assert undecided["verdict"] == "undecided"
    assert undecided["images_to_decide"] > 0
    # Sixty images without a difference do not prove that there is less than a hundredth.
    few = np.repeat(np.arange(CLASSES), 15)
    assert verdict(few, few, few)["verdict"] == "undecided"


def test_as_many_more_images_as_asked_for_decide():
    rng = np.random.default_rng(4)
    undecided = 0
    for _ in range(8):
        true, reference = sample(rng, POPULATION, 60)
        other = worse_by(rng, true, reference, 0.03)
        first = verdict(true, reference, other)
        if first["verdict"] == "undecided" and first["images_to_decide"] < 20 * len(true):
            undecided += 1
            copies = 1 + int(np.ceil(1.3 * first["images_to_decide"] / len(true)))
            assert (
                verdict(*(np.tile(each, copies) for each in (true, reference, other)))["verdict"]
                != "undecided"
            )
    assert undecided >= 3


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test(one, other):
    expected = min(1.0, 2 * stats.binom.cdf(min(one, other), one + other, 0.5))
    assert comparisons.mcnemar(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_draws_are_macro_f1_on_resampled_images(seed):
    """Their mean and spread agree with a plain loop over resampled sets of images."""
    rng = np.random.default_rng(seed)
    true, predicted = sample(rng, POPULATION, 25)
    plain = []
    for _ in range(400):
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(true == label), 25) for label in range(CLASSES)]
        )
        plain.append(score(true[chosen], predicted[chosen]))
    draws = intervals.macro_f1_draws(true, predicted[None], CLASSES)[0]
    assert draws.mean() == pytest.approx(np.mean(plain), abs=5 * np.std(plain) / 20)
    assert draws.std() == pytest.approx(np.std(plain), rel=0.25)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3], [1.0, 1.0]])
def test_students_interval(values):
    mean, low, high = intervals.mean_interval(np.array(values), 0.9)
    assert mean == pytest.approx(np.mean(values))
    assert low <= mean <= high
    if np.std(values):
        expected = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
        assert (low, high) == pytest.approx(expected)


def test_one_repetition_has_no_interval():
    assert intervals.mean_interval(np.array([1.0]), 0.95)[1:] == (-np.inf, np.inf)
