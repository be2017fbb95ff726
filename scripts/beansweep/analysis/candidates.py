"""The table of candidates: one row each, computed from predictions, latencies and metadata."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beansweep.analysis import (
    accuracy_drop,
    comparisons,
    decisions,
    finalists,
    front,
    image_set,
    intervals,
    operating_point,
    pick,
    portability,
    slowness,
    timing,
)
from beansweep.analysis.image_set import ImageSet
from beansweep.common import files
from beansweep.evaluation import metrics, predictions
from beansweep.models import model_metadata

SPLITS = ("val", "test")
# Columns that hold lists of candidates' names.
COMPARISON_COLUMNS = tuple(
    f"{split}_{comparison}"
    for split in SPLITS
    for comparison in ("beaten_by", "misses_more_than", "rejects_more_than")
)
LIST_COLUMNS = (*COMPARISON_COLUMNS, "dominated_by", "p50_beaten_by", "also")


@dataclass(frozen=True)
class Candidates:
    """The candidates of a sweep, and what their table was computed from.

    Attributes
    ----------
    table : a row a candidate, see `read`
    images : split -> what all candidates predict for it, in the order of the table
    unavailable : (backbone, variant) -> why it is no candidate
    deploy, report : as in config.yaml
    """

    table: pd.DataFrame
    images: dict[str, ImageSet]
    unavailable: dict[tuple[str, str], str]
    deploy: dict
    report: dict

    @property
    def limit_steps(self) -> list[float]:
        """Limits on missed defects that a reader may try."""
        defects = self.images["val"].defect_scores.shape[1]
        present = self.deploy["max_missed_defect_rate"]
        return decisions.limit_steps(defects, self.report["confidence"], present)

    def under(self, deploy: dict) -> pd.DataFrame:
        """The table under another limit on missed defects, with other operating points."""
        table, margin = self.table.copy(), None
        if deploy["max_by_hand_rate"] == self.deploy["max_by_hand_rate"]:
            margin = self._rejected_margins.get(deploy["max_missed_defect_rate"])
        decide(table, self.images, deploy, self.report["confidence"], margin)
        judge_pick(table, deploy)
        return table

    @cached_property
    def _rejected_margins(self) -> dict[float | None, np.ndarray]:
        """See `decisions.rejected_margins`; one set of resamples serves all `limit_steps`."""
        images, confidence = self.images["val"], self.report["confidence"]
        found: dict[float | None, list[operating_point.OperatingPoint]] = {}
        for limit in self.limit_steps:
            deploy = {**self.deploy, "max_missed_defect_rate": limit}
            found[limit] = decisions.points(images, deploy, confidence)
        return decisions.rejected_margins(images, found, confidence)


def read(
    results: Path,
    backbones: list[str],
    variants: list[str],
    good_classes: list[str] | None,
    deploy: dict,
    report: dict,
    baselines: Collection[str] = (),
    groups: pd.Series | None = None,
    together: dict | None = None,
    left_out: Mapping[str, Collection[str]] | None = None,
) -> Candidates:
    """All candidates of a sweep. Files that are the same to the byte are one candidate.

    Parameters
    ----------
    results : folder of the sweep
    good_classes : every other class is a defect; None where no class is
    deploy : limits and objective, as in config.yaml
    report : confidence and non_inferiority_margin, as in config.yaml
    baselines : variants that are never picked
    groups : number of each image's group of near-duplicates, by path; None where there are none
    together : contents of finalists.json, where candidates were timed together
    left_out : backbone -> variants that the user took out for it

    Returns
    -------
    Its table has a row a candidate, by its name: backbone, variant, `also` (other variants with the
    same file), the accuracy figures of `judge`, the decisions of `decide`, latency figures in ms,
    megabytes, for INT8 the figures of `explain`, `baseline`, and the columns of
    `finalists.set_times`, `mark_front` and `judge_pick`. The columns of COMPARISON_COLUMNS are
    lists of names: of the candidates that are shown to be better in macro-F1 on a split, in defects
    missed, and in good images rejected.
    """
    without = unavailable(results, backbones, variants, left_out or {})
    table = _names(results, backbones, variants, baselines, without)
    pairs = list(zip(table["backbone"], table["variant"], strict=True))
    found = [
        predictions.read(results / backbone / f"predictions/{variant}.csv")
        for backbone, variant in pairs
    ]
    reference = fp32_places(table)
    images = {}
    for split in SPLITS:
        images[split] = image_set.read(found, split, good_classes, groups)
        accuracy = judge(images[split], table.index, reference, report)
        table = table.join(accuracy.add_prefix(f"{split}_"))
    rows, benches = [], timing.read_all(results, backbones, report["confidence"])
    for index, (backbone, variant) in enumerate(pairs):
        folder, bench = results / backbone, benches[backbone]
        row = {**timing.figures(bench["variants"][variant]), "portability": "", "bit_exact": False}
        if variant != "fp32":
            machine = bench["machine"]["instruction_set"]
            fp32 = found[reference[index]]
            row |= explain(folder, variant, fp32, found[index], machine)
            slower = _slowness(folder, variant, bench)
            row["finding"] = "; ".join(filter(None, [row["finding"], slower]))
        rows.append(row)
    table = table.join(pd.DataFrame(rows, table.index))
    decide(table, images, deploy, report["confidence"])
    finalists.set_times(table, benches, together, report["confidence"])
    mark_front(table)
    judge_pick(table, deploy)
    return Candidates(table, images, without, deploy, report)


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


def _names(
    results: Path,
    backbones: list[str],
    variants: list[str],
    baselines: Collection[str],
    without: Collection[tuple[str, str]],
) -> pd.DataFrame:
    """The columns that name the candidates; files that are the same are one candidate.

    The first variant gives the name, one that starts from another variant after that one. A
    baseline is a file that is nothing else.
    """
    rows: dict[str, dict[str, Any]] = {}
    for backbone in backbones:
        metadata = {}
        for variant in variants:
            if (backbone, variant) not in without:
                metadata[variant] = files.read_json(results / backbone / f"{variant}.json")
        first: dict[str, str] = {}
        for variant in sorted(
            metadata, key=lambda name: "base" in metadata[name].get("recipe", {})
        ):
            name = first.setdefault(metadata[variant]["sha256"], f"{backbone}:{variant}")
            new = {"backbone": backbone, "variant": variant, "also": [], "baseline": True}
            row = rows.setdefault(name, new)
            row["baseline"] &= variant in baselines
            if row["variant"] != variant:
                row["also"].append(variant)
    return pd.DataFrame.from_dict(rows, orient="index")


def fp32_places(table: pd.DataFrame) -> np.ndarray:
    """The place of each candidate's FP32 in the table: int [candidates]."""
    return table.index.get_indexer(pd.Index(table["backbone"] + ":fp32"))


def judge(images: ImageSet, names: pd.Index, reference: np.ndarray, report: dict) -> pd.DataFrame:
    """Every candidate's accuracy on one set of images, all judged on the same resamples.

    Parameters
    ----------
    names : of the candidates
    reference : for each candidate, the position of its backbone's FP32
    report : confidence and non_inferiority_margin, as in config.yaml

    Returns
    -------
    A row a candidate. `beaten_by` names those that are shown to be better in macro-F1, see
    `comparisons.worse`.
    """
    true, predicted, confidence = images.true, images.predicted, report["confidence"]
    draws = intervals.macro_f1_draws(true, predicted, len(images.labels))
    rows = [rates(true, own, images.labels, confidence) for own in predicted]
    scores = np.array([row["macro_f1"] for row in rows])
    for index, row in enumerate(rows):
        mistakes = int(np.sum(predicted[index] != true))
        row["macro_f1_low"], row["macro_f1_high"] = intervals.macro_f1_interval(
            draws[index], mistakes, len(true), confidence
        )
        fp32 = reference[index]
        row["agreement"] = float(np.mean(predicted[index] == predicted[fp32]))
        row["changed"] = int(np.sum(predicted[index] != predicted[fp32]))
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
    margin = comparisons.margins(scores, draws, predicted == true, confidence)
    table = pd.DataFrame(rows, names)
    table["beaten_by"] = _better(comparisons.worse(scores, margin), names)
    return table


def rates(true: np.ndarray, predicted: np.ndarray, labels: list[str], confidence: float) -> dict:
    """Accuracy figures of one candidate on one split; shares with their intervals.

    Parameters
    ----------
    true, predicted : int [n] class indices
    labels : class names, by index
    """
    summary = metrics.summarise(true, predicted, len(labels))
    row = {"macro_f1": summary["macro_f1"], "accuracy": summary["accuracy"]}
    for index, label in enumerate(labels):
        for figure in ("precision", "recall", "f1"):
            row[f"{figure}_{label}"] = summary[figure][index]
        hits, count = summary["confusion"][index][index], summary["count"][index]
        low, high = intervals.share_interval(hits, count, confidence)
        row[f"recall_low_{label}"], row[f"recall_high_{label}"] = low, high
    return row


def decide(
    table: pd.DataFrame,
    images: dict[str, ImageSet],
    deploy: dict,
    confidence: float,
    margin: np.ndarray | None = None,
    points: list[operating_point.OperatingPoint] | None = None,
) -> None:
    """Set what each candidate decides at its operating point, in place.

    The operating point is found on the validation images. The columns are `ship_below` and
    `reject_from`, those of `decisions.figures` for both splits, the same at the thresholds of the
    backbone's FP32 (`..._at_fp32`), and which candidates are shown to miss fewer defects or to
    reject fewer good images.

    Parameters
    ----------
    margin : for the limit of `deploy`, from `decisions.rejected_margins`, where it is known
    points : operating points, where they are not to be found on these validation images
    """
    points = points or decisions.points(images["val"], deploy, confidence)
    if not images["val"].is_defect.any():
        points = [operating_point.NONE] * len(table)
    table["ship_below"] = [point.ship_below for point in points]
    table["reject_from"] = [point.reject_from for point in points]
    reference = fp32_places(table)
    of_fp32 = [points[place] for place in reference]
    for split, own in images.items():
        figures = pd.DataFrame(decisions.figures(own, points, confidence), table.index)
        if split == "val":
            figures["missed_defect_rate_low"] = 0.0
            figures["missed_defect_rate_high"] = decisions.vouched(figures, confidence)
        at_fp32 = pd.DataFrame(decisions.figures(own, of_fp32, confidence), table.index)
        for column in ("missed_defect_rate", "rejected_good_rate"):
            figures[f"{column}_at_fp32"] = at_fp32[column]
        for figure in figures:
            table[f"{split}_{figure}"] = figures[figure]
        misses, rejects = decisions.missed(own, points), decisions.rejected(own, points)
        more = comparisons.more_often(comparisons.only(misses), confidence)
        table[f"{split}_misses_more_than"] = _better(more, table.index)
        if split == "val":
            # The thresholds are from these images.
            if margin is None:
                limit = deploy["max_missed_defect_rate"]
                margin = decisions.rejected_margins(own, {limit: points}, confidence)[limit]
            rates = figures["rejected_good_rate"].to_numpy(float)
            more = comparisons.worse(-rates, margin)
        else:
            more = comparisons.more_often(comparisons.only(rejects), confidence)
        table[f"{split}_rejects_more_than"] = _better(more, table.index)


def explain(
    folder: Path, variant: str, fp32: pd.DataFrame, int8: pd.DataFrame, machine: str
) -> dict:
    """The parts of an INT8 variant's accuracy drop, the `finding`, the `portability` warning and
    `bit_exact`, whether it puts out the same bytes on every processor.

    Parameters
    ----------
    folder : of the backbone
    fp32, int8 : predictions
    machine : instruction set that they were made on
    """
    recipe = files.read_json(folder / f"{variant}.json")["recipe"]
    float_kernels = predictions.read(folder / f"float_kernels/{variant}.csv")
    figures = accuracy_drop.split(fp32, float_kernels, int8)
    sensitivities = folder / f"sensitivity/{recipe.get('base', variant)}.csv"
    # The file of a static variant of this name may be left from an earlier configuration.
    has_layers = recipe.get("quantizer") == "static" or "base" in recipe
    layers = pd.read_csv(sensitivities) if has_layers and sensitivities.exists() else None
    if layers is not None and recipe["quantizer"] == "mixed":
        layers = layers[~layers["layer"].isin(recipe["float_layers"])]
    return {
        "quantization_drop": figures["quantization_drop"],
        "quantization_agreement": figures["quantization_agreement"],
        "kernel_drop": figures["kernel_drop"],
        "kernel_agreement": figures["kernel_agreement"],
        "finding": accuracy_drop.finding(figures, recipe, machine, layers),
        "portability": portability.warning(recipe, machine, layers) or "",
        "bit_exact": recipe.get("bit_exact", False),
    }


def _slowness(folder: Path, variant: str, bench: dict) -> str:
    """Why a variant is slower than FP32, in words; empty where it is not."""
    recipe = files.read_json(folder / f"{variant}.json")["recipe"]
    return slowness.finding(bench["variants"][variant]["speedup_high"], recipe)


def mark_front(candidates: pd.DataFrame) -> None:
    """Set the columns `front` and `dominated_by`, lists of names, in place.

    The front is by test macro-F1 and p50, of the candidates that were timed on one machine.
    """
    here = candidates[~candidates["timed_elsewhere"]]
    dominators = front.dominators(here["test_macro_f1"].to_numpy(), here["p50_ms"].to_numpy())
    names = dict(zip(here.index, _named(dominators, here.index), strict=True))
    candidates["front"] = [names.get(name) == [] for name in candidates.index]
    candidates["dominated_by"] = [names.get(name, []) for name in candidates.index]


def judge_pick(candidates: pd.DataFrame, deploy: dict) -> None:
    """Set `obstacles`, why a candidate may not be picked, and `pick` in place."""
    candidates["obstacles"] = pick.obstacles(candidates, deploy)
    candidates["pick"] = candidates.index == pick.choose(candidates, deploy)


def _better(worse: np.ndarray, names: pd.Index) -> list[list[str]]:
    """For each candidate, the names of those that it is worse than.

    Parameters
    ----------
    worse : bool [candidates, candidates]
    """
    return _named([np.flatnonzero(row).tolist() for row in worse], names)


def _named(places: Sequence[Sequence[int]], names: pd.Index) -> list[list[str]]:
    """Lists of positions as lists of names."""
    return [names[list(own)].tolist() for own in places]


def write(candidates: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, lists of names separated by spaces."""
    flat = candidates.copy()
    for column in LIST_COLUMNS:
        flat[column] = candidates[column].str.join(" ")
    with files.replacing(path) as temporary:
        flat.to_csv(temporary, index=False, float_format="%.6g")
