"""Reading images in bulk; the one preprocessing of the whole project is `beansweep.preprocess`."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.common.processors import cpus
from beansweep.common.progress import track
from beansweep.data import preprocess


def load(root: Path, paths: Iterable[str], image_size: int, what: str = "images") -> np.ndarray:
    """Decode files once, on all cores, into one uint8 array [n, size, size, 3]."""
    paths = list(paths)
    out = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def decode(index: int) -> None:
        out[index] = preprocess.fit(preprocess.read(root / paths[index], image_size), image_size)

    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(cpus()) as pool:
        for _ in track(pool.map(decode, range(len(paths))), f"reading {what}", len(paths)):
            pass
    return out
