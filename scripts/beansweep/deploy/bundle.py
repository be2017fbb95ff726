"""The deploy bundle: a folder with a model and all that is needed to run it, to check it, and to know its limits."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from beansweep.common import files
from beansweep.data import manifest as manifests
from beansweep.report import wording

# Of each class, the sample images at these quantiles of the margin between the two likeliest
# classes: some that a differently rounding device might turn, and some that only a broken one would.
_SAMPLES = (0.25, 0.75)

# What predict.py is put together from, in this order.
_PREDICTOR = (
    Path(__file__).parent.with_name("common") / "errors.py",
    Path(__file__).parent.with_name("data") / "preprocess.py",
    Path(__file__).with_name("predictor.py"),
)

CARD = """\
# {name}

{backbone}, {variant}, made by Beansweep: one network that sorts photographs into {classes}.
Accepted on {instruction_set} with ONNX Runtime {runtime}.

## Use

    pip install onnxruntime numpy pillow
    python predict.py --check          # before it ships: does this device compute what was accepted?
    python predict.py folder/ > labels.csv
    python predict.py --bench latency.json   # times here, for the report (bench.device_results)

`model.onnx` alone is not enough: `run.json` has the image size ({size} pixels, letterboxed), the normalisation,
the class names and the session options.

## What it is worth

On {images} test images that no choice was made by:

- macro-F1 {macro_f1:.3f} ({macro_f1_interval})
- defects missed (called a good class): {missed} of {defects}, {missed_rate:.1%} ({missed_interval})
- p50 {p50:.2f} ms ({p50_interval}) for the model alone, {end_to_end:.2f} ms from image end-to-end latency, batch 1,
  {threads} thread(s), on {cpu}
- {megabytes:.2f} MB

{table}

Intervals are at {confidence}; classes of {good} may be shipped, all others are defects.

## Known failures

{failures}

## Limits

- Trained on {trained} images and chosen on {validated} more; manifest SHA-256 `{manifest}`.
  Other cameras, light, backgrounds or beans than in those images are not covered by any figure here.
- {portability}
- One image, one object: it always answers one of its classes, whatever the image shows.
"""


def predict_script() -> str:
    """Source of predict.py: one file of the predictor and the modules of this project that it imports."""
    imports, parts = {}, []
    for source in _PREDICTOR:
        text = source.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines = text.splitlines(keepends=True)
        header = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in header:
            if not ast.unparse(node).startswith("from beansweep"):
                imports[ast.unparse(node)] = None
        first = header[-1].end_lineno if header else tree.body[0].end_lineno
        parts.append("".join(lines[first:]).strip("\n"))
    docstring = "".join(lines[: tree.body[0].end_lineno])
    return docstring + "\n" + "\n".join(imports) + "\n\n" + "\n\n\n".join(parts) + "\n"


def samples(found: pd.DataFrame) -> pd.DataFrame:
    """Test images to replay: rows of a predictions table, spread over classes and margins."""
    rows = found[found["split"] == "test"]
    ordered = np.sort(rows.filter(regex="^p_").to_numpy(), axis=1)
    rows = rows.assign(margin=ordered[:, -1] - ordered[:, -2]).sort_values("margin", kind="stable")
    chosen = [
        group.iloc[sorted({round(quantile * (len(group) - 1)) for quantile in _SAMPLES})]
        for _, group in rows.groupby("class")
    ]
    return pd.concat(chosen).drop(columns="margin")


def write(
    folder: Path,
    metadata: Path,
    found: pd.DataFrame,
    row: pd.Series,
    manifest: Path,
    root: Path,
    bench: dict,
    settings: dict,
) -> None:
    """Write a bundle into an empty folder.

    Parameters
    ----------
    metadata : of the model, which lies beside it
    found : its predictions
    row : its line of pareto.csv
    root : folder of the images
    bench : its backbone's latency.json
    settings : good_classes and report, as in config.yaml
    """
    contents = files.read_json(metadata)
    labels, machine = contents["labels"], bench["machine"]
    model = onnx.load(metadata.with_name(contents["model"]))
    described = {
        "labels": labels,
        "preprocessing": contents["preprocessing"],
        "session": contents["session"],
        "instruction_set": machine["instruction_set"],
        "recipe": contents["recipe"],
    }
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in described.items()})
    onnx.save(model, folder / "model.onnx")
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    files.write_json(folder / "labels.json", labels)
    files.write_json(
        folder / "run.json",
        {
            "model": "model.onnx",
            "sha256": files.sha256(folder / "model.onnx"),
            **described,
            "opset": opset,
            "onnxruntime": machine["onnxruntime"],
            # What a device measures is told to belong to the very file that was evaluated.
            "candidate": {
                "backbone": row["backbone"],
                "variant": row["variant"],
                "sha256": contents["sha256"],
            },
            "bench": {
                "processes": bench["settings"]["processes"],
                "warmup": bench["settings"]["warmup"],
                "queries": bench["settings"]["rounds"] * bench["settings"]["queries"],
            },
        },
    )
    (folder / "predict.py").write_text(predict_script())
    (folder / "samples").mkdir()
    expected = {}
    for number, (_, sample) in enumerate(samples(found).iterrows()):
        name = f"{number:02}{Path(sample['path']).suffix.lower()}"
        shutil.copyfile(root / sample["path"], folder / "samples" / name)
        expected[name] = [float(sample[f"p_{label}"]) for label in labels]
    files.write_json(folder / "samples/expected.json", expected)
    (folder / "MODEL_CARD.md").write_text(
        _describe(row, contents, found, manifest, bench, settings)
    )


def _describe(
    row: pd.Series, metadata: dict, found: pd.DataFrame, manifest: Path, bench: dict, settings: dict
) -> str:
    """The text of MODEL_CARD.md."""
    labels, good, machine = metadata["labels"], settings["good_classes"], bench["machine"]
    test = found[found["split"] == "test"]
    counts = test["class"].value_counts()
    rows = manifests.read(manifest)
    wrong = (
        test[test["class"] != test["predicted"]]
        .groupby(["class", "predicted"])
        .size()
        .sort_values(ascending=False)
    )
    failures = [
        f"- {count} of {counts[true]} `{true}` called `{predicted}`"
        + (" (a missed defect)" if true not in good and predicted in good else "")
        for (true, predicted), count in wrong.head(5).items()
    ]
    warned = row.get("portability")
    return CARD.format(
        name=f"{row['backbone']} {row['variant']}",
        backbone=row["backbone"],
        variant=row["variant"],
        classes=", ".join(f"`{label}`" for label in labels),
        instruction_set=machine["instruction_set"],
        runtime=machine["onnxruntime"],
        size=metadata["preprocessing"]["image_size"],
        images=len(test),
        macro_f1=row["test_macro_f1"],
        macro_f1_interval=wording.interval(row, "test_macro_f1", "{:.3f}"),
        missed=row["test_missed_defects"],
        defects=counts[[label for label in labels if label not in good]].sum(),
        missed_rate=row["test_missed_defect_rate"],
        missed_interval=wording.interval(row, "test_missed_defect_rate", "{:.1%}"),
        p50=row["p50_ms"],
        p50_interval=wording.interval(row, "p50@_ms", "{:.2f}"),
        end_to_end=row["end_to_end_p50_ms"],
        threads=bench["settings"]["threads"][0],
        cpu=machine["cpu"],
        megabytes=row["megabytes"],
        table=wording.classes_table(row, {label: int(counts[label]) for label in labels}, good),
        confidence=f"{settings['report']['confidence']:.0%}",
        good=", ".join(f"`{label}`" for label in good),
        failures="\n".join(failures) or "- None on the test images.",
        trained=int((rows["split"] == "train").sum()),
        validated=int((rows["split"] == "val").sum()),
        manifest=files.sha256(manifest),
        portability=f"Accuracy {warned}."
        if isinstance(warned, str) and warned
        else "Its accuracy does not depend on the processor's instruction set, but for rounding.",
    )
