"""Predictions: made by a model image by image, kept as a table, and read for every figure."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.common import files, processors, progress
from beansweep.data import pixels, preprocess

# Before the columns of probabilities.
_COLUMNS = ("path", "split", "class", "predicted")


def predict(
    logits: Callable[[np.ndarray], np.ndarray],
    metadata: dict,
    images: pixels.Images,
    rows: pd.DataFrame,
    description: str,
) -> pd.DataFrame:
    """Predict images one by one.

    Parameters
    ----------
    logits : the model, a function from network input [1, 3, size, size] to logits [1, classes]
    metadata : of the model
    images : of the manifest
    rows : of the manifest
    description : words for the lines that show progress

    Returns
    -------
    path, split and class of the rows, the predicted class, and p_<class>: each class's probability
    """
    labels, preprocessing = metadata["labels"], metadata["preprocessing"]
    found = []
    selection = images.select(rows["path"], preprocessing)
    for number in progress.track(range(len(selection)), description):
        # Batch 1, one thread: the same arithmetic as on the device, whatever the batch would do.
        inputs = preprocess.normalise(selection[number][None], preprocessing)
        found.append(preprocess.softmax(logits(inputs))[0])
    probabilities = np.stack(found)
    result = rows[["path", "split", "class"]].reset_index(drop=True)
    result["predicted"] = [labels[index] for index in probabilities.argmax(axis=1)]
    columns = [f"p_{label}" for label in labels]
    return pd.concat([result, pd.DataFrame(probabilities, columns=columns)], axis=1)


def same_in_float_kernels(metadata: Path) -> bool:
    """Whether a model gives the same bytes in float kernels on this machine.

    A dynamic model has integer operators in its graph, and no others to choose from. Those of this
    machine sum exactly where 8-bit weights do not saturate or weights have 7 bits. Dynamic models
    are by far the slowest, so it pays not to run them twice.

    Parameters
    ----------
    metadata : the JSON file next to the model
    """
    recipe = files.read_json(metadata)["recipe"]
    if recipe.get("quantizer") != "dynamic":
        return False
    return recipe["reduce_range"] or not processors.saturates(processors.detect())


def none(labels: list[str]) -> pd.DataFrame:
    """The predictions of a variant that a backbone cannot have: the columns without a row."""
    return pd.DataFrame(columns=[*_COLUMNS, *[f"p_{label}" for label in labels]])


def read(path: Path) -> pd.DataFrame:
    """Read a table of predictions; class names stay text."""
    return pd.read_csv(
        path,
        dtype={"path": str, "split": str, "class": str, "predicted": str},
        keep_default_na=False,
    )


def labels_of(predictions: pd.DataFrame) -> list[str]:
    """Class names, in the order of the probability columns."""
    columns = predictions.columns.astype(str)
    return [column.removeprefix("p_") for column in columns if column.startswith("p_")]


def indices(names: pd.Series, labels: list[str]) -> np.ndarray:
    """Class names as indices into `labels`: int [n]."""
    return pd.Categorical(names, categories=labels).codes.astype(int)


def test_classes(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Classes of the test images.

    Returns
    -------
    true, predicted : int [n] class indices
    labels : the class names that they index
    """
    rows, labels = predictions[predictions["split"] == "test"], labels_of(predictions)
    return indices(rows["class"], labels), indices(rows["predicted"], labels), labels
