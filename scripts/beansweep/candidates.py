"""One row a candidate, every figure derived from predictions, latencies and model cards."""

from pathlib import Path

import numpy as np
import pandas as pd

from beansweep import files, metrics, pareto

SPLITS = ("val", "test")


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions file as `evaluate` wrote it; class names stay text."""
    return pd.read_csv(path, dtype={"path": str, "split": str, "class": str, "predicted": str}, keep_default_na=False)


def labels_of(predictions: pd.DataFrame) -> list[str]:
    """Class names, in the order of the probability columns."""
    return [column.removeprefix("p_") for column in predictions if column.startswith("p_")]


def indices(names: pd.Series, labels: list[str]) -> np.ndarray:
    """Class names as int indices into `labels`."""
    return pd.Categorical(names, categories=labels).codes.astype(int)


def accuracy(predictions: pd.DataFrame, reference: pd.DataFrame, good_classes: list[str]) -> dict:
    """Accuracy figures on each split, keyed `{split}_{figure}`.

    Parameters
    ----------
    predictions, reference : of the candidate, and of its backbone's FP32, image by image
    good_classes : every other class is a defect
    """
    labels = labels_of(predictions)
    is_defect = np.array([label not in good_classes for label in labels])
    row = {}
    for split in SPLITS:
        rows = predictions["split"] == split
        true, predicted = (indices(predictions.loc[rows, column], labels) for column in ("class", "predicted"))
        summary = metrics.summarise(true, predicted, len(labels))
        missed, defects = metrics.missed_defects(true, predicted, is_defect)
        row |= {
            f"{split}_macro_f1": summary["macro_f1"],
            f"{split}_accuracy": summary["accuracy"],
            f"{split}_missed_defects": missed,
            f"{split}_missed_defect_rate": missed / defects if defects else 0.0,
            f"{split}_agreement": float((predictions["predicted"] == reference["predicted"])[rows].mean()),
        }
        for figure in ("precision", "recall", "f1"):
            row |= {f"{split}_{figure}_{label}": value
                    for label, value in zip(labels, summary[figure], strict=True)}
    return row


def table(results: Path, backbones: list[str], variants: list[str], good_classes: list[str]) -> pd.DataFrame:
    """All candidates of a sweep, with the front marked.

    Returns
    -------
    A row a candidate: backbone, variant, accuracy figures by split, latency figures in ms,
    megabytes, `front`, and `dominated_by` (names, separated by spaces).
    """
    rows = []
    for backbone in backbones:
        folder = results / backbone
        reference = read_predictions(folder / "predictions/fp32.csv")
        timings = files.read_json(folder / "latency.json")["variants"]
        for variant in variants:
            figures = {key: value for key, value in timings[variant].items() if key != "samples_ms"}
            predictions = read_predictions(folder / f"predictions/{variant}.csv")
            rows.append({"backbone": backbone, "variant": variant,
                         **accuracy(predictions, reference, good_classes), **figures})
    result = pd.DataFrame(rows)
    by = pareto.dominators(result["test_macro_f1"].to_numpy(), result["p50_ms"].to_numpy())
    names = result["backbone"] + ":" + result["variant"]
    result["front"] = [not each for each in by]
    result["dominated_by"] = [" ".join(names[each]) for each in by]
    return result
