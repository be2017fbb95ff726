"""Checkpoints: a trained network in a file, with all that is needed to build it again."""

from pathlib import Path

import torch
from torch import nn

from beansweep.common import files
from beansweep.models import backbones, state_dicts


def write(path: Path, checkpoint: dict) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : where it goes
    checkpoint : backbone (its name), labels, preprocessing, and model (its state dict)
    """
    # To an open file: torch writes the name of a file that it opens itself into the file.
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(checkpoint, file)


def read(path: Path) -> tuple[nn.Module, list[str], dict]:
    """Read a checkpoint.

    Returns
    -------
    The network for inference, its labels, and its preprocessing
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    labels, preprocessing = checkpoint["labels"], checkpoint["preprocessing"]
    model = backbones.build(checkpoint["backbone"], len(labels), preprocessing["image_size"])
    state_dicts.load(model, checkpoint["model"])
    return model.eval(), labels, preprocessing
