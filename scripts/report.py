"""Write the Pareto report: pareto.csv, pareto.md and its figures, ending in the pick."""

from pathlib import Path

import numpy as np
import pandas as pd
from beansweep import candidates, figures, files, manifest, metrics, pareto, predictions, prose, stage

MARKDOWN = """\
# Pareto report

{decision}

![test macro-F1 against p50 latency](figures/front.png)

Each mark is a candidate, its area the file's size; hollow is FP32, and a line joins a backbone's
variants. The dashed steps are the front: no candidate is both faster and better than a mark on it.

## FP32 beside INT8

{wide}

mF1 is macro-F1 on the {test} test images; agreement is the share of them where INT8 and FP32
predict the same class.

## INT8, explained

{diagnosis}

The loss of macro-F1 against FP32 (test) is the sum of two. *Of quantization*: the INT8 file in float
kernels against FP32; the cure is in the ranges, the biases, or a layer kept in float. *Of kernels*:
the same file in this machine's integer kernels against float kernels; the cure is `reduce_range`.
The layers of each static variant, ranked: `<backbone>/sensitivity/<variant>.csv`.

Accuracy that will be another on another instruction set:

{portability}

### The reference's experiment, repeated

The reference system lost 86, 8 and 18 points of macro-F1 to INT8 (MobileNetV3-Small, -Large,
EfficientNet-B0) and blamed hardswish. `int8_reference` is its recipe, here on {instruction_set}:

{reference}

## All candidates

{all}

The front is over test macro-F1 and p50. A limit is checked on the validation images where it is
about accuracy. A missed defect is an image of a defect class predicted as a good one.

## {subject}, class by class

{classes}

![confusion matrices](figures/confusion.png)

## Training

![training curves](figures/history.png)

{training}

## What this rests on

- Images: {images}; digests of each are in `dataset/manifest.csv`. {leakage}
- Latency: batch {batch}, {threads} thread(s), {queries} queries a variant over {processes} fresh
  processes, variants interleaved in random order; a query is the model alone, on real images that
  are decoded already. Machine: {cpu}, {instruction_set}, {cores} cores, ONNX Runtime {runtime},
  governor {governor}, load average {load} before.
- Sampling and seed uncertainty are not shown here: with {test} test images, a macro-F1 near 0.9 is
  known to about {margin:.3f} either way, and one training seed was run.
- Every figure is in `pareto.csv`; each prediction in `<backbone>/predictions/<variant>.csv`.
"""


def confusion_matrices(results: Path, backbone: str, variants: list[str]) -> tuple[dict, list[str]]:
    """Test confusion matrices of some variants of a backbone, and the class names."""
    matrices, labels = {}, []
    for variant in variants:
        rows = predictions.read(results / backbone / f"predictions/{variant}.csv")
        labels = predictions.labels_of(rows)
        rows = rows[rows["split"] == "test"]
        true, predicted = (predictions.indices(rows[column], labels) for column in ("class", "predicted"))
        confusion = metrics.summarise(true, predicted, len(labels))["confusion"]
        matrices[f"{backbone}\n{variant}"] = np.array(confusion)
    return matrices, labels


def main(args) -> None:
    settings, results = args.settings, args.results
    table = candidates.table(results, settings["backbones"], settings["variants"], settings["good_classes"])
    chosen = pareto.pick(table, settings["deploy"])
    shown = chosen if chosen is not None else pareto.nearest(table, settings["deploy"])[0]
    row = table.loc[shown]
    variants = list(dict.fromkeys(["fp32", row["variant"]]))
    if len(variants) == 1 and len(settings["variants"]) > 1:
        variants.append(settings["variants"][1])
    matrices, labels = confusion_matrices(results, row["backbone"], variants)
    curves = {backbone: pd.read_csv(results / backbone / "history.csv") for backbone in settings["backbones"]}
    folder = args.markdown.parent / "figures"
    figures.save(figures.front(table, chosen), folder / "front.png")
    figures.save(figures.confusion(matrices, labels), folder / "confusion.png")
    figures.save(figures.history(curves), folder / "history.png")

    images = manifest.read(args.manifest)
    counts = images["split"].value_counts()
    test = images[images["split"] == "test"]["class"].value_counts()
    crossing = int((images.groupby("group")["split"].nunique() > 1).sum())
    bench = files.read_json(results / row["backbone"] / "latency.json")
    machine = bench["machine"]
    markdown = MARKDOWN.format(
        decision=prose.decision(table, settings["deploy"]),
        wide=prose.wide_table(table),
        all=prose.candidates_table(table, settings["deploy"]),
        diagnosis=prose.diagnosis_table(table), portability=prose.portability_list(table),
        reference=prose.reference_experiment(table),
        subject=f"{'The pick' if chosen is not None else 'The nearest'}, {prose.name(row)}",
        classes=prose.classes_table(row, {label: int(test[label]) for label in labels}, settings["good_classes"]),
        training=prose.markdown_table(
            ["backbone", "epochs run", "best epoch", "best val mF1", "images/s", "minutes"],
            [[f"`{backbone}`", str(len(curve)), str(curve.loc[curve["val_macro_f1"].idxmax(), "epoch"]),
              f"{curve['val_macro_f1'].max():.3f}", f"{curve['images_per_second'].median():.0f}",
              f"{curve['seconds'].sum() / 60:.1f}"] for backbone, curve in curves.items()], 1),
        test=counts["test"],
        images=", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
        + f", {len(labels)} classes ({', '.join(labels)})",
        leakage=f"**{crossing} group(s) of near-duplicates lie across splits (column `group`): test figures "
                "may flatter.**" if crossing else "No near-duplicates lie across splits.",
        batch=bench["settings"]["batch_size"], threads=bench["settings"]["threads"], queries=int(row["queries"]),
        processes=bench["settings"]["processes"], cpu=machine["cpu"], instruction_set=machine["instruction_set"],
        cores=machine["cores"], runtime=machine["onnxruntime"], governor=machine["governor"],
        load=f"{machine['load_average'][0]:.2f}",
        margin=1.96 * (0.9 * 0.1 / counts["test"]) ** 0.5,
    )
    with files.replacing(args.csv) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    files.write_text(args.markdown, markdown)
    stage.say(f"report: {args.markdown}: {prose.decision(table, settings['deploy']).splitlines()[0]}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    stage.run(parser, main)
