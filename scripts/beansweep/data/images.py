"""Decoding images in bulk; one image is decoded by `beansweep.data.preprocess`."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.common.pinning import cpus
from beansweep.common.progress import track
from beansweep.data import preprocess

# Images that each thread decodes before the first of them is asked for.
_BLOCK = 8


def load(root: Path, paths: Iterable[str], preprocessing: dict, what: str = "images") -> np.ndarray:
    """Decode images on all cores.

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
    found = decoded(root, paths, preprocessing, cpus())
    for index, image in enumerate(track(found, f"reading {what}", len(paths))):
        pixels[index] = image
    return pixels


def decoded(
    root: Path, paths: Sequence[str], preprocessing: dict, threads: int
) -> Iterator[np.ndarray]:
    """Decode images in their order, a few at a time.

    Parameters
    ----------
    root, preprocessing : as for `load`
    threads : to decode with

    Returns
    -------
    Iterator of uint8 [size, size, 3]
    """

    def decode(path: str) -> np.ndarray:
        return preprocess.read_square(root / path, preprocessing)

    block = _BLOCK * threads
    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), block):
            yield from pool.map(decode, paths[start : start + block])
