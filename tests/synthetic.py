"""A finished sweep, made up: every file that the report reads, from candidates given by their figures.

Its networks are never trained, so a report of any number of candidates takes seconds.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from beansweep.analysis import candidates
from beansweep.benchmark import latency
from beansweep.common import files
from beansweep.data import rendered_beans
from conftest import PROJECT
from PIL import Image

CONFIG = yaml.safe_load((PROJECT / "config.yaml").read_text())
GOOD = CONFIG["dataset"]["good_classes"]
# variant -> accuracy and time of FP32's, size of FP32's, recipe
VARIANTS = {
    "fp32": (1, 1, 1, {}),
    "int8_ort_default": (
        0.99,
        0.8,
        0.28,
        {"quantizer": "static", "reduce_range": False, "weight_type": "QInt8"},
    ),
    "int8_static": (
        0.998,
        0.6,
        0.26,
        {"quantizer": "static", "reduce_range": True, "weight_type": "QInt8"},
    ),
    "int8_weight_only": (1, 0.98, 0.26, {"quantizer": "weight_only"}),
    "int8_dynamic": (
        0.995,
        5,
        0.26,
        {"quantizer": "dynamic", "reduce_range": True, "weight_type": "QInt8"},
    ),
}
# backbone -> accuracy, p50 in ms, megabytes of FP32
BACKBONES = {
    "mobilenet_v3_small": (0.90, 0.6, 6.1),
    "mobilenet_v3_large": (0.91, 2.3, 16.8),
    "efficientnet_b0": (0.94, 4.1, 16.0),
    "resnet18": (0.92, 6.0, 44.7),
}


def predictions(rows: pd.DataFrame, accuracy: float, seed: int) -> pd.DataFrame:
    """Predictions of a network that is right on so large a share of the images; the hard ones are hard for all."""
    hardness = np.random.default_rng(0).uniform(size=len(rows))
    rng = np.random.default_rng([1, seed])
    true = (
        rows["class"]
        .map({label: index for index, label in enumerate(rendered_beans.CLASSES)})
        .to_numpy()
    )
    # Half of what makes an image hard is the image, half the network.
    wrong = (hardness + rng.uniform(size=len(rows))) / 2 > 1 - np.sqrt((1 - accuracy) / 2)
    logits = rng.normal(0, 0.5, (len(rows), len(rendered_beans.CLASSES)))
    logits[
        np.arange(len(rows)),
        np.where(wrong, (true + 1 + hardness * 5).astype(int) % len(rendered_beans.CLASSES), true),
    ] += 3
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = rows[["path", "split", "class"]].reset_index(drop=True)
    table["predicted"] = [rendered_beans.CLASSES[index] for index in found.argmax(axis=1)]
    return pd.concat(
        [table, pd.DataFrame(found, columns=[f"p_{label}" for label in rendered_beans.CLASSES])],
        axis=1,
    )


def bench(backbone: str, variants: list[str], rng: np.random.Generator) -> dict:
    """A backbone's latency.json."""
    _, p50, megabytes = BACKBONES[backbone]

    def samples(middle: float) -> np.ndarray:
        return middle * np.exp(rng.normal(0, 0.01, (3, 1, 1)) + rng.gamma(2, 0.02, (3, 4, 10)))

    first = {name: samples(p50 * VARIANTS[name][1]) for name in variants}
    figures = {
        name: {
            **latency.summarise(each, first["fp32"], 1),
            "end_to_end_p50_ms": 1 + np.median(each),
            "end_to_end_p90_ms": 2.0,
            "megabytes": megabytes * VARIANTS[name][2],
            "load_ms": 30.0,
            "first_query_ms": 3.0,
            "peak_memory_mb": 90.0,
            "model_memory_mb": 20.0,
            "samples_ms": each.tolist(),
            "end_to_end_samples_ms": (1 + each).tolist(),
        }
        for name, each in first.items()
    }
    return {
        "backbone": backbone,
        "image_size": 48,
        "variants": figures,
        "settings": {**CONFIG["bench"], "threads": [1]},
        "machine": {
            "cpu": "made up",
            "instruction_set": "AVX512-VNNI",
            "cores": 2,
            "system": "Linux",
            "python": "3.11",
            "onnxruntime": "1.32.0",
            "load_average": [0.1, 0.1, 0.1],
            "governor": "unknown",
        },
        "controls": {
            name: latency.summarise(samples(p50), first["fp32"], 1)
            for name in ("fp32_again", "control_model")
        },
        "by_threads": {"1": {name: float(np.median(each)) for name, each in first.items()}},
    }


def write(folder: Path, backbones: list[str], variants: list[str], images: int = 20) -> None:
    """Write the sweep to `folder`/results, and its images, so many of each class and split, to `folder`/images."""
    rng, results = np.random.default_rng(0), folder / "results"
    rows = pd.DataFrame(
        [
            {"path": f"{split}/{label}/{index}.jpg", "split": split, "class": label}
            for split in candidates.SPLITS
            for label in rendered_beans.CLASSES
            for index in range(images)
        ]
    )
    for path, label in zip(rows["path"], rows["class"], strict=True):
        file = folder / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rendered_beans.render(label, 48, rng)).save(file)
    (results / "dataset").mkdir(parents=True)
    rows.assign(width=48, height=48, contrast=40).to_csv(
        results / "dataset/manifest.csv", index=False
    )
    pd.DataFrame(columns=["first_path", "second_path", "crosses_splits", "crosses_classes"]).to_csv(
        results / "dataset/near_duplicates.csv", index=False
    )
    for number, backbone in enumerate(backbones):
        own = results / backbone
        for kind in ("predictions", "float_kernels"):
            (own / kind).mkdir(parents=True)
        for variant in variants:
            found = predictions(rows, BACKBONES[backbone][0] * VARIANTS[variant][0], number)
            for kind in ("predictions", "float_kernels"):
                found.to_csv(own / kind / f"{variant}.csv", index=False)
            files.write_json(
                own / f"{variant}.json",
                {"sha256": f"digest of {backbone} {variant}", "recipe": VARIANTS[variant][3]},
            )
        files.write_json(own / "latency.json", bench(backbone, variants, rng))
        epochs = np.arange(1, 13)
        pd.DataFrame(
            {
                "epoch": epochs,
                "train_loss": 0.5 + np.exp(-epochs / (3 + number)),
                "seconds": 60.0,
                "val_macro_f1": 0.9 - 0.8 * np.exp(-epochs / (3 + number)),
                "images_per_second": 300.0,
            }
        ).to_csv(own / "history.csv", index=False)


def device(folder: Path, backbone: str, variant: str, p50: float = 2.0, **changes) -> Path:
    """Write what `predict.py --bench` would on a device with AVX2, with changes, and return its path."""
    samples = p50 * np.random.default_rng(0).uniform(0.95, 1.05, (3, 20))
    path = folder / f"{backbone}-{variant}-{p50}.json"
    files.write_json(
        path,
        {
            "candidate": {
                "backbone": backbone,
                "variant": variant,
                "sha256": f"digest of {backbone} {variant}",
            },
            "machine": {
                "cpu": "Cortex",
                "architecture": "x86_64",
                "flags": "sse avx2",
                "cores": 4,
                "system": "Linux",
                "python": "3.11",
                "onnxruntime": "1.32.0",
                "load_average": None,
                "governor": "performance",
            },
            "settings": {"processes": 3, "queries": 20, "warmup": 2, "threads": 1},
            "check": {"agrees": True, "said": "all outputs identical"},
            "samples_ms": samples.tolist(),
            "end_to_end_samples_ms": (1 + samples[:, :5]).tolist(),
            "load_ms": [9, 8, 7],
            "first_query_ms": [3, 3, 3],
            **changes,
        },
    )
    return path


def report(
    folder: Path, backbones: list[str], variants: list[str], **changes
) -> subprocess.CompletedProcess:
    """Run the stage `report` on the sweep in `folder`, with changes of its settings."""
    settings = {
        "backbones": backbones,
        "variants": variants,
        "runs": {each: [each] for each in backbones},
        "good_classes": GOOD,
        "on_leakage": "warn",
        "deploy": CONFIG["deploy"],
        "report": CONFIG["report"],
        "devices": {},
        "missing": {},
        "baselines": ["int8_ort_default", "int8_dynamic"],
        **changes,
    }
    results = folder / "results"
    return subprocess.run(
        [
            sys.executable,
            PROJECT / "scripts/report.py",
            "--settings",
            json.dumps(settings),
            "--results",
            results,
            "--manifest",
            results / "dataset/manifest.csv",
            "--near-duplicates",
            results / "dataset/near_duplicates.csv",
            "--root",
            folder / "images",
            "--output-table",
            results / "pareto.csv",
            "--output-markdown",
            results / "pareto.md",
            "--output-page",
            results / "report.html",
            "--output-figures",
            results / "figures",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
