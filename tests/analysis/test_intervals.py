"""Intervals contain the true value as often as they claim."""

import numpy as np
import pytest
from beansweep.analysis import intervals
from populations import CLASSES, POPULATION, macro_f1, population_macro_f1, sample, worse_by
from scipy import stats


@pytest.mark.parametrize("per_class", [40, 200])
def test_intervals_of_macro_f1_cover(per_class):
    rng = np.random.default_rng(per_class)
    expected, covered = population_macro_f1(POPULATION), 0
    for _ in range(300):
        true, predicted = sample(rng, POPULATION, per_class)
        draws = intervals.macro_f1_draws(true, predicted[None], CLASSES)[0]
        mistakes = int(np.sum(true != predicted))
        low, high = intervals.macro_f1_interval(draws, mistakes, len(true), 0.95)
        covered += low <= expected <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_a_mistake_is_never_known_better_than_none():
    """Where each class has one image, resampled classes never differ."""
    true, low = np.arange(20), []
    for mistakes in (0, 1):
        predicted = true.copy()
        predicted[:mistakes] = 1
        draws = intervals.macro_f1_draws(true, predicted[None], 20)[0]
        low.append(intervals.macro_f1_interval(draws, mistakes, len(true), 0.95)[0])
    assert low[1] < low[0] < 0.9


@pytest.mark.parametrize("share", [0.03, 0.2, 0.9])
def test_intervals_of_shares_cover(share):
    covered = 0
    for count in np.random.default_rng(0).binomial(120, share, 400):
        low, high = intervals.share_interval(int(count), 120, 0.95)
        covered += low <= share <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_paired_intervals_of_the_accuracy_drop_cover():
    """Both models err together on most images: the drop is known far better than either score."""
    rng = np.random.default_rng(1)
    share = 0.05
    matrix = (1 - share) * POPULATION + share / CLASSES
    expected = population_macro_f1(POPULATION) - population_macro_f1(matrix)
    covered, widths, single = 0, [], []
    for _ in range(300):
        true, reference = sample(rng, POPULATION, 150)
        other = worse_by(rng, reference, share)
        draws = intervals.macro_f1_draws(true, np.stack([reference, other]), CLASSES)
        low, high = intervals.interval(draws[0] - draws[1], 0.95)
        covered += low <= expected <= high
        widths.append(high - low)
        single.append(np.ptp(intervals.interval(draws[0], 0.95)))
    assert 0.92 <= covered / 300 <= 0.98
    assert np.mean(widths) < 0.6 * np.mean(single)


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
        plain.append(macro_f1(true[chosen], predicted[chosen]))
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
