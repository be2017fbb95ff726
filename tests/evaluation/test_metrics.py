"""Accuracy figures against scikit-learn and against counting by hand."""

import numpy as np
from beansweep.evaluation import metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

CLASSES = 4
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60
)


@given(pairs)
def test_figures_equal_scikit_learns(rows):
    true, predicted = np.array(rows).T
    summary = metrics.summarise(true, predicted, CLASSES)
    options = {"labels": range(CLASSES), "average": None, "zero_division": 0}
    np.testing.assert_allclose(summary["f1"], f1_score(true, predicted, **options))
    np.testing.assert_allclose(summary["precision"], precision_score(true, predicted, **options))
    np.testing.assert_allclose(summary["recall"], recall_score(true, predicted, **options))
    assert np.isclose(metrics.macro_f1(true, predicted, CLASSES), np.mean(summary["f1"]))
    assert np.isclose(summary["accuracy"], accuracy_score(true, predicted))
    np.testing.assert_array_equal(
        summary["confusion"], confusion_matrix(true, predicted, labels=range(CLASSES))
    )
