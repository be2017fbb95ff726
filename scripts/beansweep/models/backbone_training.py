"""Training one backbone on the images of a manifest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from beansweep.common import files, pinning, progress
from beansweep.data import manifest, pixels
from beansweep.models import backbones, pretrained_weights, training


def train(
    settings: dict,
    manifest_path: Path,
    images: pixels.Images,
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
    images : of the manifest
    threads : cores that this job may use
    code : digest of the code, which a saved state must match
    resume : file for the state of a killed run; see `training.fit`
    macro_f1 : `beansweep.evaluation.metrics.macro_f1`, of a room that comes after this one

    Returns
    -------
    The checkpoint, as `checkpoints.write` takes it, and the history, one row an epoch
    """
    threads = pinning.threads(threads, settings["threads"])
    torch.set_num_threads(threads)
    name, rows = settings["backbone"], manifest.read(manifest_path, manifest.IMAGES)
    trainer, preprocessing = _new_trainer(settings, rows, images)
    val_images = training.read_split(rows, images, "val", preprocessing)
    run = files.digest([settings, code, threads, files.sha256(manifest_path)])
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


def _new_trainer(
    settings: dict, rows: pd.DataFrame, images: pixels.Images
) -> tuple[training.Trainer, dict]:
    """A trainer of a new network on the training images, and the network's preprocessing."""
    torch.manual_seed(settings["seed"])
    name, classes = settings["backbone"], len(manifest.labels(rows))
    preprocessing = backbones.preprocessing(settings)
    if "bits" in settings:
        preprocessing["bits"] = settings["bits"]
    model = backbones.build(name, classes, preprocessing["image_size"])
    _say_image_size(preprocessing["image_size"], settings)
    pretrained = pretrained_weights.load_weights(model, name, settings["weights"])
    train_images = training.read_split(rows, images, "train", preprocessing)
    trainer = training.Trainer(model, settings, preprocessing, train_images, classes, pretrained)
    return trainer, preprocessing


def _say_image_size(image_size: int, settings: dict) -> None:
    """Tell where a network takes images of another size (pixels) than that of `settings`."""
    if image_size != settings["image_size"]:
        progress.say(
            f"{settings['backbone']}: images have {image_size} pixels, not "
            f"{settings['image_size']}: this network does not take those"
        )
