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


@given(pairs, st.lists(st.booleans(), min_size=CLASSES, max_size=CLASSES))
def test_missed_defects_are_defects_called_good(rows, defect):
    true, predicted = np.array(rows).T
    missed, defects = metrics.missed_defects(true, predicted, np.array(defect))
    assert missed == sum(defect[t] and not defect[p] for t, p in rows)
    assert defects == sum(defect[t] for t, _ in rows)


def test_a_confusion_between_two_kinds_of_good_or_of_defect_is_no_missed_defect():
    is_defect = np.array([False, False, True, True])
    assert metrics.missed_defects(np.array([0, 2, 3]), np.array([1, 3, 0]), is_defect) == (1, 2)
