"""Near-duplicates: images that are copies of one photograph, which may be turned or re-encoded.

Images with the same pixels are found by their digests. Of the others, each is compared with the few
that have the most similar low frequencies, at full resolution.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from beansweep.common.progress import track
from beansweep.data import image_comparison
from beansweep.data.manifest import BLANK

# Pixels along a side.
THUMBNAIL = 32

# Images are compared where their low frequencies, of length 1, are at most this far apart: a copy
# with 3% cropped away is at 0.11. A re-encoded one is at 0.03, and so are many photographs that one
# camera takes of one background.
_DISTANCE = 0.13
# Thumbnails of the two correlate at least this much; with 3% cropped away they do at 0.983.
_CORRELATION = 0.98
# So many neighbours of each image are compared, so that the work grows as the number of images.
_NEIGHBOURS = 8

# Images that neighbours are sought for at once, and decoded images that are kept.
_BLOCK, _KEPT = 2000, 16


def thumbnail(image: Image.Image) -> np.ndarray:
    """Shrink an image to the gray thumbnail that near-duplicates are found by.

    Returns
    -------
    float32 [32, 32], 0 to 255
    """
    gray = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(gray, np.float32)


def low_frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """Low frequencies of images, which are the same in all eight orientations.

    They are those of pHash (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions"): the 8x8 lowest of the discrete cosine transform, without the mean. A flip changes
    signs alone and a transpose swaps the axes, so sizes are taken, the larger of each two first.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]

    Returns
    -------
    float32 [n, 64], of length 1
    """
    low = np.abs(dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :8, :8])
    low[:, 0, 0] = 0
    swapped = low.transpose(0, 2, 1)
    upper, below = np.triu(np.maximum(low, swapped)), np.tril(np.minimum(low, swapped), -1)
    flat = (upper + below).reshape(len(low), 64)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat / np.maximum(length, 1e-6)).astype(np.float32)


def find_pairs(
    thumbnails: np.ndarray, digests: Sequence[str], read: Callable[[int], Image.Image]
) -> dict[tuple[int, int], float]:
    """Find near-duplicates: enough pairs to join all images of each group.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]
    digests : [n] of the images' pixels
    read : gives the gray image (mode L) of a number

    Returns
    -------
    Pair (i, j) of image numbers, i < j, to the correlation of its thumbnails in the orientation
    where it is highest.
    """
    pairs, groups = _same_pixels(digests), DisjointSet(range(len(digests)))
    for pair in pairs:
        groups.merge(*pair)
    features, read = low_frequencies(thumbnails), lru_cache(_KEPT)(read)
    # A blank image has nothing to compare but its brightness, which may be its class.
    unlike = thumbnails.std(axis=(1, 2)) >= BLANK
    unlike[[second for _, second in pairs]] = False
    compared = np.flatnonzero(unlike)
    while len(compared) > 1:
        joined = []
        candidates = _neighbours(features, compared)
        for first, second in track(candidates, "dataset: comparing similar images"):
            if groups.connected(first, second):
                continue
            orientation, correlation = _best_orientation(thumbnails[first], thumbnails[second])
            if correlation >= _CORRELATION and image_comparison.is_copy(
                read(first), _turned(read(second), orientation)
            ):
                groups.merge(first, second)
                pairs[first, second] = correlation
                joined.append(first)
        # One image of each group that has grown: more than its nearest may belong to it.
        compared = np.array(sorted({min(groups.subset(number)) for number in joined}), int)
    return pairs


def _same_pixels(digests: Sequence[str]) -> dict[tuple[int, int], float]:
    """Pairs of the first image with certain pixels and each other one with the same."""
    first: dict[str, int] = {}
    pairs = {}
    for number, digest in enumerate(digests):
        if first.setdefault(digest, number) != number:
            pairs[first[digest], number] = 1.0
    return pairs


def _neighbours(features: np.ndarray, compared: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images with similar low frequencies, sorted.

    Parameters
    ----------
    features : float [n, 64], from `low_frequencies`
    compared : numbers of the images that are paired
    """
    chosen = features[compared]
    search = NearestNeighbors(n_neighbors=min(_NEIGHBOURS + 1, len(compared)), algorithm="brute")
    search.fit(chosen)
    pairs: set[tuple[int, int]] = set()
    blocks = range(0, len(chosen), _BLOCK)
    for start in track(blocks, "dataset: looking for similar images"):
        distances, indices = search.kneighbors(chosen[start : start + _BLOCK])
        rows, columns = np.nonzero(distances <= _DISTANCE)
        here, there = compared[rows + start], compared[indices[rows, columns]]
        ends = np.sort(np.stack([here, there], axis=1), axis=1)[here != there]
        pairs.update(map(tuple, ends.tolist()))
    return sorted(pairs)


def _best_orientation(first: np.ndarray, second: np.ndarray) -> tuple[int, float]:
    """The orientation of a second thumbnail that correlates most with a first, and how much."""
    centred = [first - first.mean(), second - second.mean()]
    size = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    products = [float((centred[0] * turned).sum()) for turned in _orientations(centred[1])]
    best = int(np.argmax(products))
    return best, products[best] / size


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """An image in one of the eight orientations."""
    if orientation == 0:
        return image
    return Image.fromarray(np.ascontiguousarray(_orientations(np.asarray(image))[orientation]))


def _orientations(image: np.ndarray) -> list[np.ndarray]:
    """The eight flips and quarter turns of an image [height, width]."""
    orientations = []
    for turned in (image, image.T):
        for flipped in (turned, turned[::-1]):
            orientations += [flipped, flipped[:, ::-1]]
    return orientations


def duplicate_groups(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Number the groups: images that are joined by a chain of pairs share a number.

    Parameters
    ----------
    count : of all images
    pairs : (i, j) image numbers

    Returns
    -------
    int [count] number of each image's group
    """
    rows, columns = np.array(list(pairs), int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
