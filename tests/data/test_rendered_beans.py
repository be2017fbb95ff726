"""The rendered beans: repeatable, varied, and not told apart by their background."""

import numpy as np
import pytest
from beansweep.data import rendered_beans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@pytest.mark.parametrize("label", rendered_beans.CLASSES)
def test_a_bean_follows_from_its_seed(label):
    one = rendered_beans.render(label, 64, np.random.default_rng(1))
    two = rendered_beans.render(label, 64, np.random.default_rng(1))
    other = rendered_beans.render(label, 64, np.random.default_rng(2))
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    assert np.abs(one.astype(int) - other).mean() > 5


def test_the_border_of_the_picture_does_not_tell_the_class():
    count, classes = 60, len(rendered_beans.CLASSES)
    borders, labels = [], []
    for number, label in enumerate(rendered_beans.CLASSES):
        for index in range(count):
            image = rendered_beans.render(label, 48, np.random.default_rng([number, index]))
            top, bottom = image[:2], image[-2:]
            means = [top.mean((0, 1)), bottom.mean((0, 1))]
            deviations = [top.std((0, 1)), bottom.std((0, 1))]
            borders.append(np.concatenate(means + deviations))
            labels.append(number)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    score = cross_val_score(model, borders, labels, cv=5).mean()
    assert score < 1 / classes + 3 * np.sqrt((1 / classes) / (count * classes))
