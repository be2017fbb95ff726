"""Accuracy figures, all derived from per-image predictions."""

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


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
    `confusion` has a row a true class and a column a predicted class.
    """
    labels = np.arange(classes)
    precision, recall, f1, count = precision_recall_fscore_support(
        true, predicted, labels=labels, average=None, zero_division=0
    )
    return {
        "accuracy": float(np.mean(true == predicted)),
        "macro_f1": float(f1.mean()),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "count": count.tolist(),
        "confusion": confusion_matrix(true, predicted, labels=labels).tolist(),
    }


def missed_defects(true: np.ndarray, predicted: np.ndarray, is_defect: np.ndarray) -> tuple[int, int]:
    """Defect images predicted as any good class, and defect images in all.

    Parameters
    ----------
    true, predicted : int [n] class indices
    is_defect : bool [classes]
    """
    defects = is_defect[true]
    return int(np.sum(defects & ~is_defect[predicted])), int(np.sum(defects))
