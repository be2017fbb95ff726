"""The model card of a deploy bundle, MODEL_CARD.md.

Its sections follow Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from pathlib import Path

import pandas as pd

from beansweep.analysis import intervals
from beansweep.common import files
from beansweep.common.words import counted
from beansweep.data import manifest as manifests
from beansweep.data.splitting import PICK
from beansweep.report import markdown, tables

# The most frequent mistakes that the model card names.
_FAILURES = 5

_TEMPLATE = """\
# {backbone} {variant}

This network sorts photographs into {classes}.
Beansweep made it, and accepted it on {instruction_set} with ONNX Runtime {runtime}.

## Use

    pip install onnxruntime numpy pillow
    python predict.py --check                # first: does this device compute what was accepted?
    python predict.py folder/ > decisions.csv
    python predict.py --bench latency.json   # times on this device, for bench.device_results

It needs {versions}, or later ones.
`model.onnx` alone is not enough. `run.json` holds the image size ({size} pixels, letterboxed),
the normalisation, the class names, the thresholds and the session options.

## Decision

{decision}

## Accuracy and latency

Nothing was trained or chosen on the {images} test images. On them the network has:

- macro-F1 {macro_f1:.3f} ({macro_f1_interval})
{decisions}- p50 latency {p50:.2f} ms ({p50_interval}) for the model alone, batch {batch_size};
  {end_to_end:.2f} ms end to end, from an image file to its label;
  {threads} on {cpu}
- a file of {megabytes:.2f} MB

{table}

Intervals have {confidence} confidence. {good}

## Known failures

{failures}

## Limits

- It was trained on {trained} images and chosen on {validated} others; manifest SHA-256
  `{manifest}`.
  These figures do not cover cameras, light, backgrounds or objects that these images do not show.
- {portability}
- It always answers with one of its classes, even where the image shows something else.
  Each image should show one object.
"""


def describe(
    row: pd.Series,
    run: dict,
    predicted: pd.DataFrame,
    manifest: Path,
    bench: dict,
    settings: dict,
) -> str:
    """The text of MODEL_CARD.md.

    Parameters
    ----------
    row : the candidate's line of pareto.csv
    run : the contents of run.json
    predicted : the model's predictions, one row an image; see `predictions.predict`
    manifest : manifest.csv of the data set
    bench : latency.json of the candidate's backbone
    settings : good_classes, deploy and report, as in config.yaml
    """
    labels, good, machine = run["labels"], settings["good_classes"] or [], bench["machine"]
    test = predicted[predicted["split"] == "test"]
    counts = test["class"].value_counts()
    splits = manifests.read(manifest)["split"]
    return _TEMPLATE.format(
        backbone=row["backbone"],
        variant=row["variant"],
        classes=_quoted(labels),
        instruction_set=machine["instruction_set"],
        runtime=machine["onnxruntime"],
        versions=_versions(run),
        size=run["preprocessing"]["image_size"],
        decision=_decision(run["operating_point"]),
        images=len(test),
        macro_f1=row["test_macro_f1"],
        macro_f1_interval=markdown.interval(row, "test_macro_f1", "{:.3f}"),
        decisions=_mistakes_of_decisions(row, good),
        p50=row["p50_ms"],
        p50_interval=markdown.interval(row, "p50@_ms", "{:.2f}"),
        batch_size=bench["settings"]["batch_size"],
        end_to_end=row["end_to_end_p50_ms"],
        threads=counted(bench["settings"]["threads"][0], "threads"),
        cpu=machine["cpu"],
        megabytes=row["megabytes"],
        table=tables.classes(
            row, {label: int(counts[label]) for label in labels}, settings["good_classes"]
        ),
        confidence=intervals.percent(settings["report"]["confidence"]),
        good=_good_classes(good),
        failures=_failures(test, good),
        trained=(splits == "train").sum(),
        validated=splits.isin(["val", PICK]).sum(),
        manifest=files.sha256(manifest),
        portability=_portability(row),
    )


def _quoted(labels: list[str]) -> str:
    """Class names as Markdown code, with commas."""
    return ", ".join(f"`{label}`" for label in labels)


def _versions(run: dict) -> str:
    """The oldest versions that the predictor and its model run with, with commas."""
    return ", ".join(f"{name} {version}" for name, version in run["oldest"].items())


def _decision(point: dict | None) -> str:
    """How images are shipped or rejected, and what that guarantees."""
    if not point:
        return "It has no threshold: it gives the likeliest class of each image."
    lines = [
        "The defect score of an image is the sum of its probabilities of "
        f"{_quoted(point['defect_classes'])}.",
        f"An image is shipped where the score is below {point['ship_below']:.6g}, and "
        f"{_rejected(point['reject_from'])}.",
    ]
    if point["reject_from"] > point["ship_below"]:
        lines.append("Images between both go to a person.")
    return "\n".join([*lines, f"{point['guarantee']}."])


def _rejected(reject_from: float) -> str:
    """From which score on images are rejected; a score is hardly above 1."""
    return "never rejected" if reject_from > 1.5 else f"rejected from {reject_from:.6g} on"


def _mistakes_of_decisions(row: pd.Series, good: list[str]) -> str:
    """The lines on missed defects and on good ones rejected; empty where no class is good."""
    if not good:
        return ""
    lines = [
        f"- missed defects: {row['test_missed_defect_count']:.0f} of {row['test_defects']:.0f}, "
        f"{row['test_missed_defect_rate']:.1%} "
        f"({markdown.interval(row, 'test_missed_defect_rate', '{:.1%}')});",
        "  a missed defect is a defect that is shipped",
        f"- good ones rejected: {row['test_rejected_good_count']:.0f} of {row['test_good']:.0f}, "
        f"{row['test_rejected_good_rate']:.1%} "
        f"({markdown.interval(row, 'test_rejected_good_rate', '{:.1%}')})",
    ]
    if row["reject_from"] > row["ship_below"]:
        lines.append(f"- decided by hand: {row['test_by_hand_rate']:.1%} of images")
    return "\n".join(lines) + "\n"


def _good_classes(good: list[str]) -> str:
    """Which classes are good, in one sentence."""
    if not good:
        return "No class is good, and none is a defect."
    return f"The good classes are {_quoted(good)}; all others are defects."


def _failures(test: pd.DataFrame, good_classes: list[str]) -> str:
    """The most frequent mistakes on the test images, a line each."""
    images = test["class"].value_counts()
    wrong = test[test["class"] != test["predicted"]]
    mistakes = wrong.groupby(["class", "predicted"]).size().sort_values(ascending=False)
    lines = []
    most = mistakes.head(_FAILURES).reset_index(name="count")
    for true, predicted, count in most.itertuples(index=False):
        line = f"- {count} of {images[true]} `{true}` predicted as `{predicted}`"
        if true not in good_classes and predicted in good_classes:
            line += " (a defect as a good one)"
        lines.append(line)
    return "\n".join(lines) or "- None on the test images."


def _portability(row: pd.Series) -> str:
    """Whether accuracy is different on another instruction set."""
    warning = row.get("portability")
    # An empty field of pareto.csv is read as NaN; FP32 has no such field.
    if isinstance(warning, str) and warning:
        return f"Portability: {warning}."
    return "Its accuracy is the same on every instruction set, apart from rounding."
