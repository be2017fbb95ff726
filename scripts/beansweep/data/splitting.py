"""Splits: training, validation and test images, with near-duplicates in one split."""

import numpy as np

# From the least to the most held out.
SPLITS = ("train", "val", "test")

# Validation images that serve limits and the pick alone, and no choice before them.
PICK = "pick"

# Stands in place of a split: no stage reads this image, because a near-duplicate is held out.
DROPPED = "dropped"


def drop_leaks(splits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Drop near-duplicates from all splits but the most held out: test keeps its images, then val.

    Parameters
    ----------
    splits : str [n] split of each image
    groups : int [n] number of each image's group of near-duplicates

    Returns
    -------
    str [n] split of each image, `DROPPED` for those taken out
    """
    rank = np.array([SPLITS.index(split) for split in splits])
    most_held_out = np.zeros(groups.max() + 1, int)
    np.maximum.at(most_held_out, groups, rank)
    return np.where(rank == most_held_out[groups], splits, DROPPED)


def assign_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    fractions: dict[str, float],
    seed: int,
    rest: str = "train",
) -> np.ndarray:
    """Split images at random, class by class, with each group in one split.

    A group goes to the split that is furthest below its share. Larger groups go first.

    Parameters
    ----------
    labels : [n] class of each image
    groups : int [n] number of each image's group of near-duplicates
    fractions : share of each class that each split gets
    seed : of the random order
    rest : the split that gets what is left

    Returns
    -------
    str [n] split of each image
    """
    rng = np.random.default_rng(seed)
    shares = {rest: 1 - sum(fractions.values()), **fractions}
    splits = np.full(len(labels), "", dtype=object)
    for label in np.unique(labels):
        # A group with images of two classes was assigned with the first of them.
        unassigned = np.flatnonzero((labels == label) & (splits == ""))
        names, sizes = np.unique(groups[unassigned], return_counts=True)
        order = rng.permutation(len(names))
        order = order[np.argsort(-sizes[order], kind="stable")]
        missing = {split: share * len(unassigned) for split, share in shares.items()}
        for name, size in zip(names[order], sizes[order], strict=True):
            split = max(missing, key=lambda split: missing[split])
            missing[split] -= size
            splits[groups == name] = split
    return splits
