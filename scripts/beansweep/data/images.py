"""Reading images in bulk; one image is read by `beansweep.data.preprocess`."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.common.pinning import cpus
from beansweep.common.progress import track
from beansweep.data import preprocess


def load(root: Path, paths: Iterable[str], preprocessing: dict, what: str = "images") -> np.ndarray:
    """Decode images once, on all cores.

    Parameters
    ----------
    root : folder that the paths are relative to
    paths : n image files
    preprocessing : as for `preprocess.read_square`
    what : words for the line that shows progress

    Returns
    -------
    uint8 [n, size, size, 3]
    """
    paths = list(paths)
    image_size = preprocessing["image_size"]
    pixels = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def decode(index: int) -> None:
        pixels[index] = preprocess.read_square(root / paths[index], preprocessing)

    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(cpus()) as pool:
        decoded = pool.map(decode, range(len(paths)))
        for _ in track(decoded, f"reading {what}", len(paths)):
            pass
    return pixels
