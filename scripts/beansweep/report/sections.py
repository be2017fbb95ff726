"""The sections of the report, in their order: each is a function that returns its Markdown.

A section is added by its function and an entry of SECTIONS. A section without anything to say
returns an empty text.
"""

import pandas as pd

from beansweep.analysis import intervals, limits
from beansweep.common.words import counted
from beansweep.data.manifest import BLANK, FEW, small_classes
from beansweep.report import (
    decision,
    device_section,
    figures,
    fonts,
    markdown,
    style,
    tables,
    timed_together,
)
from beansweep.report.report_data import ReportData

# Benchmarks with more noise, or of a machine that drifted further, cannot be relied on.
_NOISE, _DRIFT = 0.05, 0.05
# So many small classes are named.
_NAMED = 10


def pick(sweep: ReportData) -> str:
    """The title, a warning where something is missing, and the pick."""
    return markdown.paragraphs(
        "# Pareto report",
        missing(sweep.settings["missing"]),
        decision.text(sweep.choice),
        decision.other_picks(sweep.choice),
        """\
`report.html`, next to this file, is this report as an interactive page. It has a slider for each
limit, and it shows the mistakes of every candidate.""",
    )


def missing(trainings: dict[str, str]) -> str:
    """A warning where trainings are missing; else empty.

    Parameters
    ----------
    trainings : training -> why it is not in the report
    """
    if not trainings:
        return ""
    lines = [f"> - `{training}`: {why}" for training, why in trainings.items()]
    return "\n".join(["> **Incomplete.** These trainings are not in this report:", ">", *lines])


def front(sweep: ReportData) -> str:
    """The Pareto front."""
    rejected = ""
    if sweep.choice.has_defects:
        rejected = """\
![good ones rejected against p50 latency](figures/front_rejected.png)

The same for good ones rejected, each candidate at its own threshold; the fewest are at the top."""
    text = f"""\
## The front

![test macro-F1 against p50 latency](figures/front.png)

Each mark is a candidate, and its area is the size of the file. FP32 is hollow, and a line joins it
to each of its INT8 variants. A candidate that collapsed, far below every FP32, is an arrow on the
lower edge with its macro-F1. Bars are {sweep.confidence} intervals. The dashed steps are the front:
no candidate is both faster and more accurate than a mark on it.

Shaded regions are beyond a limit. Limits on accuracy are checked on the validation images; the name
of a candidate that may not be picked is gray and italic. In a sweep of more than {style.NAMED}
candidates, only the front, the pick and the collapsed candidates are named."""
    return markdown.paragraphs(text, rejected)


def operating_points(sweep: ReportData) -> str:
    """What operating points cost, and whether FP32's survives INT8."""
    if not sweep.choice.has_defects:
        return ""
    return markdown.paragraphs(
        "## Operating points",
        decision.operating_points(sweep.choice),
        "![good ones rejected against defects missed](figures/curves.png)",
        """\
Each line is a candidate with all thresholds it could have. Its mark is the threshold that it has,
with the intervals of both shares. Further left and lower is better.""",
        fp32_thresholds(sweep),
    )


def fp32_thresholds(sweep: ReportData) -> str:
    """Whether the threshold of FP32 survives INT8; empty without INT8."""
    if not sweep.has_int8:
        return ""
    return f"""\
### Does FP32's threshold survive INT8?

{tables.fp32_thresholds(sweep.table)}

{_over_the_limit(sweep)}"""


def _over_the_limit(sweep: ReportData) -> str:
    """Which INT8 candidates break the limit on missed defects at FP32's threshold alone."""
    limit, table = sweep.settings["deploy"]["max_missed_defect_rate"], sweep.table
    if limit is None:
        return "Without a limit on missed defects all thresholds are the same."
    kept = table["test_missed_defect_rate"] <= limit
    broken = table.index[kept & (table["test_missed_defect_rate_at_fp32"] > limit)]
    if not len(broken):
        return (
            f"Each candidate that keeps the limit of {limit:.2%} on test at its own threshold also "
            "keeps it at FP32's."
        )
    return (
        f"At FP32's threshold these miss more than {limit:.2%} of the test defects, and at their "
        f"own they do not: {markdown.names(table, broken)}."
    )


def int8(sweep: ReportData) -> str:
    """FP32 and INT8 next to each other."""
    if not sweep.has_int8:
        return ""
    margin = sweep.settings["report"]["non_inferiority_margin"]
    return f"""\
## FP32 and INT8 side by side

{tables.side_by_side(sweep.table)}

mF1 is macro-F1 on the {sweep.test_images} test images. The accuracy drop is the mF1 of FP32 minus
that of INT8. The verdict is *non-inferior* where the whole {sweep.confidence} interval of the drop
is below {margin:g}, *inferior* where it is above, and *undecided* otherwise."""


def unavailable(sweep: ReportData) -> str:
    """The variants that backbones lack, and why."""
    if not sweep.candidates.unavailable:
        return ""
    rows = []
    for (backbone, variant), why in sweep.candidates.unavailable.items():
        rows.append([f"`{backbone}`", f"`{variant}`", why])
    return f"""\
## Variants that are not available

{markdown.table(["backbone", "variant", "why"], rows, text_columns=3)}

These are no candidates. All other variants of their backbones are."""


def test_images(sweep: ReportData) -> str:
    """What the test images can show."""
    comparison = ""
    if sweep.has_int8:
        margin = sweep.settings["report"]["non_inferiority_margin"]
        comparison = f"""\
INT8 against its own FP32, on the same images:

{tables.paired(sweep.table, margin)}"""
    method = f"""\
Intervals of macro-F1 and of the accuracy drop are percentiles of {intervals.RESAMPLES} stratified
bootstrap resamples, which are the same for all candidates. Intervals of shares are Wilson's.
McNemar's test is exact. *Shown to be worse* allows for the comparison of all pairs of candidates at
once."""
    return markdown.paragraphs(
        f"## What {sweep.test_images} test images can show",
        tables.accuracy(sweep.table),
        indistinguishable(sweep.table),
        rejecting(sweep),
        comparison,
        method,
    )


def indistinguishable(candidates: pd.DataFrame) -> str:
    """Which candidates the test images show to be worse than another, and which they do not."""
    best = candidates["test_macro_f1"].idxmax()
    has_better = candidates["test_beaten_by"].map(bool)
    equal = candidates.index[~has_better & (candidates.index != best)]
    worse = candidates.index[has_better]
    lines = [f"The best test macro-F1 is that of {markdown.name(candidates.loc[best])}."]
    if not len(worse):
        lines.append("No candidate is shown to be worse than another.")
    elif len(equal):
        names = markdown.names(candidates, equal)
        lines.append(f"These are not shown to be worse than any other: {names}.")
    if len(worse):
        names = markdown.names(candidates, worse)
        lines.append(f"These are shown to be worse than another candidate: {names}.")
    return " ".join(lines)


def rejecting(sweep: ReportData) -> str:
    """Which candidates the test images show to reject more good ones; empty without defects."""
    if not sweep.choice.has_defects:
        return ""
    more = sweep.table["test_rejects_more_than"].map(bool)
    if not more.any():
        return "At these thresholds, no candidate is shown to reject more good ones than another."
    names = markdown.names(sweep.table, sweep.table.index[more])
    return f"At these thresholds, these are shown to reject more good ones than another: {names}."


def accuracy_drops(sweep: ReportData) -> str:
    """The accuracy drop of INT8 and its causes."""
    if not sweep.has_int8:
        return ""
    return f"""\
## Where INT8 loses accuracy

{tables.accuracy_drops(sweep.table)}

![accuracy drop split in two](figures/accuracy_drops.png)

The accuracy drop on the test images is the sum of two parts. The part *from quantization* compares
the INT8 file in float kernels with FP32. Other ranges, corrected biases, or a layer kept in float
reduce it. The part *from kernels* compares the same file in the integer kernels of this machine
with float kernels. `reduce_range` reduces it. The files `<backbone>/sensitivity/<variant>.csv` rank
the layers of each static variant."""


def default_recipe(sweep: ReportData) -> str:
    """What the default recipe of ONNX Runtime does to these networks."""
    baselines = []
    for variant, recipe in sweep.recipes.items():
        if variant in sweep.settings["baselines"] and recipe["quantizer"] == "static":
            baselines.append(variant)
    if not baselines:
        return ""
    rows = sweep.table[sweep.table["variant"].isin(baselines)]
    lines = [default_drop(row) for _, row in rows.iterrows()]
    return f"""\
## What the default recipe of ONNX Runtime does here

{", ".join(markdown.code(baselines))} is static quantization as most people run it. On these images
and on {sweep.machine["instruction_set"]}, this is what it does:

{markdown.bullets(lines)}"""


def default_drop(row: pd.Series) -> str:
    """The accuracy drop of a candidate and whether quantization or the kernels cause it.

    Parameters
    ----------
    row : of an INT8 candidate in the table of candidates
    """
    drop = markdown.with_interval(row, "test_drop", "{:+.3f}")
    text = (
        f"{markdown.name(row)} has an accuracy drop of {drop} and an agreement with FP32 of "
        f"{row['test_agreement']:.3f}"
    )
    if row["test_drop_high"] < 0:
        return f"{text}; the interval is below 0: INT8 is better on these images."
    if row["test_drop_low"] <= 0:
        return f"{text}; the interval includes 0, so these images do not show a drop."
    kernels = row["kernel_drop"] > row["test_drop"] / 2
    cause = "the integer kernels" if kernels else "quantization itself, not the kernels"
    return (
        f"{text}; the cause is {cause}: the drop of the same file in float kernels is "
        f"{markdown.figure(row['quantization_drop'], '{:+.3f}')} ({row['finding']})."
    )


def portability(sweep: ReportData) -> str:
    """Which candidates have another accuracy on another instruction set."""
    if not sweep.has_int8:
        return ""
    warned = sweep.table[sweep.table["portability"].fillna("") != ""]
    lines = [f"**{markdown.name(row)}**: {row['portability']}." for _, row in warned.iterrows()]
    text = "No candidate has integer kernels that saturate on any processor."
    if lines:
        text = "The accuracy of these candidates depends on the instruction set of the processor:"
    return markdown.paragraphs("## Accuracy on other processors", text, markdown.bullets(lines))


def all_candidates(sweep: ReportData) -> str:
    """Every candidate."""
    goals = [limits.P50.name, decision.pick_quality(sweep.choice)]
    goals.append(limits.objective(sweep.settings["deploy"]).name)
    *others, last = dict.fromkeys(goals)
    better = " or ".join(dict.fromkeys([goals[0], goals[-1]]))
    return f"""\
## All candidates

{tables.all_candidates(sweep.table)}

The front is by test macro-F1 and p50. Limits on accuracy are checked on the validation images. One
candidate *beats* another where it is no worse in {", ".join(others)} and {last}, better in
{better}, and not shown to be worse in anything."""


def classes(sweep: ReportData) -> str:
    """The pick, or the nearest candidate, class by class."""
    which = "The nearest" if sweep.chosen is None else "The pick"
    good_classes = sweep.settings["good_classes"]
    found = sweep.mistakes[sweep.subject.name]
    mistakes, figure = f"Mistakes: there are no {found.kind}.", ""
    if len(found.rows) == 1:
        mistakes = f"Mistakes: {counted(1, found.kind)}:"
    elif len(found.rows):
        first = ", missed defects first" if sweep.choice.has_defects else ""
        mistakes = f"The most telling of {len(found.rows)} {found.kind}{first}:"
    if len(found.rows):
        figure = "![mistakes](figures/mistakes.png)"
    return markdown.paragraphs(
        f"## {which}, {markdown.name(sweep.subject)}, class by class",
        tables.classes(sweep.subject, sweep.test_counts, good_classes),
        "![confusion matrices](figures/confusion.png)",
        _confusion_words(sweep.labels),
        mistakes,
        figure,
    )


def _confusion_words(labels: list[str]) -> str:
    """What the figure of confusions leaves out, and which classes figures call by number."""
    words = []
    if len(labels) > figures.MATRIX_CLASSES:
        words.append("Of so many classes, only the most frequent confusions are shown.")
    numbered = []
    for label, name in fonts.names(labels).items():
        if name != label:
            numbered.append(f"{name} is {label}")
    if numbered:
        words.append(f"In the figures, {', '.join(numbered)}.")
    return " ".join(words)


def latency(sweep: ReportData) -> str:
    """Latency, how it was measured, and how noisy the machine was."""
    bench, machine = sweep.benches[sweep.subject["backbone"]], sweep.machine
    settings = bench["settings"]
    threads = counted(settings["threads"][0], "threads")
    method = f"""\
Queries have batch {settings["batch_size"]} and {threads}. Each variant has
{_queries(sweep.benches)} over {settings["processes"]} fresh processes. Variants are
interleaved in random order, and no query is left out. p50 is the latency of the model alone, on
decoded test images. The end-to-end latency also decodes, resizes and normalises an image. Intervals
are over processes. The speed-up is the p50 of FP32 divided by that of the variant, round by round
in the benchmark of its backbone. Variants that differ in the values of their weights and biases
alone do the same arithmetic, and have one timing. The limit of a speed-up is where the variant
would be if each quantized layer took no longer than an integer matrix product of its shape, and all
else no time. Load and first query are cold."""
    controls = """\
Two controls show the noise of the machine: FP32 timed against itself, and a control model that is
the same in every benchmark."""
    conditions = f"""\
Machine: {machine["cpu"]}, {machine["instruction_set"]}, {machine["cores"]} cores, ONNX Runtime
{machine["onnxruntime"]}, governor {machine["governor"]}, load average
{machine["load_average"][0]:.2f} before the benchmark."""
    return markdown.paragraphs(
        "## Latency",
        tables.latency(sweep.table),
        method,
        tables.threads(sweep.benches),
        "![latency of all queries](figures/latencies.png)",
        controls,
        noise(sweep.benches),
        timed_together.text(sweep.table, sweep.together),
        conditions,
    )


def _queries(benches: dict[str, dict]) -> str:
    """How many queries a variant has, in words: `800 queries`.

    Parameters
    ----------
    benches : backbone -> contents of its latency.json
    """
    usual: list[int] = []
    fewer: list[int] = []
    for bench in benches.values():
        # FP32 always has all of them: the others are compared with it.
        most = bench["variants"]["fp32"]["queries"]
        for timed in bench["variants"].values():
            (usual if timed["queries"] >= most else fewer).append(timed["queries"])
    words = f"{_range(usual)} queries"
    if fewer:
        words += f" ({_range(fewer)} where it is too slow to win)"
    return words


def _range(counts: list[int]) -> str:
    """The least and the most of some numbers, or the one that they all are."""
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def noise(benches: dict[str, dict]) -> str:
    """What the controls of each backbone's benchmark say of the machine.

    Parameters
    ----------
    benches : backbone -> contents of its latency.json
    """
    times = pd.Series(
        {name: bench["controls"]["control_model"]["p50_ms"] for name, bench in benches.items()}
    )
    drifts = times / times.median() - 1
    lines = []
    for backbone, bench in benches.items():
        again = bench["controls"]["fp32_again"]
        ratio = markdown.with_interval(again, "speedup", "{:.3f}")
        line = (
            f"`{backbone}`: FP32 against itself {ratio}; control model p50 "
            f"{times[backbone]:.3f} ms ({markdown.figure(drifts[backbone], '{:+.1%}')} from the "
            "median of all benchmarks)."
        )
        warnings = [_ratio_warning(again), _drift_warning(drifts[backbone])]
        lines.append(" ".join(filter(None, [line, *warnings])))
    return markdown.bullets(lines)


def _ratio_warning(again: dict) -> str:
    """A warning where FP32 against itself is far from 1; else empty.

    Parameters
    ----------
    again : figures of the control `fp32_again`
    """
    low, high = again["speedup_low"], again["speedup_high"]
    reach = max(high, 1 / low)
    if reach - 1 > _NOISE:
        return (
            f"**Too noisy: differences in speed of less than {reach - 1:.0%} mean nothing here; "
            "benchmark again on a quiet machine.**"
        )
    if not low <= 1 <= high:
        return (
            "The interval leaves out 1. That happens by chance too; more often, something else ran "
            "on the machine."
        )
    return ""


def _drift_warning(drift: float) -> str:
    """A warning where the control model's latency is far from the median; else empty."""
    if abs(drift) <= _DRIFT:
        return ""
    return (
        "**The machine ran at another speed than in the other benchmarks: do not rank these "
        "latencies against theirs, but for finalists, which were timed together.**"
    )


def devices(sweep: ReportData) -> str:
    """A section for each other machine: with times from there, with emulated accuracy, or both."""
    timed = {device.name: device for device in sweep.devices}
    sections = []
    for name in dict.fromkeys([*timed, *sweep.emulated]):
        sections.append(device_section.section(name, timed.get(name), sweep))
    return markdown.paragraphs(*sections)


def data_set(sweep: ReportData) -> str:
    """The images and what is wrong with them."""
    figure = ""
    if len(sweep.leaks):
        figure = "![near-duplicates across splits](figures/near_duplicates.png)"
    return markdown.paragraphs(
        "## Data",
        tables.images(sweep.manifest, sweep.settings["good_classes"]),
        data_checks(
            sweep.manifest, sweep.near_duplicates, sweep.settings["on_leakage"], sweep.skipped
        ),
        figure,
    )


def data_checks(
    manifest: pd.DataFrame, pairs: pd.DataFrame, on_leakage: str, skipped: list[str]
) -> str:
    """What a person would look for in the images before trusting any figure.

    Parameters
    ----------
    manifest : a row an image
    pairs : a row a pair of near-duplicates
    on_leakage : warn, drop or fail, as in config.yaml
    skipped : paths of the images that cannot be read
    """
    blank = manifest.loc[manifest["contrast"] < BLANK, "path"]
    lines = [
        f"Sizes: {_sizes(manifest)}.",
        f"Blank images: {f'{len(blank)}, such as {blank.iloc[0]}' if len(blank) else 'none'}.",
        f"Leakage: {_leakage(pairs, on_leakage)}. `dataset/near_duplicates.csv` lists "
        f"{counted(len(pairs), 'pairs of near-duplicates')}. They may be turned, "
        "re-encoded or resized.",
    ]
    if skipped:
        lines.append(
            f"Skipped: **{counted(len(skipped), 'images')} cannot be read** and "
            f"{'is' if len(skipped) == 1 else 'are'} in no figure, such as {skipped[0]}."
        )
    small = small_classes(manifest)
    if small:
        lines.append(
            f"Small classes: **fewer than {FEW} images leave the recall of a class open** "
            f"({', '.join(small[:_NAMED])}{' ...' if len(small) > _NAMED else ''})."
        )
    contradictions = pairs[pairs["crosses_classes"]]
    if len(contradictions):
        pair = contradictions.iloc[0]
        lines.append(
            f"Labels: **{counted(len(contradictions), 'pairs of near-duplicates')} with "
            "two classes**, "
            f"such as {pair['first_path']} and {pair['second_path']}."
        )
    return markdown.bullets(lines)


def _sizes(manifest: pd.DataFrame) -> str:
    """The images' sizes in words."""
    sizes = manifest[["width", "height"]].agg(["min", "median", "max"]).astype(int)
    words = {name: f"{row['width']} x {row['height']}" for name, row in sizes.iterrows()}
    if (sizes.nunique() == 1).all():
        return f"all are {words['min']} pixels"
    return f"from {words['min']} to {words['max']} pixels, the median is {words['median']}"


def _leakage(pairs: pd.DataFrame, on_leakage: str) -> str:
    """Near-duplicates across splits in words."""
    count = int(pairs["crosses_splits"].sum())
    if not count:
        return "no near-duplicates are in different splits"
    consequence = "the test figures may be too high"
    if on_leakage == "drop":
        consequence = "the image of each pair in the less held-out split was dropped"
    found = counted(count, "pairs of near-duplicates")
    verb = "is" if count == 1 else "are"
    return f"**{found} {verb} in two splits** (shown below): {consequence}"


def training(sweep: ReportData) -> str:
    """Training and seeds."""
    if all(len(scores) == 1 for scores in sweep.seed_scores.values()):
        seeds = """\
One seed was trained (`train.seeds`), so the effect of the seed is not measured, and no interval
includes it."""
    else:
        seeds = f"""\
These are the FP32 models; all other tables are of the first seed.

{tables.seeds(sweep.seed_scores, sweep.table)}"""
    return f"""\
## Training

![training curves](figures/history.png)

{tables.training(sweep.histories)}

{seeds}

All figures of each candidate are in `pareto.csv`. Every prediction is in
`<backbone>/predictions/<variant>.csv`."""


SECTIONS = [
    pick,
    front,
    operating_points,
    int8,
    unavailable,
    test_images,
    accuracy_drops,
    default_recipe,
    portability,
    all_candidates,
    classes,
    latency,
    devices,
    data_set,
    training,
]


def text(sweep: ReportData) -> str:
    """The whole report in Markdown."""
    return markdown.paragraphs(*[section(sweep) for section in SECTIONS]) + "\n"
