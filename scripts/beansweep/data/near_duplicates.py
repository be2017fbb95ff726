"""Near-duplicates: images that are the same but for a flip, a quarter turn or a re-encoding."""

from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Pixels along a side.
THUMBNAIL = 32

# Two images are near-duplicates when their perceptual hashes differ in at most this many of 64
# bits and their thumbnails correlate at least this much. A hash alone calls many pairs of lone
# beans on a plain belt the same. Of 8000 photographs of distinct beans, the closest two reach
# a correlation of 0.992, while a re-encoded or turned copy stays above 0.998.
_HASH_BITS = 6
_CORRELATION = 0.995

# Hashes that are compared with all others at once, to bound the memory.
_BLOCK = 512


def thumbnail(image: Image.Image) -> np.ndarray:
    """Shrink an image to the gray thumbnail that near-duplicates are found by.

    Returns
    -------
    float32 [32, 32], 0 to 255
    """
    gray = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(gray, np.float32)


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """DCT hashes of images in all eight orientations.

    Each hash is the signs of the 8x8 lowest frequencies around their median (Zauner 2010,
    "Implementation and benchmarking of perceptual image hash functions", pHash). A flip negates
    the odd frequencies of one axis and a transpose swaps the axes, so one transform serves all
    eight orientations.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]

    Returns
    -------
    uint64 [n, 8]; column 0 is the image as it is
    """
    low = dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :8, :8]
    low[:, 0, 0] = 0
    sign = np.where(np.arange(8) % 2, -1, 1)
    hashes = []
    for turned in (low, low.transpose(0, 2, 1)):
        for rows in (1, sign[:, None]):
            for columns in (1, sign[None, :]):
                hashes.append(_hash(turned * rows * columns))
    return np.stack(hashes, axis=1)


def _hash(frequencies: np.ndarray) -> np.ndarray:
    """One bit a frequency, for above the median: float [n, 8, 8] -> uint64 [n]."""
    bits = frequencies > np.median(frequencies, axis=(1, 2), keepdims=True)
    packed = np.packbits(bits.reshape(len(frequencies), 64), axis=1)
    return packed.view(">u8").astype(np.uint64)[:, 0]


def find_pairs(thumbnails: np.ndarray, hashes: np.ndarray) -> dict[tuple[int, int], float]:
    """Find the pairs of near-duplicates.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]
    hashes : uint64 [n, 8], from `perceptual_hashes`

    Returns
    -------
    Pair (i, j) of image numbers, i < j, to the correlation of its thumbnails in the orientation
    where it is highest.
    """
    centred = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    units = centred / np.maximum(np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-6)
    pairs = {}
    for first, second in sorted(_pairs_with_near_hashes(hashes)):
        correlation = _best_correlation(units[first], units[second])
        if correlation >= _CORRELATION:
            pairs[first, second] = correlation
    return pairs


def _best_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two centred unit thumbnails [32, 32] in the best orientation of the second."""
    return float(max((first * turned).sum() for turned in _orientations(second)))


def _pairs_with_near_hashes(hashes: np.ndarray) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, with nearly the same hash in one orientation of j."""
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK, 0, None]
        for orientation in range(8):
            different_bits = np.bitwise_count(block ^ hashes[None, :, orientation])
            rows, columns = np.nonzero(different_bits <= _HASH_BITS)
            later = columns > rows + start
            first, second = (rows[later] + start).tolist(), columns[later].tolist()
            pairs.update(zip(first, second, strict=True))
    return pairs


def _orientations(square: np.ndarray) -> list[np.ndarray]:
    """The eight flips and quarter turns of a square array, in the order of `perceptual_hashes`."""
    orientations = []
    for turned in (square, square.T):
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
