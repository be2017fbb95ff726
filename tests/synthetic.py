"""A made-up finished sweep: every file that the report reads, from figures of its candidates.

No network is trained, so a report of any number of candidates takes seconds.
"""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from beansweep.analysis import candidates, timing
from beansweep.benchmark import latency
from beansweep.common import files
from beansweep.data import rendered_beans
from conftest import PROJECT
from PIL import Image

CONFIG = yaml.safe_load((PROJECT / "config.yaml").read_text())
# As `deploy` in config.yaml.
NO_LIMITS = {
    **dict.fromkeys(CONFIG["deploy"]),
    "max_by_hand_rate": 0,
    "objective": "p50_ms",
}
GOOD = CONFIG["dataset"]["good_classes"]
RECIPE = {"reduce_range": True, "weight_type": "QInt8"}
# variant -> accuracy, time and size as shares of FP32's, and the recipe
VARIANTS = {
    "fp32": (1, 1, 1, {}),
    "int8_ort_default": (
        0.99,
        0.8,
        0.28,
        {"quantizer": "static", **RECIPE, "reduce_range": False},
    ),
    "int8_static": (0.998, 0.6, 0.26, {"quantizer": "static", **RECIPE}),
    "int8_weight_only": (1, 0.98, 0.26, {"quantizer": "weight_only"}),
    "int8_dynamic": (0.995, 5, 0.26, {"quantizer": "dynamic", **RECIPE}),
}
# backbone -> accuracy, p50 in ms, megabytes of FP32
BACKBONES = {
    "mobilenet_v3_small": (0.90, 0.6, 6.1),
    "mobilenet_v3_large": (0.91, 2.3, 16.8),
    "efficientnet_b0": (0.94, 4.1, 16.0),
    "resnet18": (0.92, 6.0, 44.7),
}


MACHINE = {
    "cpu": "made up",
    "instruction_set": "AVX512-VNNI",
    "cores": 2,
    "system": "Linux",
    "python": "3.11",
    "onnxruntime": "1.32.0",
    "load_average": [0.1, 0.1, 0.1],
    "governor": "unknown",
}


def predictions(rows: pd.DataFrame, accuracy: float, seed: int) -> pd.DataFrame:
    """Predictions of a network with this accuracy; what is hard is hard for every network."""
    classes, count = rendered_beans.CLASSES, len(rows)
    hardness = np.random.default_rng(0).uniform(size=count)
    rng = np.random.default_rng([1, seed])
    true = pd.Categorical(rows["class"], categories=classes).codes.astype(int)
    # Half of what makes an image hard is the image, half the network.
    wrong = (hardness + rng.uniform(size=count)) / 2 > 1 - np.sqrt((1 - accuracy) / 2)
    other = (true + 1 + hardness * 5).astype(int) % len(classes)
    logits = rng.normal(0, 0.5, (count, len(classes)))
    logits[np.arange(count), np.where(wrong, other, true)] += 3
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = rows[["path", "split", "class"]].reset_index(drop=True)
    table["predicted"] = np.array(classes)[found.argmax(axis=1)]
    return pd.concat([table, pd.DataFrame(found, columns=classes).add_prefix("p_")], axis=1)


def bench(backbone: str, variants: list[str], rng: np.random.Generator) -> dict:
    """A backbone's latency.json."""
    _, p50, megabytes = BACKBONES[backbone]
    figures = {}
    for variant in variants:
        samples = _samples(p50 * VARIANTS[variant][1], rng)
        figures[variant] = {
            **latency.summarise(samples, 1),
            **latency.end_to_end_figures(1 + samples),
            "megabytes": megabytes * VARIANTS[variant][2],
            "load_ms": 30.0,
            "first_query_ms": 3.0,
            "peak_memory_mb": 90.0,
            "model_memory_mb": 20.0,
            "integer_products_ms": p50 / 4 if variant == "int8_static" else None,
        }
    controls = {
        "fp32_again": latency.summarise(_samples(p50, rng), 1),
        "control_model": latency.summarise(_samples(0.3, rng), 1),
    }
    medians = {variant: own["p50_ms"] for variant, own in figures.items()}
    return {
        "backbone": backbone,
        "image_size": 48,
        "variants": figures,
        "settings": {**CONFIG["bench"], "threads": [1]},
        "machine": MACHINE,
        "controls": controls,
        "by_threads": {"1": medians},
    }


def finalists(p50: dict[str, float], **changes) -> dict:
    """A finalists.json.

    Parameters
    ----------
    p50 : candidate -> its p50 in ms
    changes : of the contents
    """
    rng = np.random.default_rng(0)
    samples = {name: _samples(middle, rng) for name, middle in p50.items()}
    candidates, ratios = {}, {}
    for name, own in samples.items():
        candidates[name] = latency.summarise(own, 1) | timing.p50_interval(own, 0.95)
        candidates[name] |= latency.end_to_end_figures(1 + own)
        others = {other: its for other, its in samples.items() if other != name}
        ratios[name] = {other: timing.ratio(own, its, 0.95) for other, its in others.items()}
    control = _samples(0.3, rng)
    interval = timing.p50_interval(control, 0.95)
    return {
        "settings": {**CONFIG["bench"], "threads": [1]},
        "machine": MACHINE,
        "candidates": candidates,
        "ratios": ratios,
        "controls": {"control_model": latency.summarise(control, 1) | interval},
        "processes": 3,
        "stopped": "ranked",
        **changes,
    }


def _samples(middle: float, rng: np.random.Generator) -> np.ndarray:
    """Times of queries around a middle: float [3 processes, 4 rounds, 10 queries]."""
    return middle * np.exp(rng.normal(0, 0.01, (3, 1, 1)) + rng.gamma(2, 0.02, (3, 4, 10)))


def write(folder: Path, backbones: list[str], variants: list[str], images: int = 20) -> None:
    """Write a sweep.

    Parameters
    ----------
    folder : gets the sweep as `results` and its images as `images`
    images : number of images of each class and split
    """
    rng, results = np.random.default_rng(0), folder / "results"
    files.write_json(results / "finalists.json", finalists({}))
    rows = _data_set(folder / "images", results / "dataset", images, rng)
    for number, backbone in enumerate(backbones):
        own = results / backbone
        for kind in ("predictions", "float_kernels"):
            (own / kind).mkdir(parents=True)
        for variant in variants:
            accuracy, _, _, recipe = VARIANTS[variant]
            found = predictions(rows, BACKBONES[backbone][0] * accuracy, number)
            for kind in ("predictions", "float_kernels"):
                found.to_csv(own / kind / f"{variant}.csv", index=False)
            metadata = {"sha256": f"digest of {backbone} {variant}", "recipe": recipe}
            files.write_json(own / f"{variant}.json", metadata)
        files.write_json(own / "latency.json", bench(backbone, variants, rng))
        epochs = np.arange(1, 13)
        decay = np.exp(-epochs / (3 + number))
        history = pd.DataFrame({"epoch": epochs, "train_loss": 0.5 + decay, "seconds": 60.0})
        history["val_macro_f1"] = 0.9 - 0.8 * decay
        history["images_per_second"] = 300.0
        history.to_csv(own / "history.csv", index=False)


def _data_set(root: Path, folder: Path, images: int, rng: np.random.Generator) -> pd.DataFrame:
    """Write images to `root`, and their manifest and near-duplicates to `folder`.

    Returns
    -------
    Path, split and class of each image.
    """
    folder.mkdir(parents=True)
    rows = []
    for split, label, index in product(candidates.SPLITS, rendered_beans.CLASSES, range(images)):
        path = f"{split}/{label}/{index}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rendered_beans.render(label, 48, rng)).save(root / path)
        rows.append({"path": path, "split": split, "class": label})
    table = pd.DataFrame(rows)
    table.assign(width=48, height=48, contrast=40, group=range(len(table))).to_csv(
        folder / "manifest.csv", index=False
    )
    columns = ["first_path", "second_path", "crosses_splits", "crosses_classes"]
    pd.DataFrame(columns=columns).to_csv(folder / "near_duplicates.csv", index=False)
    return table


def emulate(
    folder: Path, backbones: list[str], variants: list[str], device: str, otherwise: str
) -> None:
    """Write emulated predictions on a device to a sweep that `write` wrote.

    Parameters
    ----------
    variants : that are emulated
    otherwise : candidate that takes every other image for another class there; all other
        predictions are those of here
    """
    for backbone, variant in product(backbones, variants):
        own = folder / "results" / backbone
        found = pd.read_csv(own / f"predictions/{variant}.csv")
        if f"{backbone}:{variant}" == otherwise:
            labels = [f"p_{label}" for label in rendered_beans.CLASSES]
            turned = np.roll(found.loc[::2, labels].to_numpy(), 1, axis=1)
            found.loc[::2, labels] = turned
            found.loc[::2, "predicted"] = np.array(rendered_beans.CLASSES)[turned.argmax(axis=1)]
        path = own / f"emulated/{device}/{variant}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(path, index=False)


def device(folder: Path, backbone: str, variant: str, p50: float = 2.0, **changes) -> Path:
    """Write what `predict.py --bench` writes on a device with AVX2, and return the path.

    Parameters
    ----------
    p50 : in ms
    changes : of the contents
    """
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


def report_settings(backbones: list[str], variants: list[str], **changes) -> dict:
    """Settings of the stage `report`, with changes."""
    return {
        "backbones": backbones,
        "variants": variants,
        "left_out": {},
        "runs": {backbone: [backbone] for backbone in backbones},
        "good_classes": GOOD,
        "on_leakage": "warn",
        "on_unreadable": "fail",
        "bits": None,
        "deploy": CONFIG["deploy"],
        "report": CONFIG["report"],
        "devices": {},
        "emulated": {},
        "missing": {},
        "baselines": ["int8_ort_default", "int8_dynamic"],
        **changes,
    }


def report(
    folder: Path, backbones: list[str], variants: list[str], project: Path = PROJECT, **changes
) -> subprocess.CompletedProcess:
    """Run a project's stage `report` on the sweep in `folder`, with changes of its settings."""
    settings = report_settings(backbones, variants, **changes)
    results = folder / "results"
    options = {
        "--settings": json.dumps(settings),
        "--results": results,
        "--manifest": results / "dataset/manifest.csv",
        "--near-duplicates": results / "dataset/near_duplicates.csv",
        "--finalists": results / "finalists.json",
        "--root": folder / "images",
        "--output-table": results / "pareto.csv",
        "--output-markdown": results / "pareto.md",
        "--output-page": results / "report.html",
        "--output-figures": results / "figures",
    }
    command = [sys.executable, project / "scripts/report.py"]
    for option in options.items():
        command += option
    return subprocess.run(command, capture_output=True, text=True, check=False)
