"""Near-duplicates: images that are copies of one photograph, which may be turned or re-encoded.

Images with the same pixels are found by their digests. Of the others, each is compared with the few
that have the most similar low frequencies, at full resolution.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from beansweep.common import threads
from beansweep.common.progress import track
from beansweep.data import image_comparison
from beansweep.data.manifest import BLANK

# Pixels along a side.
THUMBNAIL = 32

# Images are compared where their low frequencies, of length 1, are at most this far apart: a copy
# with 3% cropped away is at 0.11. A re-encoded one is at 0.03, and so are many photographs that one
# camera takes of one background.
_DISTANCE, _RE_ENCODED = 0.13, 0.03
# Thumbnails of the two correlate at least this much; with 3% cropped away they do at 0.983.
_CORRELATION = 0.98
# So many neighbours of each image are compared, so that the work grows as the number of images.
_NEIGHBOURS = 8

# Neighbours are sought among so many images at a time, so that the work grows as their number.
_CELL = 20_000
# Share of a set that each of its two parts may have.
_LARGEST_PART = 0.65
# Thumbnails that are worked on at once, and decoded images that are kept.
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
    thumbnails: np.ndarray,
    digests: Sequence[str],
    read: Callable[[int], Image.Image],
    cores: int = 1,
) -> dict[tuple[int, int], float]:
    """Find near-duplicates: enough pairs to join all images of each group.

    Parameters
    ----------
    thumbnails : uint8 or float [n, 32, 32]
    digests : [n] of the images' pixels
    read : gives the gray image (mode L) of a number
    cores : to compare images on

    Returns
    -------
    Pair (i, j) of image numbers, i < j, to the correlation of its thumbnails in the orientation
    where it is highest.
    """
    pairs, groups = _same_pixels(digests), DisjointSet()
    for pair in pairs:
        _merge(groups, *pair)
    features, is_blank = _features(thumbnails)
    # A blank image has nothing to compare but its brightness, which may be its class.
    is_blank[[second for _, second in pairs]] = True
    compared, read = np.flatnonzero(~is_blank), lru_cache(_KEPT)(read)

    def correlation(pair: tuple[int, int]) -> float | None:
        return _correlation_of_copies(thumbnails, read, *pair)

    while len(compared) > 1:
        joined = []
        candidates = _apart(groups, _neighbours(features, compared))
        for (first, second), found in threads.ordered(correlation, candidates, cores):
            if found is not None and not _are_joined(groups, first, second):
                _merge(groups, first, second)
                pairs[first, second] = found
                joined.append(first)
        # One image of each group that has grown: more than its nearest may belong to it.
        compared = _first_members(groups, joined)
    return pairs


def _merge(groups: DisjointSet, first: int, second: int) -> None:
    groups.add(first)
    groups.add(second)
    groups.merge(first, second)


def _are_joined(groups: DisjointSet, first: int, second: int) -> bool:
    return first in groups and second in groups and groups.connected(first, second)


def _apart(groups: DisjointSet, pairs: np.ndarray) -> Iterator[tuple[int, int]]:
    """Those of pairs, int [n, 2], that are not joined yet when their turn comes."""
    for first, second in track(pairs, "dataset: comparing similar images"):
        pair = int(first), int(second)
        if not _are_joined(groups, *pair):
            yield pair


def _first_members(groups: DisjointSet, numbers: list[int]) -> np.ndarray:
    """The first image of each group that one of some images is in: int [groups], sorted."""
    wanted = {groups[number] for number in numbers}
    first: dict[int, int] = {}
    for number in groups:
        root = groups[number]
        if root in wanted:
            first[root] = min(number, first.get(root, number))
    return np.array(sorted(first.values()), int)


def _correlation_of_copies(
    thumbnails: np.ndarray, read: Callable[[int], Image.Image], first: int, second: int
) -> float | None:
    """How much the thumbnails of two images correlate; None where they are no copies."""
    shrunk = thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32)
    orientation, correlation = _best_orientation(*shrunk)
    if correlation < _CORRELATION:
        return None
    is_copy = image_comparison.is_copy(read(first), _turned(read(second), orientation))
    return correlation if is_copy else None


def _features(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low frequencies of all images, float32 [n, 64], and which images are blank, bool [n]."""
    features = np.empty((len(thumbnails), 64), np.float32)
    is_blank = np.empty(len(thumbnails), bool)
    for start in range(0, len(thumbnails), _BLOCK):
        block = slice(start, start + _BLOCK)
        levels = thumbnails[block].astype(np.float32)
        features[block], is_blank[block] = low_frequencies(levels), levels.std(axis=(1, 2)) < BLANK
    return features, is_blank


def _same_pixels(digests: Sequence[str]) -> dict[tuple[int, int], float]:
    """Pairs of the first image with certain pixels and each other one with the same."""
    first: dict[str, int] = {}
    pairs = {}
    for number, digest in enumerate(digests):
        if first.setdefault(digest, number) != number:
            pairs[first[digest], number] = 1.0
    return pairs


def _neighbours(features: np.ndarray, compared: np.ndarray) -> np.ndarray:
    """Pairs (i, j), i < j, of images with similar low frequencies: int [pairs, 2], sorted.

    Parameters
    ----------
    features : float [n, 64], from `low_frequencies`
    compared : numbers of the images that are paired
    """
    found = [np.empty(0, np.int64)]
    cells = _cells(features, compared)
    for cell in track(cells, "dataset: looking for similar images"):
        chosen = features[cell]
        search = NearestNeighbors(n_neighbors=min(_NEIGHBOURS + 1, len(cell)), algorithm="brute")
        distances, indices = search.fit(chosen).kneighbors(chosen)
        rows, columns = np.nonzero(distances <= _DISTANCE)
        here, there = cell[rows], cell[indices[rows, columns]]
        pairs = np.minimum(here, there) * len(features) + np.maximum(here, there)
        found.append(np.unique(pairs[here != there]))
    unique = np.unique(np.concatenate(found))
    return np.stack(np.divmod(unique, len(features)), axis=1)


def _cells(features: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """Parts of a set of images, each of at most `_CELL`: any two similar images share one.

    The exception is a part that cannot be cut without cutting through many similar images.
    """
    cells, waiting = [], [numbers]
    while waiting:
        part = waiting.pop()
        if len(part) <= _CELL:
            cells.append(part)
        else:
            waiting += _halves(features, part)
    return cells


def _halves(features: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of a set of images, cut where it is widest; who is near the cut is in both.

    That is the spill tree of Liu et al. (2004, "An investigation of practical approximate nearest
    neighbor algorithms"), with an overlap that loses no pair within `_DISTANCE`. Where many images
    are near the cut, it is one that loses no re-encoded copy, and in photographs of one scene none.
    """
    sample = features[part[:: 1 + len(part) // _BLOCK]]
    widest = np.linalg.eigh(np.cov(sample, rowvar=False))[1][:, -1].astype(np.float32)
    place = features[part] @ widest
    middle = np.median(place)
    for overlap in (_DISTANCE / 2 + 1e-4, _RE_ENCODED / 2):
        low, high = part[place <= middle + overlap], part[place >= middle - overlap]
        if max(len(low), len(high)) <= _LARGEST_PART * len(part):
            return low, high
    half, order = len(part) // 2, np.argsort(place, kind="stable")
    return np.sort(part[order[:half]]), np.sort(part[order[half:]])


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
