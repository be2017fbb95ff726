"""Reading images in bulk; one image is read by `beansweep.data.preprocess`."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.common.pinning import cpus
from beansweep.common.progress import track
from beansweep.data import preprocess


def load(root: Path, paths: Iterable[str], image_size: int, what: str = "images") -> np.ndarray:
    """Decode images once, on all cores.

    Parameters
    ----------
    root : folder that the paths are relative to
    paths : n image files
    image_size : pixels along a side that each image is letterboxed to
    what : words for the line that shows progress

    Returns
    -------
    uint8 [n, size, size, 3]
    """
    paths = list(paths)
    pixels = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def decode(index: int) -> None:
        image = preprocess.read(root / paths[index], image_size)
        pixels[index] = preprocess.fit(image, image_size)

    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(cpus()) as pool:
        decoded = pool.map(decode, range(len(paths)))
        for _ in track(decoded, f"reading {what}", len(paths)):
            pass
    return pixels
