"""Decoding images in bulk; one image is decoded by `beansweep.data.preprocess`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from beansweep.common import threads
from beansweep.common.pinning import cpus
from beansweep.common.progress import track
from beansweep.data import preprocess


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
    root: Path, paths: Iterable[str], preprocessing: dict, cores: int
) -> Iterator[np.ndarray]:
    """Decode images in their order, a few at a time.

    Parameters
    ----------
    root, preprocessing : as for `load`
    cores : to decode on

    Returns
    -------
    Iterator of uint8 [size, size, 3]
    """

    def decode(path: str) -> np.ndarray:
        return preprocess.read_square(root / path, preprocessing)

    for _, image in threads.ordered(decode, paths, cores):
        yield image
