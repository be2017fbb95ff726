"""One row a candidate, every figure derived from predictions, latencies and model cards."""

from pathlib import Path

import numpy as np
import pandas as pd

from beansweep import diagnosis, files, metrics, pareto, predictions

SPLITS = ("val", "test")


def accuracy(found: pd.DataFrame, reference: pd.DataFrame, good_classes: list[str]) -> dict:
    """Accuracy figures on each split, keyed `{split}_{figure}`.

    Parameters
    ----------
    found, reference : predictions of the candidate, and of its backbone's FP32, image by image
    good_classes : every other class is a defect
    """
    labels = predictions.labels_of(found)
    is_defect = np.array([label not in good_classes for label in labels])
    row = {}
    for split in SPLITS:
        rows = found["split"] == split
        true, predicted = (predictions.indices(found.loc[rows, column], labels) for column in ("class", "predicted"))
        summary = metrics.summarise(true, predicted, len(labels))
        missed, defects = metrics.missed_defects(true, predicted, is_defect)
        row |= {
            f"{split}_macro_f1": summary["macro_f1"],
            f"{split}_accuracy": summary["accuracy"],
            f"{split}_missed_defects": missed,
            f"{split}_missed_defect_rate": missed / defects if defects else 0.0,
            f"{split}_agreement": float((found["predicted"] == reference["predicted"])[rows].mean()),
        }
        for figure in ("precision", "recall", "f1"):
            row |= {f"{split}_{figure}_{label}": value
                    for label, value in zip(labels, summary[figure], strict=True)}
    return row


def explain(folder: Path, variant: str, fp32: pd.DataFrame, found: pd.DataFrame, machine: str) -> dict:
    """Where an INT8 variant's loss comes from: the figures of `diagnosis.split_loss`, `finding`, `portability`."""
    figures = diagnosis.split_loss(fp32, predictions.read(folder / f"float_kernels/{variant}.csv"), found)
    recipe = files.read_json(folder / f"{variant}.json")["recipe"]
    table = folder / f"sensitivity/{recipe['base'] if recipe['quantizer'] == 'mixed' else variant}.csv"
    layers = pd.read_csv(table) if table.exists() else None
    if recipe["quantizer"] == "mixed":
        layers = layers[~layers["layer"].isin(recipe["float_layers"])]
    return {**figures, "finding": diagnosis.finding(figures, recipe, machine, layers),
            "portability": diagnosis.portability(recipe, machine, layers) or ""}


def table(results: Path, backbones: list[str], variants: list[str], good_classes: list[str]) -> pd.DataFrame:
    """All candidates of a sweep, with the front marked.

    Returns
    -------
    A row a candidate: backbone, variant, accuracy figures by split, latency figures in ms,
    megabytes, for INT8 the figures of `explain`, `front`, and `dominated_by` (names, separated by
    spaces).
    """
    rows = []
    for backbone in backbones:
        folder = results / backbone
        reference = predictions.read(folder / "predictions/fp32.csv")
        bench = files.read_json(folder / "latency.json")
        for variant in variants:
            figures = {key: value for key, value in bench["variants"][variant].items() if key != "samples_ms"}
            found = predictions.read(folder / f"predictions/{variant}.csv")
            row = {"backbone": backbone, "variant": variant, **accuracy(found, reference, good_classes), **figures}
            if variant != "fp32":
                row |= explain(folder, variant, reference, found, bench["machine"]["instruction_set"])
            rows.append(row)
    result = pd.DataFrame(rows)
    by = pareto.dominators(result["test_macro_f1"].to_numpy(), result["p50_ms"].to_numpy())
    names = result["backbone"] + ":" + result["variant"]
    result["front"] = [not each for each in by]
    result["dominated_by"] = [" ".join(names[each]) for each in by]
    return result
