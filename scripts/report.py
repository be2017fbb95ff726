"""Write the Pareto report: pareto.csv, pareto.md with its figures, and report.html, ending in the pick."""

from pathlib import Path

import numpy as np
import pandas as pd
from beansweep.analysis import candidates, intervals, pick
from beansweep.benchmark import device_results
from beansweep.common import files, progress, stage
from beansweep.data import manifest, preprocess
from beansweep.evaluation import metrics, predictions
from beansweep.report import device_section, figures, page, wording

MARKDOWN = """\
# Pareto report

{missing}{decision}

The same to point at, with limits to move and every candidate's mistakes: `report.html`, beside this file.

![test macro-F1 against p50 latency](figures/front.png)

Each mark is a candidate, its area the file's size; hollow is FP32, and a line joins a backbone's
variants. Bars are {confidence} intervals. The dashed steps are the front: no candidate is both
faster and better than a mark on it. What lies beyond a limit is shaded; limits are checked on the
validation images, and a name in gray italics breaks one there. Of more than 24 candidates the front, the
pick and what collapsed are named.

## FP32 beside INT8

{wide}

mF1 is macro-F1 on the {test} test images. The verdict is on the loss: *non-inferior* where its whole
{confidence} interval is below {margin:g}, *inferior* where it is above, else *undecided*.

## What {test} test images can tell

{accuracy}

{ties}

INT8 against its own FP32, on the same images:

{paired}

Intervals of macro-F1 and of the loss are percentiles of {resamples} stratified bootstrap resamples, the same
for all candidates; those of shares are Wilson's. McNemar's test is exact. *Shown to be worse*
allows for all pairs of candidates being compared at once.

## INT8, explained

{diagnosis}

![loss split in two](figures/accuracy_drops.png)

The loss of macro-F1 against FP32 (test) is the sum of two. *Of quantization*: the INT8 file in float
kernels against FP32; the cure is in the ranges, the biases, or a layer kept in float. *Of kernels*:
the same file in this machine's integer kernels against float kernels; the cure is `reduce_range`.
The layers of each static variant, ranked: `<backbone>/sensitivity/<variant>.csv`.

Accuracy that will be another on another instruction set:

{portability}

### The reference's experiment, repeated

The reference system lost 86, 8 and 18 points of macro-F1 to INT8 (MobileNetV3-Small, -Large,
EfficientNet-B0) and blamed hardswish. `int8_ort_default` is its recipe, here on {instruction_set}:

{reference}

## All candidates

{all}

The front is over test macro-F1 and p50. A limit is checked on the validation images where it is
about accuracy. A missed defect is an image of a defect class predicted as a good one.

## {subject}, class by class

{classes}

![confusion matrices](figures/confusion.png)

{mistakes}

## Latency

{latency}

Batch {batch}, {threads} thread(s), {queries} queries a variant over {processes} fresh processes, variants
interleaved in random order, none left out. p50 is of the model alone, on decoded test images; *bytes to
label* decodes, resizes and normalises too. Intervals are over processes. Load and first query are cold.{by_threads}

![time of all queries](figures/latencies.png)

What the machine's noise makes of it:

{noise}

Machine: {cpu}, {instruction_set}, {cores} cores, ONNX Runtime {runtime}, governor {governor}, load average
{load} before the bench.

{devices}## Data

{data}

{checks}{near_duplicates}

## Training

![training curves](figures/history.png)

{training}

{seeds}

Every figure is in `pareto.csv`; each prediction in `<backbone>/predictions/<variant>.csv`.
"""
DEVICE = """\
## On {name}

{decision}

![test macro-F1 against p50 latency on {name}](figures/front-{name}.png)

{words}

{table}

"""
# Pairs of near-duplicates, and mistakes, that the report shows.
PAIRS, MISTAKES = 6, 12


def confusion_matrices(results: Path, backbone: str, variants: list[str]) -> tuple[dict, list[str]]:
    """Test confusion matrices of some variants of a backbone, and the class names."""
    matrices, labels = {}, []
    for variant in variants:
        true, predicted, labels = predictions.test_classes(
            predictions.read(results / backbone / f"predictions/{variant}.csv")
        )
        confusion = metrics.summarise(true, predicted, len(labels))["confusion"]
        matrices[f"{backbone}\n{variant}"] = np.array(confusion)
    return matrices, labels


def mistakes(args, backbone: str, variant: str) -> tuple[pd.DataFrame, str]:
    """The most telling mistakes of a candidate on the test images, and in words which those are.

    Of an INT8 variant, what it gets wrong and FP32 right; of FP32, what it gets wrong. Missed
    defects come first, then what it was surest of.
    """
    folder = args.results / backbone / "predictions"
    found, fp32 = (predictions.read(folder / f"{name}.csv") for name in (variant, "fp32"))
    wrong = (found["split"] == "test") & (found["predicted"] != found["class"])
    if variant != "fp32":
        wrong &= fp32["predicted"] == fp32["class"]
    good = args.settings["good_classes"]
    # Before the choice of rows: pandas would give a table without rows those of the columns it is given.
    rows = found.assign(
        missed=~found["class"].isin(good) & found["predicted"].isin(good),
        sure=found.filter(regex="^p_").max(axis=1),
    )[wrong]
    what = f"what {'it' if variant == 'fp32' else 'INT8'} gets wrong{'' if variant == 'fp32' else ' and FP32 right'}"
    return rows.sort_values(["missed", "sure"], ascending=False, kind="stable"), what


def draw(
    args,
    table: pd.DataFrame,
    chosen,
    matrices: dict,
    labels: list[str],
    wrong: pd.DataFrame,
    pairs: pd.DataFrame,
    benches: dict,
    curves: dict[str, pd.DataFrame],
    targets: list[device_results.Device],
) -> None:
    """Write every figure."""

    def read(path: str):
        return preprocess.read(args.root / path)

    samples = {
        f"{backbone}  {variant}": np.ravel(figures_["samples_ms"])
        for backbone, bench in benches.items()
        for variant, figures_ in bench["variants"].items()
    }
    drawn = {
        "front": figures.front(table, chosen, args.settings["deploy"]),
        "accuracy_drops": figures.accuracy_drops(table),
        "confusion": figures.confusion(matrices, labels),
        "latencies": figures.latencies(samples),
        "history": figures.history(curves),
    }
    for target in targets:
        drawn[f"front-{target.name}"] = figures.front(
            target.table,
            pick.choose(target.table, args.settings["deploy"]),
            args.settings["deploy"],
        )
    if len(wrong):
        drawn["mistakes"] = figures.thumbnails(
            [
                (read(row["path"]), wording.mistake(row).replace(", ", "\n", 1))
                for _, row in wrong.head(MISTAKES).iterrows()
            ]
        )
    if len(pairs):
        drawn["near_duplicates"] = figures.thumbnails(
            [
                (read(pair[f"{end}_path"]), f"{pair[f'{end}_split']}\n{pair[f'{end}_path']}")
                for _, pair in pairs.head(PAIRS).iterrows()
                for end in ("first", "second")
            ],
            columns=2,
        )
    for name, figure in drawn.items():
        figures.save(figure, args.figures / f"{name}.png")


def training_table(curves: dict[str, pd.DataFrame]) -> str:
    """What each training took and reached."""
    return wording.markdown_table(
        ["backbone", "epochs run", "best epoch", "best val mF1", "images/s", "minutes"],
        [
            [
                f"`{backbone}`",
                str(len(curve)),
                str(curve.loc[curve["val_macro_f1"].idxmax(), "epoch"]),
                f"{curve['val_macro_f1'].max():.3f}",
                f"{curve['images_per_second'].median():.0f}",
                f"{curve['seconds'].sum() / 60:.1f}",
            ]
            for backbone, curve in curves.items()
        ],
        1,
    )


def missing_runs(missing: dict[str, str]) -> str:
    """A warning above a report that lacks some trainings: run -> why; empty where none is missing."""
    lines = [f"> - `{run}`: {why}" for run, why in missing.items()]
    return (
        "\n".join(["> **Incomplete.** Not in this report, because it failed:", ">", *lines, "\n"])
        if lines
        else ""
    )


def seed_scores(args) -> dict[str, dict[str, float]]:
    """FP32's test macro-F1 of every training: backbone -> run -> score."""

    def score(run: str) -> float:
        true, predicted, labels = predictions.test_classes(
            predictions.read(args.results / run / "predictions/fp32.csv")
        )
        return metrics.macro_f1(true, predicted, len(labels))

    return {
        backbone: {run: score(run) for run in runs}
        for backbone, runs in args.settings["runs"].items()
    }


def main(args) -> None:
    settings, results = args.settings, args.results
    deploy, report = settings["deploy"], settings["report"]
    table = candidates.table(
        results,
        settings["backbones"],
        settings["variants"],
        settings["good_classes"],
        report,
        settings["baselines"],
    )
    chosen = pick.choose(table, deploy)
    table["pick"] = table.index == chosen
    row = table.loc[chosen if chosen is not None else pick.nearest(table, deploy)[0]]
    variants = list(dict.fromkeys(["fp32", row["variant"]]))
    if len(variants) == 1 and len(settings["variants"]) > 1:
        variants.append(settings["variants"][1])
    benches = {
        backbone: files.read_json(results / backbone / "latency.json")
        for backbone in settings["backbones"]
    }
    bench = benches[row["backbone"]]
    machine = bench["machine"]
    targets = [
        device_results.read(
            name, [Path(path) for path in paths], table, results, machine["instruction_set"]
        )
        for name, paths in settings["devices"].items()
    ]
    matrices, labels = confusion_matrices(results, row["backbone"], variants)
    rows = manifest.read(args.manifest)
    pairs = pd.read_csv(args.near_duplicates, keep_default_na=False)
    crossing = pairs[pairs["crosses_splits"]]
    curves = {
        backbone: pd.read_csv(results / backbone / "history.csv")
        for backbone in settings["backbones"]
    }
    wrong = {
        index: mistakes(args, *table.loc[index, ["backbone", "variant"]]) for index in table.index
    }
    telling, what = wrong[row.name]
    draw(args, table, chosen, matrices, labels, telling, crossing, benches, curves, targets)

    test = rows[rows["split"] == "test"]["class"].value_counts()
    decision = wording.decision(table, deploy, report["confidence"])
    markdown = MARKDOWN.format(
        missing=missing_runs(settings["missing"]),
        decision=decision,
        confidence=f"{report['confidence']:.0%}",
        margin=report["non_inferiority_margin"],
        resamples=intervals.RESAMPLES,
        test=test.sum(),
        wide=wording.wide_table(table),
        accuracy=wording.accuracy_table(table),
        ties=wording.ties(table),
        paired=wording.paired_table(table, report["non_inferiority_margin"]),
        diagnosis=wording.diagnosis_table(table),
        portability=wording.portability_list(table),
        reference=wording.reference_experiment(table),
        all=wording.candidates_table(table, deploy),
        subject=f"{'The pick' if chosen is not None else 'The nearest'}, {wording.name(row)}",
        classes=wording.classes_table(
            row, {label: int(test[label]) for label in labels}, settings["good_classes"]
        ),
        mistakes=f"The most telling mistakes, of {len(telling)}: {what}, missed defects first.\n\n"
        "![mistakes](figures/mistakes.png)"
        if len(telling)
        else f"Mistakes to show: none ({what}).",
        latency=wording.latency_table(table),
        noise=wording.noise(benches),
        by_threads=wording.threads_table(benches),
        batch=bench["settings"]["batch_size"],
        threads=bench["settings"]["threads"][0],
        queries=int(row["queries"]),
        processes=bench["settings"]["processes"],
        cpu=machine["cpu"],
        instruction_set=machine["instruction_set"],
        cores=machine["cores"],
        runtime=machine["onnxruntime"],
        governor=machine["governor"],
        load=f"{machine['load_average'][0]:.2f}",
        devices="".join(
            DEVICE.format(
                name=each.name,
                decision=wording.decision(each.table, deploy, report["confidence"]),
                words=device_section.describe(each, machine, table),
                table=device_section.timing_table(each, table, deploy),
            )
            for each in targets
        ),
        data=wording.data_table(rows, settings["good_classes"]),
        checks=wording.data_checks(rows, pairs, settings["on_leakage"]),
        near_duplicates="\n\n![near-duplicates across splits](figures/near_duplicates.png)"
        if len(crossing)
        else "",
        training=training_table(curves),
        seeds=wording.seeds(seed_scores(args), table),
    )
    for target in targets:
        table[f"p50_ms_on_{target.name}"] = target.table["p50_ms"]
    candidates.write(table, args.csv)
    files.write_text(args.markdown, markdown)
    machines = {
        machine["cpu"]: table,
        **{f"{each.name} ({each.machine['cpu']})": each.table for each in targets},
    }
    page.write(
        args.page,
        machines,
        deploy,
        report["confidence"],
        wrong,
        lambda path: preprocess.read(args.root / path),
    )
    progress.say(f"report: {args.markdown}: {decision.splitlines()[0]}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--near-duplicates", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of the images")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True, help="report.html")
    parser.add_argument("--figures", type=Path, required=True, help="folder to write")
    stage.run(parser, main)
