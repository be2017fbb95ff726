"""Splits: training, validation and test images, with near-duplicates on one side."""

import numpy as np

SPLITS = ("train", "val", "test")

# In place of a split: an image that no stage reads, because a near-duplicate of it is held out.
DROPPED = "dropped"


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


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, fractions: dict[str, float], seed: int
) -> np.ndarray:
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
