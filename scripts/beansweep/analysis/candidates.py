"""The table of candidates: one row each, computed from predictions, latencies and metadata."""

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import (
    accuracy_drop,
    comparisons,
    front,
    intervals,
    pick,
    portability,
    slowness,
)
from beansweep.common import files
from beansweep.evaluation import metrics, predictions
from beansweep.models import model_metadata

SPLITS = ("val", "test")
# Columns that hold lists of candidates' names.
COMPARISON_COLUMNS = (
    "val_beaten_by",
    "val_misses_more_than",
    "test_beaten_by",
    "test_misses_more_than",
)
LIST_COLUMNS = (*COMPARISON_COLUMNS, "dominated_by")


def unavailable(
    results: Path,
    backbones: list[str],
    variants: list[str],
    left_out: Mapping[str, Collection[str]],
) -> dict[tuple[str, str], str]:
    """The pairs of backbone and variant that are no candidates, and of each why.

    Parameters
    ----------
    results : folder of the sweep
    left_out : backbone -> variants that the user took out for it
    """
    found = {}
    for backbone in backbones:
        for variant in variants:
            if variant in left_out.get(backbone, ()):
                found[backbone, variant] = "taken out in overrides"
                continue
            reason = model_metadata.unavailable(results / backbone / f"{variant}.json")
            if reason:
                found[backbone, variant] = reason
    return found


def table(
    results: Path,
    backbones: list[str],
    variants: list[str],
    good_classes: list[str],
    report: dict,
    baselines: Collection[str] = (),
    without: Collection[tuple[str, str]] = (),
) -> pd.DataFrame:
    """All candidates of a sweep, with the front marked.

    Parameters
    ----------
    results : folder of the sweep
    good_classes : every other class is a defect
    report : confidence and non_inferiority_margin, as in config.yaml
    baselines : variants that are never picked
    without : pairs of backbone and variant that are no candidates

    Returns
    -------
    A row a candidate, by its name: backbone, variant, the accuracy figures of `judge`, latency
    figures in ms, megabytes, for INT8 the figures of `explain`, `baseline`, and the columns of
    `mark_front`. The columns of COMPARISON_COLUMNS are lists of names: of the candidates that are
    shown to be better in macro-F1 on a split, and of those that are shown to miss fewer defects.
    """
    pairs = [pair for pair in itertools.product(backbones, variants) if pair not in without]
    names = [f"{backbone}:{variant}" for backbone, variant in pairs]
    found = [
        predictions.read(results / backbone / f"predictions/{variant}.csv")
        for backbone, variant in pairs
    ]
    reference = [names.index(f"{backbone}:fp32") for backbone, _ in pairs]
    rows, comparisons_by_column = judge(found, reference, good_classes, report)
    for index, (backbone, variant) in enumerate(pairs):
        rows[index]["baseline"] = variant in baselines
        bench = files.read_json(results / backbone / "latency.json")
        recipe = _recipe(results / backbone, variant)
        rows[index] |= latencies(bench, variant, recipe)
        if variant != "fp32":
            rows[index] |= explain(
                results / backbone,
                variant,
                recipe,
                found[reference[index]],
                found[index],
                bench["machine"]["instruction_set"],
            )
            fp32_p50 = bench["variants"]["fp32"]["p50_ms"]
            slower = slowness.finding(rows[index]["p50_ms"], fp32_p50, recipe)
            rows[index]["finding"] = "; ".join(filter(None, [rows[index]["finding"], slower]))
    result = pd.DataFrame(rows, index=names)
    result.insert(0, "backbone", [backbone for backbone, _ in pairs])
    result.insert(1, "variant", [variant for _, variant in pairs])
    for column in COMPARISON_COLUMNS:
        others = map(np.flatnonzero, comparisons_by_column[column])
        result[column] = [result.index[indices].tolist() for indices in others]
    mark_front(result)
    return result


def _recipe(folder: Path, variant: str) -> dict:
    """How a variant was made; empty for FP32."""
    return files.read_json(folder / f"{variant}.json").get("recipe", {})


def judge(
    found: list[pd.DataFrame], reference: list[int], good_classes: list[str], report: dict
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Every candidate's accuracy on both splits, all judged on the same resampled images.

    Parameters
    ----------
    found : predictions of each candidate, the same images in the same order
    reference : for each candidate, the position of its backbone's FP32
    good_classes : every other class is a defect
    report : confidence and non_inferiority_margin, as in config.yaml

    Returns
    -------
    A row a candidate, its keys `{split}_{figure}`; and for each of COMPARISON_COLUMNS
    bool [candidates, candidates], see `comparisons.beaten` and `comparisons.misses_more`.
    """
    rows: list[dict] = [{} for _ in found]
    shown: dict[str, np.ndarray] = {}
    for split in SPLITS:
        images = [table[table["split"] == split] for table in found]
        figures, compared = _judge_split(images, reference, good_classes, report)
        for row, own in zip(rows, figures, strict=True):
            row |= _prefixed(split, own)
        shown |= _prefixed(split, compared)
    return rows, shown


def _prefixed(split: str, values: dict) -> dict:
    """The same values, their keys with the split in front."""
    return {f"{split}_{key}": value for key, value in values.items()}


def _judge_split(
    images: list[pd.DataFrame], reference: list[int], good_classes: list[str], report: dict
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """What `judge` returns, for one split and without the split's name in the keys."""
    labels, confidence = predictions.labels_of(images[0]), report["confidence"]
    true = predictions.indices(images[0]["class"], labels)
    predicted = np.stack([predictions.indices(table["predicted"], labels) for table in images])
    draws = intervals.macro_f1_draws(true, predicted, len(labels))
    rows = [rates(true, own, labels, good_classes, confidence) for own in predicted]
    scores = np.array([row["macro_f1"] for row in rows])
    for index, row in enumerate(rows):
        mistakes = int(np.sum(predicted[index] != true))
        row["macro_f1_low"], row["macro_f1_high"] = intervals.macro_f1_interval(
            draws[index], mistakes, len(true), confidence
        )
        fp32 = reference[index]
        row["agreement"] = float(np.mean(predicted[index] == predicted[fp32]))
        if fp32 != index:
            row["drop"] = scores[fp32] - scores[index]
            row |= comparisons.paired(
                true,
                predicted[fp32],
                predicted[index],
                draws[fp32] - draws[index],
                row["drop"],
                confidence,
                report["non_inferiority_margin"],
            )
    is_defect = ~np.isin(labels, good_classes)
    missed = ~is_defect[predicted[:, is_defect[true]]]
    return rows, {
        "beaten_by": comparisons.beaten(scores, draws, predicted == true, confidence),
        "misses_more_than": comparisons.misses_more(missed, confidence),
    }


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
    labels : class names, by index
    good_classes : every other class is a defect
    """
    summary = metrics.summarise(true, predicted, len(labels))
    missed, defects = metrics.missed_defects(true, predicted, ~np.isin(labels, good_classes))
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
        for figure in ("precision", "recall", "f1"):
            row[f"{figure}_{label}"] = summary[figure][index]
        hits, count = summary["confusion"][index][index], summary["count"][index]
        low, high = intervals.share_interval(hits, count, confidence)
        row[f"recall_low_{label}"], row[f"recall_high_{label}"] = low, high
    return row


def latencies(bench: dict, variant: str, recipe: dict) -> dict:
    """A variant's latency figures, without the samples.

    A variant that equals its base gets the base's figures: both files are the same, and the noise
    between two timings would rank one above the other.

    Parameters
    ----------
    bench : contents of the backbone's latency.json
    """
    timed = recipe["base"] if recipe.get("equals_base") else variant
    figures = bench["variants"][timed]
    return {key: value for key, value in figures.items() if not key.endswith("samples_ms")}


def explain(
    folder: Path, variant: str, recipe: dict, fp32: pd.DataFrame, int8: pd.DataFrame, machine: str
) -> dict:
    """The parts of an INT8 variant's accuracy drop, the `finding` and the `portability` warning.

    Parameters
    ----------
    folder : of the backbone
    fp32, int8 : predictions
    machine : instruction set that they were made on
    """
    float_kernels = predictions.read(folder / f"float_kernels/{variant}.csv")
    figures = accuracy_drop.split(fp32, float_kernels, int8)
    sensitivities = folder / f"sensitivity/{recipe.get('base', variant)}.csv"
    layers = pd.read_csv(sensitivities) if sensitivities.exists() else None
    if layers is not None and recipe["quantizer"] == "mixed":
        layers = layers[~layers["layer"].isin(recipe["float_layers"])]
    return {
        "quantization_drop": figures["quantization_drop"],
        "quantization_agreement": figures["quantization_agreement"],
        "kernel_drop": figures["kernel_drop"],
        "kernel_agreement": figures["kernel_agreement"],
        "finding": accuracy_drop.finding(figures, recipe, machine, layers),
        "portability": portability.warning(recipe, machine, layers) or "",
    }


def mark_front(candidates: pd.DataFrame) -> None:
    """Set the columns `front`, `dominated_by` and `barred` in place.

    The front and `dominated_by`, lists of names, are by test macro-F1 and p50; for `barred` see
    `pick.barred`.
    """
    gain, cost = candidates["test_macro_f1"].to_numpy(), candidates["p50_ms"].to_numpy()
    dominators = front.dominators(gain, cost)
    candidates["front"] = [not indices for indices in dominators]
    candidates["dominated_by"] = [candidates.index[indices].tolist() for indices in dominators]
    candidates["barred"] = pick.barred(candidates)


def write(candidates: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, lists of names separated by spaces."""
    flat = candidates.copy()
    for column in LIST_COLUMNS:
        flat[column] = candidates[column].str.join(" ")
    with files.replacing(path) as temporary:
        flat.to_csv(temporary, index=False, float_format="%.6g")
