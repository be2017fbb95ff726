"""The report's words: Markdown from a table of candidates."""

import pandas as pd

from beansweep import pareto

# config key -> what it limits, the limit in words, and in words where its own value is left out.
_LIMITS = {
    "min_macro_f1": ("validation macro-F1", "at least", "above", "{:.3f}"),
    "max_missed_defect_rate": ("share of defects missed on validation", "at most", "below", "{:.1%}"),
    "max_megabytes": ("size", "at most", "below", "{:.2f} MB"),
    "max_p50_ms": ("p50", "at most", "below", "{:.2f} ms"),
}
_OBJECTIVES = {
    "macro_f1": "the highest validation macro-F1", "p50_ms": "the lowest p50", "megabytes": "the smallest file",
}


def limit(key: str, value: float, strict: bool = False) -> str:
    """A constraint in words: `p50 at most 2.00 ms`, or where it is strict `p50 below 2.00 ms`."""
    what, inclusive, exclusive, form = _LIMITS[key]
    return f"{what} {exclusive if strict else inclusive} {form.format(value)}"


def name(row: pd.Series) -> str:
    """A candidate's name, as it stands in every table."""
    return f"`{row['backbone']}` `{row['variant']}`"


def figures(row: pd.Series) -> str:
    """A candidate in one clause."""
    return (f"test macro-F1 {row['test_macro_f1']:.3f}, {row['test_missed_defect_rate']:.1%} of defects missed, "
            f"p50 {row['p50_ms']:.2f} ms, {row['megabytes']:.2f} MB")


def markdown_table(header: list[str], rows: list[list[str]], text_columns: int) -> str:
    """A GitHub table; all but the first `text_columns` columns are set to the right."""
    ruler = ["---" if column < text_columns else "--:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows))


def decision(candidates: pd.DataFrame, deploy: dict) -> str:
    """The pick, why, and what would change it."""
    limits = [limit(key, deploy[key]) for key in pareto.CONSTRAINTS if deploy[key] is not None]
    wanted = f"Wanted: {_OBJECTIVES[deploy['objective']]}, {'with ' + '; '.join(limits) if limits else 'no limits'}."
    chosen = pareto.pick(candidates, deploy)
    if chosen is None:
        index, broken = pareto.nearest(candidates, deploy)
        row = candidates.loc[index]
        missed = "; ".join(f"{limit(key, deploy[key])} is missed by {_distance(key, by)}" for key, by in broken.items())
        lead = (f"**No candidate may be deployed.** The nearest is {name(row)} ({figures(row)}): {missed}.")
        reason = ""
    else:
        row = candidates.loc[chosen]
        count = int(pareto.satisfied(candidates, deploy).all(axis=1).sum())
        lead = f"**Pick: {name(row)}**: {figures(row)}, {row['beans_per_second']:.0f} beans/s."
        reason = (f"{count} of {len(candidates)} candidates meet every limit on the validation images, and of those it "
                  f"has {_OBJECTIVES[deploy['objective']]}. The test images had no part in the choice; "
                  + _on_test(row, deploy))
    changes = [_change(candidates, deploy, change) for change in pareto.what_would_change(candidates, deploy)]
    changes = changes or ["no limit, wherever it is set: one candidate has it all"]
    return "\n".join([lead, "", f"{wanted} {reason}".strip(), "", "What would change it:", "",
                      *(f"- {change}" for change in changes)])


def _on_test(row: pd.Series, deploy: dict) -> str:
    """Whether the pick keeps its accuracy limits on the test images."""
    as_val = row.copy()
    for figure in ("macro_f1", "missed_defect_rate"):
        as_val[f"val_{figure}"] = row[f"test_{figure}"]
    met = pareto.satisfied(pd.DataFrame([as_val]), deploy).iloc[0]
    broken = [key for key in met.index if not met[key]]
    if not broken:
        return "on them it meets the same limits."
    limits = " and ".join(limit(key, deploy[key]).replace("validation", "test") for key in broken)
    return f"**on them it breaks {limits}**: more validation images would help."


def _distance(key: str, by: float) -> str:
    """How far a limit is missed, in its unit."""
    return {"min_macro_f1": f"{abs(by):.3f}", "max_missed_defect_rate": f"{100 * abs(by):.1f} points",
            "max_megabytes": f"{abs(by):.2f} MB", "max_p50_ms": f"{abs(by):.2f} ms"}[key]


def _change(candidates: pd.DataFrame, deploy: dict, change: pareto.Change) -> str:
    """One sentence for a limit past which the pick is another."""
    then = "nothing may be deployed" if change.index is None else f"the pick is {name(candidates.loc[change.index])}"
    now = "no limit" if deploy[change.key] is None else _LIMITS[change.key][-1].format(deploy[change.key])
    return f"with {limit(change.key, change.limit, change.tighter)} (now {now}), {then}"


def wide_table(candidates: pd.DataFrame) -> str:
    """A row a backbone and INT8 variant, FP32 beside INT8."""
    rows = []
    for backbone, group in candidates.groupby("backbone", sort=False):
        full = group[group["variant"] == "fp32"].iloc[0]
        for _, row in group[group["variant"] != "fp32"].iterrows():
            rows.append([
                f"`{backbone}`", f"`{row['variant']}`", f"{full['test_macro_f1']:.3f}", f"{row['test_macro_f1']:.3f}",
                f"{full['test_macro_f1'] - row['test_macro_f1']:+.3f}", f"{row['test_agreement']:.3f}",
                f"{full['megabytes']:.2f}", f"{row['megabytes']:.2f}", f"{full['p50_ms']:.2f}", f"{row['p50_ms']:.2f}",
                f"{full['p50_ms'] / row['p50_ms']:.2f}x", f"{row['beans_per_second']:.0f}",
            ])
    return markdown_table(
        ["backbone", "INT8 variant", "FP32 mF1", "INT8 mF1", "loss", "agreement", "FP32 MB", "INT8 MB", "FP32 p50 ms",
         "INT8 p50 ms", "speed-up", "INT8 beans/s"], rows, 2)


def diagnosis_table(candidates: pd.DataFrame) -> str:
    """For each INT8 candidate, its loss split in two, and the cause in words."""
    rows = [[f"`{row['backbone']}`", f"`{row['variant']}`", f"{row['quantization_loss'] + row['kernel_loss']:+.3f}",
             f"{row['quantization_loss']:+.3f}", f"{row['quantization_agreement']:.3f}", f"{row['kernel_loss']:+.3f}",
             f"{row['kernel_agreement']:.3f}", row["finding"]]
            for _, row in candidates[candidates["variant"] != "fp32"].iterrows()]
    return markdown_table(["backbone", "variant", "loss", "of quantization", "agreement", "of kernels", "agreement",
                           "finding"], rows, 2)


def portability_list(candidates: pd.DataFrame) -> str:
    """Which candidates' accuracy will be another on another instruction set, and why."""
    warned = candidates[candidates["portability"].fillna("") != ""]
    lines = [f"- **{name(row)}**: {row['portability']}." for _, row in warned.iterrows()]
    return "\n".join(lines) or "- None: no candidate's kernels saturate anywhere."


def reference_experiment(candidates: pd.DataFrame) -> str:
    """The finding of the reference system's experiment, repeated here; empty where no variant repeats it."""
    rows = candidates[candidates["variant"] == "int8_reference"]
    sentences = []
    for _, row in rows.iterrows():
        loss, kernels = row["quantization_loss"] + row["kernel_loss"], row["kernel_loss"]
        if loss <= 0.01 and row["test_agreement"] >= 0.99:
            sentences.append(f"`{row['backbone']}` does not collapse (loss {loss:+.3f}, agreement "
                             f"{row['test_agreement']:.3f}).")
        else:
            cause = "the integer kernels" if kernels > loss / 2 else "quantization itself, not the kernels"
            sentences.append(f"`{row['backbone']}` loses {loss:+.3f} (agreement {row['test_agreement']:.3f}), and the "
                             f"cause is {cause}: in float kernels the same file loses {row['quantization_loss']:+.3f} "
                             f"({row['finding']}).")
    return "\n".join(f"- {sentence}" for sentence in sentences) or "- No variant named int8_reference was asked for."


def candidates_table(candidates: pd.DataFrame, deploy: dict) -> str:
    """Every candidate, the front first, with who dominates it and which limits it breaks."""
    met = pareto.satisfied(candidates, deploy)
    rows = []
    for index, row in candidates.sort_values(["front", "p50_ms"], ascending=[False, True]).iterrows():
        broken = [key for key in met if not met.loc[index, key]]
        by = " ".join(f"`{each}`" for each in row["dominated_by"].split())
        rows.append([
            f"`{row['backbone']}`", f"`{row['variant']}`", "**front**" if row["front"] else f"dominated by {by}",
            "yes" if not broken else f"no: {', '.join(broken)}", f"{row['val_macro_f1']:.3f}",
            f"{row['test_macro_f1']:.3f}", f"{row['test_missed_defects']} ({row['test_missed_defect_rate']:.1%})",
            f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['beans_per_second']:.0f}",
            f"{row['megabytes']:.2f}", f"{row['load_ms']:.0f}", f"{row['peak_memory_mb']:.0f}",
        ])
    return markdown_table(
        ["backbone", "variant", "front", "may be deployed", "val mF1", "test mF1", "defects missed", "p50 ms", "p90 ms",
         "p99 ms", "beans/s", "MB", "load ms", "peak memory MB"], rows, 4)


def classes_table(row: pd.Series, counts: dict[str, int], good_classes: list[str]) -> str:
    """Precision, recall and F1 of each class on the test images."""
    return markdown_table(
        ["class", "kind", "images", "precision", "recall", "F1"],
        [[f"`{label}`", "good" if label in good_classes else "defect", str(count),
          *(f"{row[f'test_{figure}_{label}']:.3f}" for figure in ("precision", "recall", "f1"))]
         for label, count in counts.items()], 2)
