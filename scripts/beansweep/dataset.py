"""Folders of images: finding them, splitting them, and telling near-duplicates apart."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from beansweep import files
from beansweep.preprocess import SUFFIXES
from beansweep.stage import UserError

SPLITS = ("train", "val", "test")
# In place of a split: an image that no stage reads, because a near-duplicate of it is held out.
DROPPED = "dropped"
# Gray levels of 255 that a thumbnail's standard deviation stays below where there is nothing to see.
BLANK = 2
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
THUMBNAIL = 32
# Two images are near-duplicates when their perceptual hashes differ in at most this many of 64
# bits and their thumbnails correlate at least this much. A hash alone calls many pairs of lone
# beans on a plain belt the same; of 8000 photographs of distinct beans, the closest two reach
# a correlation of 0.992, while a re-encoded or turned copy stays above 0.998.
_HASH_BITS = 6
_CORRELATION = 0.995


def scan(root: str | os.PathLike) -> pd.DataFrame:
    """List the images below a folder laid out as `<split>/<class>/*` or as `<class>/*`.

    Returns
    -------
    Columns path (relative to `root`, with `/`), split (empty where the folder has none), class;
    sorted by path.

    Raises
    ------
    UserError
        The folder is missing, has no images, fewer than two classes, an empty class, a class that
        some split lacks, a link that leads nowhere, or a name that cannot be written down.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"dataset.root: the folder {root} does not exist; name one that holds "
                        "train/val/test/<class>/ or <class>/ folders of images")
    folders = _folders(root)
    split_names = {folder.name: _SPLIT_FOLDERS[folder.name.lower()]
                   for folder in folders if folder.name.lower() in _SPLIT_FOLDERS}
    if split_names:
        for split in SPLITS:
            named = [name for name, of in split_names.items() if of == split]
            if len(named) != 1:
                have = " and ".join(named) or "no such folder"
                raise UserError(f"dataset.root: {root} needs exactly one {split} folder beside its other "
                                f"splits, and has {have}; or give it <class>/ folders alone to have them split")
        classes = {(split, folder.name): folder
                   for name, split in split_names.items() for folder in _folders(root / name)}
    else:
        classes = {("", folder.name): folder for folder in folders}
    labels = sorted({label for _, label in classes})
    _check_classes(labels)
    rows = []
    for (split, label), folder in classes.items():
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
        for path in images:
            _check_path(path)
        if not images:
            raise UserError(f"the class folder {folder} holds no images ({', '.join(SUFFIXES)}): "
                            "add some or take the folder away")
        rows += [(path.relative_to(root).as_posix(), split, label) for path in images]
    if len(labels) < 2:
        raise UserError(f"dataset.root: {root} holds {len(labels)} class folder(s), and a classifier needs "
                        "at least two; expected train/val/test/<class>/ or <class>/")
    for split in SPLITS if split_names else ():
        for label in labels:
            if (split, label) not in classes:
                raise UserError(f"class '{label}' is missing from the {split} split of {root}: "
                                "add its folder or take the class away from the others")
    return pd.DataFrame(rows, columns=["path", "split", "class"]).sort_values("path", ignore_index=True)


def _check_path(path: Path) -> None:
    """Refuse an image that is no file, or whose name a table cannot hold."""
    if not path.is_file():
        raise UserError(f"{path} is a link that leads nowhere: mend it or take it away")
    shown = "".join("?" if _unwritable(letter) else letter for letter in str(path))
    if shown != str(path):
        raise UserError(f"the name of {shown} has a line break, another control character, or bytes that are not "
                        "UTF-8: rename it")


def _unwritable(letter: str) -> bool:
    """Whether a character is a control character, or a byte that is no text."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def _check_classes(labels: list[str]) -> None:
    """Refuse names of classes that tables cannot hold, or that are taken for one another."""
    seen = {}
    for label in labels:
        if any(map(_unwritable, label)) or label != label.strip() or set(label) & set("|`"):
            raise UserError(f"the class folder {label!r} has a name with a line break, another control character, a "
                            "space at an end, | or `: rename it")
        alike = unicodedata.normalize("NFKC", label).casefold()
        if alike in seen:
            raise UserError(f"the class folders '{seen[alike]}' and '{label}' have the same name but for case or the "
                            "encoding of accents: rename or merge them")
        seen[alike] = label
        # Columns of pareto.csv: recall_low_x is the low end of class x's recall.
        kind, _, of = label.partition("_")
        if kind in ("low", "high") and of in labels:
            raise UserError(f"the class folders '{of}' and '{label}' would share a column of pareto.csv: rename one")


def _folders(root: Path) -> list[Path]:
    """Visible folders directly below `root`, sorted by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def fingerprint(root: str | os.PathLike, cache: Path) -> str:
    """Digest of every image's path and bytes below `root`.

    `cache` remembers each file's digest by its size and modification time, so that an unchanged
    folder costs a directory walk, and a touched file is read again but changes nothing.
    """
    known = files.read_cache(cache, {})
    digests = {}
    for path in scan(root)["path"]:
        full = Path(root).resolve() / path
        status = full.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(str(full))
        digests[str(full)] = entry if entry and entry[0] == stamp else [stamp, files.sha256(full)]
    if digests != known:
        files.write_json(cache, digests)
    base = Path(root).resolve()
    content = sorted((Path(path).relative_to(base).as_posix(), digest) for path, (_, digest) in digests.items())
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def thumbnail(image: Image.Image) -> np.ndarray:
    """Gray thumbnail that near-duplicates are found by: float32 [32, 32], 0 to 255."""
    return np.asarray(image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32)


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """DCT hashes of images under the eight flips and quarter turns.

    Each hash is the signs of the 8x8 lowest frequencies about their median (Zauner 2010, pHash).
    A flip negates the odd frequencies of one axis and a transpose swaps the axes, so one
    transform serves all eight orientations.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]

    Returns
    -------
    uint64 [n, 8]; column 0 is the image as it is.
    """
    low = dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :8, :8]
    low[:, 0, 0] = 0
    sign = np.where(np.arange(8) % 2, -1, 1)
    hashes = []
    for turned in (low, low.transpose(0, 2, 1)):
        for rows in (1, sign[:, None]):
            for columns in (1, sign[None, :]):
                flipped = turned * rows * columns
                bits = (flipped > np.median(flipped, axis=(1, 2), keepdims=True)).reshape(len(low), 64)
                hashes.append(np.packbits(bits, axis=1).view(">u8").astype(np.uint64)[:, 0])
    return np.stack(hashes, axis=1)


def _orientations(thumbnail_: np.ndarray) -> list[np.ndarray]:
    """The eight flips and quarter turns of a square array, in the order of `perceptual_hashes`."""
    return [flipped for turned in (thumbnail_, thumbnail_.T)
            for rows in (turned, turned[::-1]) for flipped in (rows, rows[:, ::-1])]


def near_duplicates(thumbnails: np.ndarray, hashes: np.ndarray) -> dict[tuple[int, int], float]:
    """Pairs (i, j), i < j, of images that are the same but for a flip, a turn or a re-encoding.

    With their correlation, in the orientation where it is highest.

    Parameters
    ----------
    thumbnails : float [n, 32, 32]
    hashes : uint64 [n, 8], from `perceptual_hashes`
    """
    candidates = set()
    for start in range(0, len(hashes), 512):
        block = hashes[start:start + 512, 0, None]
        for orientation in range(8):
            close = np.bitwise_count(block ^ hashes[None, :, orientation]) <= _HASH_BITS
            rows, columns = np.nonzero(close)
            later = columns > rows + start
            candidates.update(zip((rows[later] + start).tolist(), columns[later].tolist(), strict=True))
    centred = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    units = centred / np.maximum(np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-6)
    correlations = {(i, j): float(max((units[i] * turned).sum() for turned in _orientations(units[j])))
                    for i, j in sorted(candidates)}
    return {pair: found for pair, found in correlations.items() if found >= _CORRELATION}


def duplicate_groups(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Number images so that those joined by a chain of pairs share a number: int [count]."""
    rows, columns = np.array(list(pairs), int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def drop_leaks(splits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Take near-duplicates that cross splits out of all but one: test keeps its images, then val.

    Parameters
    ----------
    splits, groups : [n] split and duplicate group of each image

    Returns
    -------
    [n] names of splits, `dropped` for what was taken out.
    """
    rank = np.array([SPLITS.index(split) for split in splits])
    kept = np.zeros(groups.max() + 1, int)
    np.maximum.at(kept, groups, rank)
    return np.where(rank == kept[groups], splits, DROPPED)


def assign_splits(labels: np.ndarray, groups: np.ndarray, fractions: dict[str, float], seed: int) -> np.ndarray:
    """Split images at random, class by class, never parting a group.

    A group goes to the split that is furthest below its share, larger groups first.

    Parameters
    ----------
    labels, groups : [n] class and duplicate group of each image
    fractions : share of each class that val and test get; train gets the rest
    seed : of the random order

    Returns
    -------
    [n] names of splits
    """
    rng = np.random.default_rng(seed)
    shares = {"train": 1 - sum(fractions.values()), **fractions}
    splits = np.empty(len(labels), dtype=object)
    for label in np.unique(labels):
        members = np.flatnonzero((labels == label) & (splits == None))  # noqa: E711 (elementwise)
        names, sizes = np.unique(groups[members], return_counts=True)
        order = rng.permutation(len(names))
        order = order[np.argsort(-sizes[order], kind="stable")]
        missing = {split: share * len(members) for split, share in shares.items()}
        for name, size in zip(names[order], sizes[order], strict=True):
            split = max(missing, key=missing.get)
            missing[split] -= size
            splits[groups == name] = split
    return splits
