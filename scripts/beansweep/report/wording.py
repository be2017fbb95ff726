"""The report's words: Markdown from a table of candidates."""

import pandas as pd

from beansweep.analysis import limits, pick
from beansweep.data import splitting
from beansweep.data.manifest import BLANK

# config key -> what it limits, the limit in words, and in words where its own value is left out.
_LIMITS = {
    "min_macro_f1": ("validation macro-F1", "at least", "above", "{:.3f}"),
    "max_missed_defect_rate": (
        "share of defects missed on validation",
        "at most",
        "below",
        "{:.1%}",
    ),
    "max_megabytes": ("size", "at most", "below", "{:.2f} MB"),
    "max_p50_ms": ("p50", "at most", "below", "{:.2f} ms"),
}
# So many of those that dominate a candidate are named in its table; pareto.csv has all.
_DOMINATORS = 3
OBJECTIVES = {
    "macro_f1": "the highest validation macro-F1",
    "p50_ms": "the lowest p50",
    "megabytes": "the smallest file",
}


def limit(key: str, value: float, strict: bool = False) -> str:
    """A constraint in words: `p50 at most 2.00 ms`, or where it is strict `p50 below 2.00 ms`."""
    what, inclusive, exclusive, form = _LIMITS[key]
    return f"{what} {exclusive if strict else inclusive} {form.format(value)}"


def limited(key: str) -> str:
    """A constraint in words, without its value: `p50 at most`."""
    return " ".join(_LIMITS[key][:2])


def name(row: pd.Series) -> str:
    """A candidate's name, as it stands in every table."""
    return f"`{row['backbone']}` `{row['variant']}`"


def names(candidates: pd.DataFrame, labels: list) -> str:
    """Some candidates' names, separated by commas."""
    return ", ".join(name(candidates.loc[label]) for label in labels)


def interval(row: pd.Series, figure: str, form: str) -> str:
    """Both ends of a figure's interval: `0.855 to 0.890`."""
    stem, _, unit = figure.partition("@")
    return " to ".join(form.format(row[f"{stem}_{end}{unit}"]) for end in ("low", "high"))


def figures(row: pd.Series) -> str:
    """A candidate in one clause."""
    return (
        f"test macro-F1 {row['test_macro_f1']:.3f} ({interval(row, 'test_macro_f1', '{:.3f}')}), "
        f"{row['test_missed_defect_rate']:.1%} of defects missed "
        f"({interval(row, 'test_missed_defect_rate', '{:.1%}')}), "
        f"p50 {row['p50_ms']:.2f} ms, {row['megabytes']:.2f} MB"
    )


def mistake(row: pd.Series) -> str:
    """A wrong prediction: `black called good, 81%`, and whether a defect is missed by it."""
    missed = ", a missed defect" if row["missed"] else ""
    return f"{row['class']} called {row['predicted']}, {row['sure']:.0%}{missed}"


def markdown_table(header: list[str], rows: list[list[str]], text_columns: int) -> str:
    """A GitHub table; all but the first `text_columns` columns are set to the right."""
    ruler = ["---" if column < text_columns else "--:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows))


def decision(candidates: pd.DataFrame, deploy: dict, confidence: float) -> str:
    """The pick, why, and what would change it."""
    wanted_limits = [
        limit(key, deploy[key]) for key in limits.CONSTRAINTS if deploy[key] is not None
    ]
    wanted = (
        f"Wanted: {OBJECTIVES[deploy['objective']]}, {'with ' + '; '.join(wanted_limits) if wanted_limits else 'no limits'}. "
        f"Of what is estimated, the end of its {confidence:.0%} interval has to keep the limit."
    )
    chosen = pick.choose(candidates, deploy)
    if chosen is None:
        index, broken = pick.nearest(candidates, deploy)
        row = candidates.loc[index]
        missed = "; ".join(
            f"{limit(key, deploy[key])} is missed by {_distance(key, by)}"
            for key, by in broken.items()
        )
        lead = f"**No candidate may be deployed.** The nearest is {name(row)} ({figures(row)}): {missed}."
        reasons = []
    else:
        row = candidates.loc[chosen]
        lead = f"**Pick: {name(row)}**: {figures(row)}, {row['images_per_second']:.0f} images/s."
        reasons = [
            _why(candidates, deploy),
            _tie(candidates, deploy),
            _on_test(candidates, chosen, deploy),
        ]
    changes = [
        _change(candidates, deploy, change) for change in pick.what_would_change(candidates, deploy)
    ]
    changes = changes or ["no limit, wherever it is set: one candidate has it all"]
    return "\n".join(
        [
            lead,
            "",
            " ".join(filter(None, [wanted, *reasons])),
            "",
            "What would change it:",
            "",
            *(f"- {change}" for change in changes),
        ]
    )


def _why(candidates: pd.DataFrame, deploy: dict) -> str:
    """How the pick came out of all candidates."""
    allowed = int(limits.satisfied(candidates, deploy).all(axis=1).sum())
    best = len(pick.unbeaten(candidates, deploy))
    barred = int((candidates["barred"] != "").sum())
    return (
        f"{allowed} of {len(candidates)} candidates meet every limit on the validation images; {barred} of all are "
        "never picked (a baseline, or beaten in p50, size and validation macro-F1 by one that is not shown to be "
        f"worse in anything); {best} of the others that meet them "
        f"cannot be told apart in macro-F1 from the best of them, and of these {best} the pick has "
        f"{OBJECTIVES[deploy['objective']]}."
    )


def _tie(candidates: pd.DataFrame, deploy: dict) -> str:
    """Who else might as well be picked; empty where nobody."""
    tied = pick.tied(candidates, deploy)
    if not tied:
        return ""
    if deploy["objective"] == "macro_f1":
        return (
            f"**A tie**: its macro-F1 is not shown to be above that of {names(candidates, tied)}."
        )
    return f"**A tie**: its {deploy['objective'].split('_')[0]} cannot be told from that of {names(candidates, tied)}."


def _on_test(candidates: pd.DataFrame, chosen, deploy: dict) -> str:
    """What the test images say of a pick that they had no part in."""
    row = candidates.loc[[chosen]]
    bounds = row.assign(
        **{
            f"val_{column}": row[f"test_{column}"]
            for column in (
                "macro_f1",
                "macro_f1_low",
                "missed_defect_rate",
                "missed_defect_rate_high",
            )
        }
    )
    points = bounds.assign(
        val_macro_f1_low=bounds["val_macro_f1"],
        val_missed_defect_rate_high=bounds["val_missed_defect_rate"],
    )
    unsure, broken = (
        [key for key, met in limits.satisfied(each, deploy).iloc[0].items() if not met]
        for each in (bounds, points)
    )

    def said(keys):
        return " and ".join(limit(key, deploy[key]).replace("validation", "test") for key in keys)

    if broken:
        verdict = f"**on them it breaks {said(broken)}**: more validation images would help"
    elif unsure:
        verdict = f"on them it keeps {said(unsure)} by its estimate, but not by its whole interval"
    else:
        verdict = "on them it keeps the same limits"
    beaten = candidates.loc[chosen, "test_beaten_by"]
    above = (
        f"{names(candidates, beaten)} {'is' if len(beaten) == 1 else 'are'}"
        if beaten
        else "no candidate is"
    )
    return f"The test images had no part in the choice; {verdict}, and {above} shown to be above it in macro-F1."


def _distance(key: str, by: float) -> str:
    """How far a limit is missed, in its unit."""
    return {
        "min_macro_f1": f"{abs(by):.3f}",
        "max_missed_defect_rate": f"{100 * abs(by):.1f} points",
        "max_megabytes": f"{abs(by):.2f} MB",
        "max_p50_ms": f"{abs(by):.2f} ms",
    }[key]


def _change(candidates: pd.DataFrame, deploy: dict, change: pick.Change) -> str:
    """One sentence for a limit past which the pick is another."""
    then = (
        "nothing may be deployed"
        if change.index is None
        else f"the pick is {name(candidates.loc[change.index])}"
    )
    now = (
        "no limit"
        if deploy[change.key] is None
        else _LIMITS[change.key][-1].format(deploy[change.key])
    )
    return f"with {limit(change.key, change.limit, change.tighter)} (now {now}), {then}"


def wide_table(candidates: pd.DataFrame) -> str:
    """A row a backbone and INT8 variant, FP32 beside INT8."""
    rows = []
    for backbone, group in candidates.groupby("backbone", sort=False):
        full = group[group["variant"] == "fp32"].iloc[0]
        for _, row in group[group["variant"] != "fp32"].iterrows():
            rows.append(
                [
                    f"`{backbone}`",
                    f"`{row['variant']}`",
                    f"{full['test_macro_f1']:.3f}",
                    f"{row['test_macro_f1']:.3f}",
                    f"{row['test_drop']:+.3f}",
                    row["test_verdict"],
                    f"{full['megabytes']:.2f}",
                    f"{row['megabytes']:.2f}",
                    f"{full['p50_ms']:.2f}",
                    f"{row['p50_ms']:.2f}",
                    f"{row['speedup']:.2f}x",
                    f"{row['images_per_second']:.0f}",
                ]
            )
    return markdown_table(
        [
            "backbone",
            "INT8 variant",
            "FP32 mF1",
            "INT8 mF1",
            "loss",
            "verdict",
            "FP32 MB",
            "INT8 MB",
            "FP32 p50 ms",
            "INT8 p50 ms",
            "speed-up",
            "INT8 images/s",
        ],
        rows,
        2,
    )


def accuracy_table(candidates: pd.DataFrame) -> str:
    """Each candidate's macro-F1 and missed defects on the test images, with intervals, the best first."""
    rows = [
        [
            f"`{row['backbone']}`",
            f"`{row['variant']}`",
            f"{row['test_macro_f1']:.3f}",
            interval(row, "test_macro_f1", "{:.3f}"),
            f"{row['test_missed_defects']}",
            f"{row['test_missed_defect_rate']:.1%}",
            interval(row, "test_missed_defect_rate", "{:.1%}"),
            f"{row['val_macro_f1']:.3f}",
            interval(row, "val_macro_f1", "{:.3f}"),
        ]
        for _, row in candidates.sort_values(
            "test_macro_f1", ascending=False, kind="stable"
        ).iterrows()
    ]
    return markdown_table(
        [
            "backbone",
            "variant",
            "test mF1",
            "interval",
            "defects missed",
            "share",
            "interval",
            "val mF1",
            "interval",
        ],
        rows,
        2,
    )


def ties(candidates: pd.DataFrame) -> str:
    """Which candidates the test images cannot tell from the best of them."""
    best = candidates["test_macro_f1"].idxmax()
    level = [
        label for label, by in candidates["test_beaten_by"].items() if not by and label != best
    ]
    worse = [label for label, by in candidates["test_beaten_by"].items() if by]
    lead = f"The best on the test images is {name(candidates.loc[best])}. "
    return (
        lead
        + (f"Not shown to be worse than any other: {names(candidates, level)}. " if level else "")
        + (f"Shown to be worse than some other: {names(candidates, worse)}." if worse else "")
    )


def paired_table(candidates: pd.DataFrame, margin: float) -> str:
    """Each INT8 candidate against its own FP32 on the same test images."""
    rows = []
    for _, row in candidates[candidates["variant"] != "fp32"].iterrows():
        more = row["test_images_to_decide"]
        more = "" if pd.isna(more) else "no number" if more > 1e6 else f"about {more:.0f}"
        rows.append(
            [
                f"`{row['backbone']}`",
                f"`{row['variant']}`",
                f"{row['test_drop']:+.4f}",
                interval(row, "test_drop", "{:+.4f}"),
                f"{row['test_agreement']:.3f}",
                f"{row['test_mcnemar_p']:.2g}",
                row["test_verdict"],
                more,
            ]
        )
    return markdown_table(
        [
            "backbone",
            "variant",
            "loss",
            "interval",
            "agreement",
            "McNemar p",
            f"verdict at {margin:g}",
            "more test images to decide",
        ],
        rows,
        2,
    )


def latency_table(candidates: pd.DataFrame) -> str:
    """Each candidate's latency, with intervals."""
    rows = [
        [
            f"`{row['backbone']}`",
            f"`{row['variant']}`",
            f"{row['p50_ms']:.3f}",
            interval(row, "p50@_ms", "{:.3f}"),
            f"{row['p90_ms']:.3f}",
            f"{row['p99_ms']:.3f}",
            f"{row['speedup']:.2f}x",
            interval(row, "speedup", "{:.2f}"),
            f"{row['end_to_end_p50_ms']:.2f}",
            f"{row['load_ms']:.0f}",
            f"{row['first_query_ms']:.1f}",
            f"{row['peak_memory_mb']:.0f}",
        ]
        for _, row in candidates.iterrows()
    ]
    return markdown_table(
        [
            "backbone",
            "variant",
            "p50 ms",
            "interval",
            "p90 ms",
            "p99 ms",
            "FP32 p50 / p50",
            "interval",
            "end-to-end latency, p50 ms",
            "load ms",
            "first query ms",
            "peak memory MB",
        ],
        rows,
        2,
    )


# From here on the report says that a bench cannot be relied on.
_NOISE, _DRIFT = 0.05, 0.05


def noise(benches: dict[str, dict]) -> str:
    """What the controls of each backbone's bench say of the machine."""
    lines = []
    control_models = {
        backbone: bench["controls"]["control_model"]["p50_ms"]
        for backbone, bench in benches.items()
    }
    middle = float(pd.Series(control_models).median())
    for backbone, bench in benches.items():
        again = bench["controls"]["fp32_again"]
        low, high = again["speedup_low"], again["speedup_high"]
        drift = control_models[backbone] / middle - 1
        line = (
            f"- `{backbone}`: FP32 against itself {again['speedup']:.3f} ({low:.3f} to {high:.3f}); "
            f"control model p50 {control_models[backbone]:.3f} ms ({drift:+.1%} from the median of all benches)."
        )
        if max(high, 1 / low) - 1 > _NOISE:
            line += (
                f" **Too noisy: ratios nearer to 1 than {max(high, 1 / low):.2f} say nothing here; bench again "
                "on a quiet machine.**"
            )
        elif not low <= 1 <= high:
            line += (
                " The interval leaves out 1, which it should hold: one time in twenty it does not by chance "
                "alone; more often, something else ran on the machine."
            )
        if abs(drift) > _DRIFT:
            line += " **The machine ran at another speed than in the other benches: do not rank it against them.**"
        lines.append(line)
    return "\n".join(lines)


def threads_table(benches: dict[str, dict]) -> str:
    """p50 by number of threads; empty where one number alone was timed."""
    counts = list(next(iter(benches.values()))["by_threads"])
    if len(counts) == 1:
        return ""
    rows = [
        [
            f"`{backbone}`",
            f"`{variant}`",
            *(f"{bench['by_threads'][count][variant]:.3f}" for count in counts),
        ]
        for backbone, bench in benches.items()
        for variant in bench["variants"]
    ]
    header = ["backbone", "variant", *(f"p50 ms, {count} thread(s)" for count in counts)]
    return "\n\n" + markdown_table(header, rows, 2)


def data_table(manifest: pd.DataFrame, good_classes: list[str]) -> str:
    """Images by class and split."""
    counts = pd.crosstab(manifest["class"], manifest["split"])
    splits = [split for split in (*splitting.SPLITS, splitting.DROPPED) if split in counts]
    return markdown_table(
        ["class", "kind", *splits],
        [
            [f"`{label}`", "good" if label in good_classes else "defect", *map(str, row)]
            for label, row in zip(counts.index, counts[splits].to_numpy(), strict=True)
        ],
        2,
    )


def data_checks(manifest: pd.DataFrame, pairs: pd.DataFrame, on_leakage: str) -> str:
    """What a person would look for in the images before trusting any figure."""
    sizes = manifest[["width", "height"]].agg(["min", "median", "max"]).astype(int)
    spread = (
        "all are {} x {} pixels".format(*sizes.loc["min"])
        if (sizes.nunique() == 1).all()
        else "from {} x {} to {} x {} pixels, the median {} x {}".format(
            *sizes.loc["min"], *sizes.loc["max"], *sizes.loc["median"]
        )
    )
    blank = manifest.loc[manifest["contrast"] < BLANK, "path"]
    crossing, classes = pairs[pairs["crosses_splits"]], pairs[pairs["crosses_classes"]]
    leak = (
        "no two images in different splits are near-duplicates"
        if crossing.empty
        else (
            f"**{len(crossing)} pair(s) of near-duplicates lie across splits**"
            + (
                ", and the one less held out was dropped"
                if on_leakage == "drop"
                else ": test figures may flatter"
            )
            + " (shown below)"
        )
    )
    lines = [
        f"Sizes: {spread}.",
        f"Blank: {f'{len(blank)} image(s), such as {blank.iloc[0]}' if len(blank) else 'none'}.",
        f"Leakage: {leak}. Near-duplicates in all, also turned, flipped or re-encoded: {len(pairs)} pair(s), listed in "
        "`dataset/near_duplicates.csv`.",
    ]
    if len(classes):
        pair = classes.iloc[0]
        lines.append(
            f"Labels: **{len(classes)} pair(s) of near-duplicates have two classes**, such as "
            f"{pair['first_path']} and {pair['second_path']}."
        )
    return "\n".join(f"- {line}" for line in lines)


def seeds(scores: dict[str, dict[str, float]], candidates: pd.DataFrame) -> str:
    """FP32's test macro-F1 by seed, beside what the sample of images leaves open."""
    if all(len(each) == 1 for each in scores.values()):
        return (
            "One seed was trained (`train.seeds`), so what the seed alone changes is not measured: no interval "
            "here has it."
        )
    rows = []
    for backbone, each in scores.items():
        row, values = candidates.loc[f"{backbone}:fp32"], pd.Series(each)
        rows.append(
            [
                f"`{backbone}`",
                ", ".join(f"{value:.3f}" for value in values),
                f"{values.mean():.3f}",
                f"{values.std():.3f}",
                f"{(row['test_macro_f1_high'] - row['test_macro_f1_low']) / 2:.3f}",
            ]
        )
    return (
        "Of the FP32 models; the first seed's is the one in all other tables.\n\n"
        + markdown_table(
            [
                "backbone",
                "test mF1 by seed",
                "mean",
                "standard deviation over seeds",
                "half of the sampling interval",
            ],
            rows,
            2,
        )
    )


def diagnosis_table(candidates: pd.DataFrame) -> str:
    """For each INT8 candidate, its loss split in two, and the cause in words."""
    rows = [
        [
            f"`{row['backbone']}`",
            f"`{row['variant']}`",
            f"{row['test_drop']:+.3f}",
            f"{row['quantization_drop']:+.3f}",
            f"{row['quantization_agreement']:.3f}",
            f"{row['kernel_drop']:+.3f}",
            f"{row['kernel_agreement']:.3f}",
            row["finding"],
        ]
        for _, row in candidates[candidates["variant"] != "fp32"].iterrows()
    ]
    return markdown_table(
        [
            "backbone",
            "variant",
            "loss",
            "of quantization",
            "agreement",
            "of kernels",
            "agreement",
            "finding",
        ],
        rows,
        2,
    )


def portability_list(candidates: pd.DataFrame) -> str:
    """Which candidates' accuracy will be another on another instruction set, and why."""
    warned = candidates[candidates["portability"].fillna("") != ""]
    lines = [f"- **{name(row)}**: {row['portability']}." for _, row in warned.iterrows()]
    return "\n".join(lines) or "- None: no candidate's kernels saturate anywhere."


def reference_experiment(candidates: pd.DataFrame) -> str:
    """The finding of the reference system's experiment, repeated here; empty where no variant repeats it."""
    rows = candidates[candidates["variant"] == "int8_ort_default"]
    sentences = []
    for _, row in rows.iterrows():
        loss = (
            f"{row['test_drop']:+.3f} ({interval(row, 'test_drop', '{:+.3f}')}), agreement "
            f"{row['test_agreement']:.3f}"
        )
        if row["test_drop_low"] <= 0:
            sentences.append(f"`{row['backbone']}` loses nothing that these images show: {loss}.")
        else:
            cause = (
                "the integer kernels"
                if row["kernel_drop"] > row["test_drop"] / 2
                else "quantization itself, not the kernels"
            )
            sentences.append(
                f"`{row['backbone']}` loses {loss}, and the cause is {cause}: in float kernels the same "
                f"file loses {row['quantization_drop']:+.3f} ({row['finding']})."
            )
    return (
        "\n".join(f"- {sentence}" for sentence in sentences)
        or "- No variant named int8_ort_default was asked for."
    )


def dominated(row: pd.Series) -> str:
    """By whom a candidate is dominated; of many, the first."""
    first = " ".join(f"`{each}`" for each in row["dominated_by"][:_DOMINATORS])
    more = len(row["dominated_by"]) - _DOMINATORS
    return f"dominated by {first}" + (f" and {more} more" if more > 0 else "")


def candidates_table(candidates: pd.DataFrame, deploy: dict) -> str:
    """Every candidate, the front first, with who dominates it and which limits it breaks."""
    met = limits.satisfied(candidates, deploy)
    rows = []
    for index, row in candidates.sort_values(
        ["front", "p50_ms"], ascending=[False, True]
    ).iterrows():
        broken = [key for key in met if not met.loc[index, key]] + [row["barred"]] * bool(
            row["barred"]
        )
        rows.append(
            [
                f"`{row['backbone']}`",
                f"`{row['variant']}`",
                "**front**" if row["front"] else dominated(row),
                "yes" if not broken else f"no: {', '.join(broken)}",
                f"{row['val_macro_f1']:.3f}",
                f"{row['test_macro_f1']:.3f}",
                f"{row['p50_ms']:.2f}",
                f"{row['megabytes']:.2f}",
            ]
        )
    return markdown_table(
        ["backbone", "variant", "front", "may be deployed", "val mF1", "test mF1", "p50 ms", "MB"],
        rows,
        4,
    )


def classes_table(row: pd.Series, counts: dict[str, int], good_classes: list[str]) -> str:
    """Precision, recall and F1 of each class on the test images."""
    return markdown_table(
        ["class", "kind", "images", "precision", "F1", "recall", "interval"],
        [
            [
                f"`{label}`",
                "good" if label in good_classes else "defect",
                str(count),
                *(
                    f"{row[f'test_{figure}_{label}']:.3f}"
                    for figure in ("precision", "f1", "recall")
                ),
                interval(row, f"test_recall@_{label}", "{:.3f}"),
            ]
            for label, count in counts.items()
        ],
        2,
    )
