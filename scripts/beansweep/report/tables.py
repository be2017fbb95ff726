"""The tables of the report, each as Markdown from the table of candidates or from the data set."""

import re

import pandas as pd

from beansweep.common.words import counted
from beansweep.data import splitting
from beansweep.report import markdown

# So many of the candidates that dominate another are named in its row; pareto.csv has all.
_DOMINATORS = 3
# From so many images on, no number is given.
_COUNTLESS = 1e6


def _candidate(row: pd.Series) -> list[str]:
    """The cells that name a candidate."""
    return [f"`{row['backbone']}`", markdown.variant(row)]


def has_defects(candidates: pd.DataFrame) -> bool:
    """Whether any class is a defect, so that images are shipped or rejected."""
    return bool(candidates["ship_below"].notna().any())


def _share(row: pd.Series, figure: str) -> str:
    """A share with its interval: `11.7% (7.1% to 18.6%)`."""
    return markdown.with_interval(row, figure, "{:.1%}")


def _rejected_header(candidates: pd.DataFrame) -> list[str]:
    """The heading of the cells of `_rejected`."""
    return ["good rejected on test"] if has_defects(candidates) else []


def _rejected(row: pd.Series) -> list[str]:
    """What a candidate's operating point costs on test; no cell where no class is a defect."""
    return [] if pd.isna(row["ship_below"]) else [_share(row, "test_rejected_good_rate")]


def side_by_side(candidates: pd.DataFrame) -> str:
    """FP32 and INT8 next to each other, a row a backbone and INT8 variant."""
    rejects = has_defects(candidates)
    header = ["backbone", "INT8 variant", "FP32 mF1", "INT8 mF1", "accuracy drop", "verdict"]
    if rejects:
        header += ["FP32 good rejected", "INT8 good rejected"]
    header += ["FP32 MB", "INT8 MB", "FP32 p50 ms", "INT8 p50 ms", "speed-up", "INT8 images/s"]
    rows = []
    for _, group in candidates.groupby("backbone", sort=False):
        fp32 = group[group["variant"] == "fp32"].iloc[0]
        for _, row in group[group["variant"] != "fp32"].iterrows():
            cells = [
                f"{fp32['test_macro_f1']:.3f}",
                f"{row['test_macro_f1']:.3f}",
                markdown.figure(row["test_drop"], "{:+.3f}"),
                row["test_verdict"],
            ]
            if rejects:
                cells += [_share(own, "test_rejected_good_rate") for own in (fp32, row)]
            cells += [
                f"{fp32['megabytes']:.2f}",
                f"{row['megabytes']:.2f}",
                f"{fp32['p50_ms']:.2f}",
                f"{row['p50_ms']:.2f}",
                f"{row['speedup']:.2f}x",
                f"{row['images_per_second']:.0f}",
            ]
            rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def accuracy(candidates: pd.DataFrame) -> str:
    """Accuracy of each candidate on both splits with intervals, the highest test mF1 first."""
    rejects = has_defects(candidates)
    header = ["backbone", "variant", "test mF1", "val mF1"]
    if rejects:
        header += ["defects missed on test", "good rejected on test", "on validation"]
    rows = []
    best_first = candidates.sort_values("test_macro_f1", ascending=False, kind="stable")
    for _, row in best_first.iterrows():
        cells = []
        for split in ("test", "val"):
            cells.append(markdown.with_interval(row, f"{split}_macro_f1", "{:.3f}"))
        if rejects:
            cells += [
                f"{row['test_missed_defect_count']:.0f}, {_share(row, 'test_missed_defect_rate')}",
                _share(row, "test_rejected_good_rate"),
                _share(row, "val_rejected_good_rate"),
            ]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def fp32_thresholds(candidates: pd.DataFrame) -> str:
    """What each INT8 candidate does on test at FP32's threshold and at its own."""
    header = ["backbone", "variant", "missed at FP32's threshold", "at its own"]
    header += ["good rejected at FP32's", "at its own"]
    rows = []
    for _, row in candidates[candidates["variant"] != "fp32"].iterrows():
        cells = []
        for figure in ("test_missed_defect_rate", "test_rejected_good_rate"):
            cells += [f"{row[f'{figure}_at_fp32']:.1%}", f"{row[figure]:.1%}"]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def paired(candidates: pd.DataFrame, margin: float) -> str:
    """Each INT8 candidate against its own FP32 on the same test images.

    Parameters
    ----------
    margin : macro-F1 that INT8 may lose
    """
    header = ["backbone", "variant", "accuracy drop", "interval", "agreement", "McNemar p"]
    header += [f"verdict at {margin:g}", "more test images to decide"]
    header += _rejected_header(candidates)
    rows = []
    for _, row in candidates[candidates["variant"] != "fp32"].iterrows():
        cells = [
            markdown.figure(row["test_drop"], "{:+.4f}"),
            markdown.interval(row, "test_drop", "{:+.4f}"),
            f"{row['test_agreement']:.3f}",
            f"{row['test_mcnemar_p']:.2g}",
            row["test_verdict"],
            _images_to_decide(row["test_images_to_decide"]),
            *_rejected(row),
        ]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def _images_to_decide(count: float) -> str:
    """How many more images would decide a comparison; empty where it is decided."""
    if pd.isna(count):
        return ""
    return f"about {count:.0f}" if count <= _COUNTLESS else "no number"


def accuracy_drops(candidates: pd.DataFrame) -> str:
    """The accuracy drop of each INT8 candidate split in two, and its cause in words."""
    header = ["backbone", "variant", "accuracy drop", "from quantization", "agreement"]
    header += ["from kernels", "agreement", *_rejected_header(candidates), "finding"]
    rows = []
    for _, row in candidates[candidates["variant"] != "fp32"].iterrows():
        cells = [
            markdown.figure(row["test_drop"], "{:+.3f}"),
            markdown.figure(row["quantization_drop"], "{:+.3f}"),
            f"{row['quantization_agreement']:.3f}",
            markdown.figure(row["kernel_drop"], "{:+.3f}"),
            f"{row['kernel_agreement']:.3f}",
            *_rejected(row),
            finding(row),
        ]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def finding(row: pd.Series) -> str:
    """The cause of an INT8 candidate's accuracy drop, and that none is shown where none is."""
    if row["test_drop_low"] > 0 or row["finding"] == "lossless":
        return row["finding"]
    layer = r"(`[^`]+`) is the layer most sensitive to 8 bits"
    return "these images show no drop; " + re.sub(
        layer, r"most sensitive layer: \1", row["finding"]
    )


def all_candidates(candidates: pd.DataFrame) -> str:
    """Every candidate, the front first, with what dominates it and why it may not be picked."""
    rejects = has_defects(candidates)
    header = ["backbone", "variant", "front", "may be picked", "val mF1", "test mF1"]
    header += ["threshold", *_rejected_header(candidates)] if rejects else []
    header += ["p50 ms", "MB"]
    rows = []
    front_first = candidates.sort_values(["front", "p50_ms"], ascending=[False, True])
    for _, row in front_first.iterrows():
        cells = [
            "**front**" if row["front"] else dominated(row),
            f"no: {row['obstacles']}" if row["obstacles"] else "yes",
            f"{row['val_macro_f1']:.3f}",
            f"{row['test_macro_f1']:.3f}",
        ]
        if rejects:
            cells += [f"{row['ship_below']:.3g}", *_rejected(row)]
        cells += [f"{row['p50_ms']:.2f}", f"{row['megabytes']:.2f}"]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 4)


def dominated(row: pd.Series) -> str:
    """Which candidates dominate one; of many, the first."""
    first = " ".join(markdown.code(row["dominated_by"][:_DOMINATORS]))
    more = len(row["dominated_by"]) - _DOMINATORS
    return f"dominated by {first}" + (f" and {more} more" if more > 0 else "")


def classes(row: pd.Series, counts: dict[str, int], good_classes: list[str] | None) -> str:
    """Precision, recall and F1 of a candidate by class on the test images.

    Parameters
    ----------
    row : of the table of candidates
    counts : class -> number of its test images
    good_classes : every other class is a defect; None where no class is
    """
    header = [*_kind_header(good_classes), "images", "precision", "F1", "recall", "interval"]
    rows = []
    for label, count in counts.items():
        cells = [
            *_class(label, good_classes),
            str(count),
            f"{row[f'test_precision_{label}']:.3f}",
            f"{row[f'test_f1_{label}']:.3f}",
            f"{row[f'test_recall_{label}']:.3f}",
            markdown.interval(row, f"test_recall@_{label}", "{:.3f}"),
        ]
        rows.append(cells)
    return markdown.table(header, rows, len(header) - 5)


def _kind_header(good_classes: list[str] | None) -> list[str]:
    """The headings of the cells of `_class`."""
    return ["class"] if good_classes is None else ["class", "kind"]


def _class(label: str, good_classes: list[str] | None) -> list[str]:
    """The cells that name a class: its name and, where there are defects, whether it is one."""
    if good_classes is None:
        return [f"`{label}`"]
    return [f"`{label}`", "good" if label in good_classes else "defect"]


def latency(candidates: pd.DataFrame) -> str:
    """Each candidate's latency, with intervals."""
    header = ["backbone", "variant", "p50 ms", "interval", "p90 ms", "p99 ms", "speed-up"]
    header += ["interval", "limit", "end-to-end latency, p50 ms", "load ms", "first query ms"]
    header += ["peak memory MB", *_rejected_header(candidates)]
    rows = []
    for _, row in candidates.iterrows():
        cells = [
            f"{row['p50_ms']:.3f}",
            markdown.interval(row, "p50@_ms", "{:.3f}"),
            f"{row['p90_ms']:.3f}",
            f"{row['p99_ms']:.3f}",
            f"{row['speedup']:.2f}x",
            markdown.interval(row, "speedup", "{:.2f}"),
            f"{row['speedup_limit']:.1f}x" if pd.notna(row["speedup_limit"]) else "",
            f"{row['end_to_end_p50_ms']:.2f}",
            f"{row['load_ms']:.0f}",
            f"{row['first_query_ms']:.1f}",
            f"{row['peak_memory_mb']:.0f}",
            *_rejected(row),
        ]
        rows.append(_candidate(row) + cells)
    return markdown.table(header, rows, 2)


def threads(benches: dict[str, dict]) -> str:
    """p50 by number of threads; empty where only one number was timed.

    Parameters
    ----------
    benches : backbone -> contents of its latency.json
    """
    counts = list(next(iter(benches.values()))["by_threads"])
    if len(counts) == 1:
        return ""
    header = ["backbone", "variant"] + [
        f"p50 ms, {counted(int(count), 'threads')}" for count in counts
    ]
    rows = []
    for backbone, bench in benches.items():
        for variant in bench["variants"]:
            times = [f"{bench['by_threads'][count][variant]:.3f}" for count in counts]
            rows.append([f"`{backbone}`", f"`{variant}`", *times])
    return markdown.table(header, rows, 2)


def images(manifest: pd.DataFrame, good_classes: list[str] | None) -> str:
    """Number of images by class and split."""
    counts = pd.crosstab(manifest["class"], manifest["split"])
    known = (*splitting.SPLITS, splitting.PICK, splitting.DROPPED)
    counts = counts[[split for split in known if split in counts]]
    rows = []
    for label, row in counts.iterrows():
        rows.append([*_class(str(label), good_classes), *map(str, row)])
    names = _kind_header(good_classes)
    return markdown.table([*names, *counts], rows, len(names))


def training(histories: dict[str, pd.DataFrame]) -> str:
    """What each training took and reached.

    Parameters
    ----------
    histories : backbone -> a row an epoch
    """
    header = ["backbone", "epochs run", "best epoch", "best val mF1", "images/s", "minutes"]
    rows = []
    for backbone, history in histories.items():
        best = history.loc[history["val_macro_f1"].idxmax()]
        cells = [
            f"`{backbone}`",
            str(len(history)),
            f"{best['epoch']:.0f}",
            f"{best['val_macro_f1']:.3f}",
            f"{history['images_per_second'].median():.0f}",
            f"{history['seconds'].sum() / 60:.1f}",
        ]
        rows.append(cells)
    return markdown.table(header, rows, 1)


def seeds(scores: dict[str, list[float]], candidates: pd.DataFrame) -> str:
    """FP32's test macro-F1 by seed, and how much the sample of images leaves open.

    Parameters
    ----------
    scores : backbone -> macro-F1 of each of its trainings
    """
    header = ["backbone", "test mF1 by seed", "mean", "standard deviation over seeds"]
    header += ["half of the sampling interval"]
    rows = []
    for backbone, values in scores.items():
        row, by_seed = candidates.loc[f"{backbone}:fp32"], pd.Series(values)
        cells = [
            f"`{backbone}`",
            ", ".join(f"{value:.3f}" for value in by_seed),
            f"{by_seed.mean():.3f}",
            f"{by_seed.std():.3f}",
            f"{(row['test_macro_f1_high'] - row['test_macro_f1_low']) / 2:.3f}",
        ]
        rows.append(cells)
    return markdown.table(header, rows, 2)
