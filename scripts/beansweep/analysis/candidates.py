"""One row a candidate, every figure derived from predictions, latencies and model cards."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import accuracy_drop, comparisons, front, intervals, pick, portability
from beansweep.common import files
from beansweep.evaluation import metrics, predictions

SPLITS = ("val", "test")


def rates(
    true: np.ndarray,
    predicted: np.ndarray,
    labels: list[str],
    good_classes: list[str],
    confidence: float,
) -> dict:
    """Accuracy figures of one candidate on one split; shares with their intervals.

    Parameters
    ----------
    true, predicted : int [n] class indices
    good_classes : every other class is a defect
    """
    summary = metrics.summarise(true, predicted, len(labels))
    missed, defects = metrics.missed_defects(
        true, predicted, np.array([label not in good_classes for label in labels])
    )
    low, high = intervals.share_interval(missed, defects, confidence)
    row = {
        "macro_f1": summary["macro_f1"],
        "accuracy": summary["accuracy"],
        "missed_defects": missed,
        "missed_defect_rate": missed / defects if defects else 0.0,
        "missed_defect_rate_low": low,
        "missed_defect_rate_high": high,
    }
    for index, label in enumerate(labels):
        row |= {
            f"{figure}_{label}": summary[figure][index] for figure in ("precision", "recall", "f1")
        }
        hits, count = summary["confusion"][index][index], summary["count"][index]
        row[f"recall_low_{label}"], row[f"recall_high_{label}"] = intervals.share_interval(
            hits, count, confidence
        )
    return row


def judge(
    found: list[pd.DataFrame], reference: list[int], good_classes: list[str], report: dict
) -> tuple[list[dict], dict[str, dict[str, np.ndarray]]]:
    """Every candidate's accuracy on both splits, all judged on the same resampled images.

    Parameters
    ----------
    found : predictions of each candidate, the same images in the same order
    reference : for each candidate, the position of its backbone's FP32
    report : confidence and non_inferiority_margin, as in config.yaml

    Returns
    -------
    A row a candidate, its keys `{split}_{figure}`; and split -> `beaten_by` and `misses_more_than`, as
    `uncertainty.beaten` and `uncertainty.misses_more` give them.
    """
    labels = predictions.labels_of(found[0])
    is_defect = np.array([label not in good_classes for label in labels])
    rows, shown = [{} for _ in found], {}
    for split in SPLITS:
        images = [each[each["split"] == split] for each in found]
        true = predictions.indices(images[0]["class"], labels)
        predicted = np.stack([predictions.indices(each["predicted"], labels) for each in images])
        draws = intervals.macro_f1_draws(true, predicted, len(labels))
        figures = [
            rates(true, each, labels, good_classes, report["confidence"]) for each in predicted
        ]
        scores = np.array([each["macro_f1"] for each in figures])
        missed = ~is_defect[predicted[:, is_defect[true]]]
        shown[split] = {
            "beaten_by": comparisons.beaten(scores, draws, predicted == true, report["confidence"]),
            "misses_more_than": comparisons.misses_more(missed, report["confidence"]),
        }
        for index, (row, of) in enumerate(zip(figures, reference, strict=True)):
            row["macro_f1_low"], row["macro_f1_high"] = intervals.macro_f1_interval(
                draws[index], int(np.sum(predicted[index] != true)), len(true), report["confidence"]
            )
            row["agreement"] = float(np.mean(predicted[index] == predicted[of]))
            if of != index:
                row["drop"] = scores[of] - scores[index]
                row |= comparisons.paired(
                    true,
                    predicted[of],
                    predicted[index],
                    draws[of] - draws[index],
                    row["drop"],
                    report["confidence"],
                    report["non_inferiority_margin"],
                )
            rows[index] |= {f"{split}_{key}": value for key, value in row.items()}
    return rows, shown


def explain(
    folder: Path, variant: str, recipe: dict, fp32: pd.DataFrame, found: pd.DataFrame, machine: str
) -> dict:
    """Where an INT8 variant's loss comes from: the figures of `diagnosis.split_loss`, `finding`, `portability`."""
    figures = accuracy_drop.split(
        fp32, predictions.read(folder / f"float_kernels/{variant}.csv"), found
    )
    table = folder / f"sensitivity/{recipe.get('base', variant)}.csv"
    layers = pd.read_csv(table) if table.exists() else None
    if recipe["quantizer"] == "mixed":
        layers = layers[~layers["layer"].isin(recipe["float_layers"])]
    return {
        **figures,
        "finding": accuracy_drop.finding(figures, recipe, machine, layers),
        "portability": portability.warning(recipe, machine, layers) or "",
    }


def table(
    results: Path,
    backbones: list[str],
    variants: list[str],
    good_classes: list[str],
    report: dict,
    baselines: Collection[str] = (),
) -> pd.DataFrame:
    """All candidates of a sweep, with the front marked; `baselines` are variants that are never picked.

    Returns
    -------
    A row a candidate, by its name: backbone, variant, the accuracy figures of `judge`, latency
    figures in ms, megabytes, for INT8 the figures of `explain`; `baseline`; `front`;
    `barred`, see `pareto.barred`; and lists of names, `dominated_by` (by test macro-F1 and p50), and of
    each split `beaten_by` (by macro-F1) and `misses_more_than` (defects), where the images tell them apart.
    """
    both = [(backbone, variant) for backbone in backbones for variant in variants]
    found = [
        predictions.read(results / backbone / f"predictions/{variant}.csv")
        for backbone, variant in both
    ]
    reference = [both.index((backbone, "fp32")) for backbone, _ in both]
    rows, shown = judge(found, reference, good_classes, report)
    for (backbone, variant), row, own, of in zip(both, rows, found, reference, strict=True):
        folder = results / backbone
        bench = files.read_json(folder / "latency.json")
        # One file of two variants was timed twice: by one of the times, lest noise rank it against itself.
        recipe = files.read_json(folder / f"{variant}.json").get("recipe", {})
        row["baseline"] = variant in baselines
        timed = recipe["base"] if recipe.get("equals_base") else variant
        row |= {
            key: value
            for key, value in bench["variants"][timed].items()
            if not key.endswith("samples_ms")
        }
        if variant != "fp32":
            row |= explain(
                folder, variant, recipe, found[of], own, bench["machine"]["instruction_set"]
            )
    names = [f"{backbone}:{variant}" for backbone, variant in both]
    result = pd.DataFrame(rows, index=names)
    result.insert(0, "backbone", [backbone for backbone, _ in both])
    result.insert(1, "variant", [variant for _, variant in both])
    for split in SPLITS:
        for column, pairs in shown[split].items():
            result[f"{split}_{column}"] = [
                [names[index] for index in np.flatnonzero(each)] for each in pairs
            ]
    mark_front(result)
    return result


def mark_front(candidates: pd.DataFrame) -> None:
    """Set the columns `front` and `dominated_by`, by test macro-F1 and p50, and `barred`."""
    by = front.dominators(candidates["test_macro_f1"].to_numpy(), candidates["p50_ms"].to_numpy())
    candidates["front"] = [not each for each in by]
    candidates["dominated_by"] = [candidates.index[each].tolist() for each in by]
    candidates["barred"] = pick.barred(candidates)


def write(candidates: pd.DataFrame, path: Path) -> None:
    """Write `table`'s result as CSV, lists of names separated by spaces."""
    lists = [column for column in candidates if column.endswith(("_by", "_more_than"))]
    flat = candidates.assign(**{column: candidates[column].str.join(" ") for column in lists})
    with files.replacing(path) as temporary:
        flat.to_csv(temporary, index=False, float_format="%.6g")
