"""Predictions: made by a model image by image, kept as a table, read again for every figure."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from beansweep.data import preprocess
from beansweep.models import onnx_session


def predict(
    session: onnxruntime.InferenceSession,
    metadata: dict,
    root: Path,
    rows: pd.DataFrame,
    watch: Callable[[Iterable], Iterator],
) -> pd.DataFrame:
    """The rows' path, split and class, with the predicted class and each class's probability.

    Parameters
    ----------
    session, metadata : as `runtime.load` gives them
    root : folder that the rows' paths are relative to
    watch : wraps the iteration over images, to show progress
    """
    labels, preprocessing = metadata["labels"], metadata["preprocessing"]
    # Batch 1, one thread: the same arithmetic as on the device, whatever the batch would do.
    probabilities = np.stack(
        [
            preprocess.softmax(
                onnx_session.logits(session, preprocess.tensor(root / path, preprocessing))
            )[0]
            for path in watch(rows["path"])
        ]
    )
    result = rows[["path", "split", "class"]].reset_index(drop=True)
    result["predicted"] = [labels[index] for index in probabilities.argmax(axis=1)]
    return pd.concat(
        [result, pd.DataFrame(probabilities, columns=[f"p_{label}" for label in labels])], axis=1
    )


def read(path: Path) -> pd.DataFrame:
    """A predictions file as `evaluate` wrote it; class names stay text."""
    return pd.read_csv(
        path,
        dtype={"path": str, "split": str, "class": str, "predicted": str},
        keep_default_na=False,
    )


def labels_of(predictions: pd.DataFrame) -> list[str]:
    """Class names, in the order of the probability columns."""
    return [column.removeprefix("p_") for column in predictions if column.startswith("p_")]


def indices(names: pd.Series, labels: list[str]) -> np.ndarray:
    """Class names as int indices into `labels`."""
    return pd.Categorical(names, categories=labels).codes.astype(int)


def test_classes(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """True and predicted class of each test image, int [n] both, and the labels that they index."""
    rows, labels = predictions[predictions["split"] == "test"], labels_of(predictions)
    return indices(rows["class"], labels), indices(rows["predicted"], labels), labels
