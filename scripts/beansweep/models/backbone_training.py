"""Training one backbone on the images of a manifest."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from beansweep.common import files, pinning, progress
from beansweep.data import images, manifest
from beansweep.models import backbones, pretrained_weights, training


def train(
    settings: dict,
    manifest_path: Path,
    root: Path,
    threads: int,
    code: str,
    resume: Path,
    macro_f1: Callable[[np.ndarray, np.ndarray, int], float],
) -> tuple[dict, list[dict]]:
    """Train a backbone, and keep the weights of its best epoch by validation macro-F1.

    Parameters
    ----------
    settings : of `train`, with the backbone's name and the seed
    manifest_path : of the images
    root : folder that the manifest's paths are relative to
    threads : cores that this job may use
    code : digest of the code, which a saved state must match
    resume : file for the state of a killed run; see `training.fit`
    macro_f1 : `beansweep.evaluation.metrics.macro_f1`, of a room that comes after this one

    Returns
    -------
    The checkpoint, as `checkpoints.write` takes it, and the history, one row an epoch
    """
    # `--cores 4` is accepted on two cores; threads that wait for each other on one halve the speed.
    threads = min(threads, settings["threads"], pinning.cpus())
    torch.set_num_threads(threads)
    name, rows = settings["backbone"], manifest.read(manifest_path)
    trainer, preprocessing = _new_trainer(settings, rows, root)
    val_images = _read_split(rows, root, "val", preprocessing, name)
    run = _digest([settings, code, threads, files.sha256(manifest_path)])
    training.fit(
        trainer,
        val_images,
        macro_f1,
        resume,
        run,
        report=lambda line: progress.say(f"train: {name}: {line}"),
    )
    checkpoint = {
        "backbone": name,
        "labels": manifest.labels(rows),
        "preprocessing": preprocessing,
        "model": trainer.best,
    }
    return checkpoint, trainer.history


def _new_trainer(settings: dict, rows: pd.DataFrame, root: Path) -> tuple[training.Trainer, dict]:
    """A trainer of a new network on the training images, and the network's preprocessing."""
    torch.manual_seed(settings["seed"])
    name, classes = settings["backbone"], len(manifest.labels(rows))
    preprocessing = backbones.preprocessing(settings)
    if "bits" in settings:
        preprocessing["bits"] = settings["bits"]
    model = backbones.build(name, classes, preprocessing["image_size"])
    _say_image_size(preprocessing["image_size"], settings)
    pretrained = pretrained_weights.load_weights(model, name, settings["weights"])
    train_images = _read_split(rows, root, "train", preprocessing, name)
    trainer = training.Trainer(model, settings, preprocessing, train_images, classes, pretrained)
    return trainer, preprocessing


def _digest(deciding: list) -> str:
    """Digest of all that decides a training's result."""
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()


def _say_image_size(image_size: int, settings: dict) -> None:
    """Tell where a network takes images of another size (pixels) than that of `settings`."""
    if image_size != settings["image_size"]:
        progress.say(
            f"{settings['backbone']}: images have {image_size} pixels, not "
            f"{settings['image_size']}: this network does not take those"
        )


def _read_split(
    manifest_rows: pd.DataFrame, root: Path, split: str, preprocessing: dict, backbone: str
) -> training.Split:
    """Decode the images of one split for a backbone."""
    labels = manifest.labels(manifest_rows)
    rows = manifest_rows[manifest_rows["split"] == split]
    pixels = images.load(root, rows["path"], preprocessing, f"{split} images for {backbone}")
    indices = [labels.index(label) for label in rows["class"]]
    return training.Split(torch.from_numpy(pixels), torch.tensor(indices))
