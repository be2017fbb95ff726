"""Accuracy figures, all derived from per-image predictions.

They are counted here and not by scikit-learn, because importing it takes longer than most of the
stages that need a macro-F1. The tests compare the two.
"""

import numpy as np


def macro_f1(true: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Unweighted mean of the classes' F1; a class never predicted and never true counts 0.

    Parameters are those of `summarise`.
    """
    return summarise(true, predicted, classes)["macro_f1"]


def summarise(true: np.ndarray, predicted: np.ndarray, classes: int) -> dict:
    """Count all accuracy figures.

    Parameters
    ----------
    true, predicted : int [n] class indices below `classes`
    classes : how many there are

    Returns
    -------
    accuracy, macro_f1 : numbers
    precision, recall, f1, count : lists with a value for each class; a ratio of nothing is 0
    confusion : a row for each true class, a column for each predicted class
    """
    pair_counts = np.bincount(np.asarray(true) * classes + predicted, minlength=classes**2)
    confusion = pair_counts.reshape(classes, classes)
    right, count, called = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = _ratio(2 * right, count + called)
    return {
        "accuracy": float(right.sum() / len(true)),
        "macro_f1": float(f1.mean()),
        "precision": _ratio(right, called).tolist(),
        "recall": _ratio(right, count).tolist(),
        "f1": f1.tolist(),
        "count": count.tolist(),
        "confusion": confusion.tolist(),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Elementwise ratio of counts; 0 where both are 0."""
    return part / np.maximum(whole, 1)
