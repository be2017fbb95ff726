"""Reading images in bulk; the one preprocessing of the whole project is `beansweep.preprocess`."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beansweep import preprocess
from beansweep.stage import progress

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def load(root: Path, paths: Iterable[str], image_size: int, what: str = "images") -> np.ndarray:
    """Decode files once, on all cores, into one uint8 array [n, size, size, 3]."""
    paths = list(paths)
    out = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def decode(index: int) -> None:
        out[index] = preprocess.fit(preprocess.read(root / paths[index], image_size), image_size)

    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(cpus()) as pool:
        for _ in progress(pool.map(decode, range(len(paths))), f"reading {what}", len(paths)):
            pass
    return out


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
