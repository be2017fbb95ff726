"""The deploy bundle: a folder with a model and all that is needed to run and check it elsewhere."""

import ast
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.deploy import model_card, thresholds
from beansweep.evaluation import predictions
from beansweep.models import onnx_versions

# Sample images of each class are at these quantiles of the margin between the two likeliest
# classes. A device that rounds differently may change the first; only a broken one changes the
# second.
_SAMPLE_QUANTILES = (0.25, 0.75)

# The oldest versions that predict.py was tried with; what onnxruntime it needs is up to the model.
_OLDEST = {"Python": "3.8", "Pillow": "9.1"}
# Python shows this line with its comment where it is too old to know what is imported.
_FUTURE = "from __future__ import annotations  # This program needs Python 3.8 or later."
# predict.py is put together from these files, in this order.
_PREDICTOR = (
    Path(__file__).parent.with_name("common") / "errors.py",
    Path(__file__).parent.with_name("common") / "pinning.py",
    Path(__file__).parent.with_name("data") / "preprocess.py",
    Path(__file__).with_name("predictor.py"),
)


def choose(table: pd.DataFrame, candidate: tuple[str, str] | None) -> pd.Series:
    """The row of the candidate to bundle: the named one (backbone, variant), or else the pick.

    Raises
    ------
    UserError
        The named pair is no candidate; or none is named, and none was picked.
    """
    if candidate:
        backbone, variant = candidate
        own = table[table["backbone"] == backbone]
        # Variants with the same file have one row.
        same_file = own["also"].fillna("").str.split()
        is_named = [variant in names for names in same_file]
        named = own[(own["variant"] == variant) | pd.Series(is_named, own.index, bool)]
        if named.empty:
            raise UserError(
                f"{backbone} has no {variant}: results/pareto.md says why; name another candidate"
            )
        return named.iloc[0]
    picked = table[table["pick"]]
    if picked.empty:
        raise UserError(
            "no candidate may be deployed under the limits of deploy (see results/pareto.md): "
            "loosen one, or name a candidate: results/{backbone}/deploy/{variant}"
        )
    return picked.iloc[0]


def write(
    output: Path, row: pd.Series, results: Path, manifest: Path, root: Path, settings: dict
) -> None:
    """Write the bundle of one candidate, whole or not at all.

    Parameters
    ----------
    output : folder to make
    row : the candidate's line of pareto.csv
    results : folder with a folder for each backbone
    manifest : manifest.csv of the data set
    root : folder of the images
    settings : good_classes, max_megapixels, deploy and report, as in config.yaml
    """
    source = results / row["backbone"]
    metadata_file = source / f"{row['variant']}.json"
    metadata = files.read_json(metadata_file)
    predicted = predictions.read(source / f"predictions/{row['variant']}.csv")
    bench = files.read_json(source / "latency.json")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".deploy") as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        # A photograph on the device has not been inspected, as those of the data set have.
        metadata["preprocessing"]["max_megapixels"] = settings["max_megapixels"]
        point = thresholds.read(row, metadata["labels"], settings)
        run = _write_model(folder, metadata_file, metadata, row, bench, point)
        (folder / "predict.py").write_text(predict_script(), encoding="utf-8")
        _write_samples(folder / "samples", samples(predicted), root, metadata["labels"])
        text = model_card.describe(row, run, predicted, manifest, bench, settings)
        (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")
        os.replace(folder, output)


def predict_script() -> str:
    """Source of predict.py: one file of the predictor and the project's modules that it imports."""
    imports, bodies = [_FUTURE], []
    for source in _PREDICTOR:
        docstring, own_imports, body = _split(source.read_text(encoding="utf-8"))
        imports += own_imports
        bodies.append(body)
    # The predictor is the last source, and its docstring is that of the whole file.
    header = docstring + "\n" + "\n".join(dict.fromkeys(imports))
    return "\n\n\n".join([header, *bodies]) + "\n"


def _split(text: str) -> tuple[str, list[str], str]:
    """Docstring, imports and body of a module's source, without imports of this project."""
    lines = text.splitlines(keepends=True)
    statements = ast.parse(text).body
    docstring_end = body_start = statements[0].end_lineno
    imports = []
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            body_start = statement.end_lineno
            code = ast.unparse(statement)
            if not code.startswith("from beansweep"):
                imports.append(code)
    return "".join(lines[:docstring_end]), imports, "".join(lines[body_start:]).strip("\n")


def samples(predicted: pd.DataFrame) -> pd.DataFrame:
    """Test images to replay on a device: some of each class, at different margins.

    Parameters
    ----------
    predicted : predictions, one row an image; see `predictions.predict`

    Returns
    -------
    Rows of `predicted`, class by class, those with the smaller margin first.
    """
    rows = predicted[predicted["split"] == "test"]
    ordered = np.sort(rows.filter(regex="^p_").to_numpy(), axis=1)
    rows = rows.assign(margin=ordered[:, -1] - ordered[:, -2]).sort_values("margin", kind="stable")
    chosen = []
    for _, images in rows.groupby("class"):
        positions = {round(quantile * (len(images) - 1)) for quantile in _SAMPLE_QUANTILES}
        chosen.append(images.iloc[sorted(positions)])
    return pd.concat(chosen).drop(columns="margin")


def _write_model(
    folder: Path,
    metadata_file: Path,
    metadata: dict,
    row: pd.Series,
    bench: dict,
    point: dict | None,
) -> dict:
    """Write model.onnx, labels.json and run.json, which says how the model is run.

    Returns
    -------
    The contents of run.json
    """
    about = {
        "labels": metadata["labels"],
        "preprocessing": metadata["preprocessing"],
        "session": metadata["session"],
        "operating_point": point,
        "instruction_set": bench["machine"]["instruction_set"],
        "recipe": metadata["recipe"],
    }
    model = onnx.load(metadata_file.with_name(metadata["model"]))
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    onnx.save(model, folder / "model.onnx")
    run = {
        "model": "model.onnx",
        "sha256": files.sha256(folder / "model.onnx"),
        **about,
        "opset": onnx_versions.opset(model),
        "onnxruntime": bench["machine"]["onnxruntime"],
        "oldest": {**_OLDEST, "onnxruntime": onnx_versions.oldest_runtime(model)},
        # With this digest the report knows that a device timed the very file that was evaluated.
        "candidate": {
            "backbone": row["backbone"],
            "variant": row["variant"],
            "sha256": metadata["sha256"],
        },
        "bench": _device_bench(bench["settings"]),
    }
    files.write_json(folder / "labels.json", metadata["labels"])
    files.write_json(folder / "run.json", run)
    return run


def _device_bench(settings: dict) -> dict:
    """How often a device times the model: as often as the bench did, in one round a process."""
    return {
        "processes": settings["processes"],
        "warmup": settings["warmup"],
        "queries": settings["rounds"] * settings["queries"],
    }


def _write_samples(folder: Path, rows: pd.DataFrame, root: Path, labels: list[str]) -> None:
    """Copy sample images, and write expected.json: file name -> probability of each label."""
    folder.mkdir()
    probabilities = rows[[f"p_{label}" for label in labels]].to_numpy()
    expected = {}
    for number, path in enumerate(rows["path"]):
        name = f"{number:02}{Path(path).suffix.lower()}"
        shutil.copyfile(root / path, folder / name)
        expected[name] = probabilities[number].tolist()
    files.write_json(folder / "expected.json", expected)
