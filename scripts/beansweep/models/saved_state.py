"""The state of a training that was killed: the next process goes on from it."""

from pathlib import Path

import torch

from beansweep.common import files


def path_for(output: Path) -> Path:
    """Where the state of the training that makes `output` is kept.

    It is no output of the rule: Snakemake deletes those of a job that was killed.
    """
    return output.with_name(f".{output.stem}.resume.pt")


def write(path: Path, run: str, state: dict) -> None:
    """Save the state after an epoch.

    Parameters
    ----------
    run : digest of all that decides the training's result
    state : tensors, and plain values of Python's
    """
    with files.replacing(path) as temporary:
        torch.save({"run": run, "state": state}, temporary)


def read(path: Path, run: str, device: torch.device) -> dict | None:
    """The state that an earlier process of the same `run` saved; None where there is none."""
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # A damaged file, or one of another version of PyTorch, can raise anything.
        return None
    if not isinstance(saved, dict) or saved.get("run") != run:
        return None
    return saved["state"]
