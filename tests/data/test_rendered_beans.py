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
    one, two, other = (
        rendered_beans.render(label, 64, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
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
            borders.append(
                np.concatenate(
                    [
                        image[:2].mean((0, 1)),
                        image[-2:].mean((0, 1)),
                        image[:2].std((0, 1)),
                        image[-2:].std((0, 1)),
                    ]
                )
            )
            labels.append(number)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    score = cross_val_score(model, borders, labels, cv=5).mean()
    assert score < 1 / classes + 3 * np.sqrt((1 / classes) / (count * classes))
