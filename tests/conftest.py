"""Shared by the tests: small folders of images, and runs of the real Snakefile."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def image_folder(tmp_path):
    """A function that writes `<root>/<path>` images of random pixels, and returns the root."""
    rng = np.random.default_rng(0)

    def write(*paths: str, size=(40, 40)) -> Path:
        for path in paths:
            file = tmp_path / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(file)
        return tmp_path / "images"

    return write


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the project's Snakefile in `folder` with its config.yaml, if it has one there."""
    mine = ["--configfile", "sweep.yaml"] if (folder / "sweep.yaml").exists() else []
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), *arguments, "--nocolor", *mine],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, timeout=540,
    )
