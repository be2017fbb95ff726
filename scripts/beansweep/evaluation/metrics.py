"""Accuracy figures, all derived from per-image predictions.

Counted here and not by scikit-learn, which the tests compare them with: importing it takes longer
than most of the stages that ask for a macro-F1.
"""

import numpy as np


def macro_f1(true: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Unweighted mean of the classes' F1; a class never predicted and never true counts 0."""
    return summarise(true, predicted, classes)["macro_f1"]


def summarise(true: np.ndarray, predicted: np.ndarray, classes: int) -> dict:
    """Accuracy, macro-F1, per-class precision, recall, F1 and count, and the confusion matrix.

    Parameters
    ----------
    true, predicted : int [n] class indices below `classes`

    Returns
    -------
    `confusion` has a row a true class and a column a predicted class; a ratio of nothing is 0.
    """
    confusion = np.bincount(np.asarray(true) * classes + predicted, minlength=classes**2).reshape(
        classes, classes
    )
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
    return part / np.maximum(whole, 1)


def missed_defects(
    true: np.ndarray, predicted: np.ndarray, is_defect: np.ndarray
) -> tuple[int, int]:
    """Defect images predicted as any good class, and defect images in all.

    Parameters
    ----------
    true, predicted : int [n] class indices
    is_defect : bool [classes]
    """
    defects = is_defect[true]
    return int(np.sum(defects & ~is_defect[predicted])), int(np.sum(defects))
