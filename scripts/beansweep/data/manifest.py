"""Reading the manifest: the one list of images, which every stage goes by."""

from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.data.splitting import PICK

# What a job needs that only looks images up.
IMAGES = ["path", "split", "class"]

# An image is blank where its thumbnail's gray levels, 0 to 255, have a smaller standard deviation.
BLANK = 2
# A class with fewer images in a split has a wide interval: with all of 9 images right, its recall
# may still be 70% (Wilson 1927, at 95%).
FEW = 10


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the manifest: one row an image, with the columns of `manifest_building.build`.

    Parameters
    ----------
    columns : that are needed; None for all. Of millions of images, the others take gigabytes
    """
    # Class names such as "1" or "NA" are names, not numbers or gaps.
    names = {"class": str, "path": str, "split": str}
    return pd.read_csv(path, dtype=names, keep_default_na=False, usecols=columns)


def groups(manifest: pd.DataFrame) -> pd.Series:
    """Number of each image's group of near-duplicates, by the image's path."""
    return manifest.set_index("path")["group"]


def labels(manifest: pd.DataFrame) -> list[str]:
    """Class names, in the order of every network's outputs."""
    return sorted(manifest["class"].unique())


def paths(
    manifest: pd.DataFrame, split: str, limit: int | None = None, seed: int | None = None
) -> list[str]:
    """List images of one split.

    Parameters
    ----------
    manifest : as `read` gives it
    split : train, val or test
    limit : how many at most; None for all
    seed : of a random order; None for the order of the manifest

    Returns
    -------
    Paths below the folder of images
    """
    chosen = manifest.loc[manifest["split"] == split, "path"].to_numpy()
    if seed is not None:
        chosen = np.random.default_rng(seed).permutation(chosen)
    return chosen[:limit].tolist()


def stratified(rows: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Draw images of each split, at random with a fixed seed; each class keeps its share of them.

    Parameters
    ----------
    rows : of the manifest
    limit : how many of each split at most; None for all

    Returns
    -------
    The rows drawn, in the order of the manifest. Every class is among them where there are as many.
    """
    if limit is None:
        return rows
    shuffled = rows.sample(frac=1, random_state=0)
    classes = shuffled.groupby(["split", "class"])["path"]
    # From 0 to below 1 in each class: the lowest of all classes together are drawn.
    order = (classes.cumcount() / classes.transform("size")).sort_values(kind="stable")
    drawn = shuffled.loc[order.index].groupby("split").head(limit)
    return rows.loc[sorted(drawn.index)]


def small_classes(manifest: pd.DataFrame) -> list[str]:
    """Classes with few validation or test images, in words: `1 of 'black' in val`.

    Those with the fewest images come first.
    """
    held_out = manifest[manifest["split"].isin(["val", PICK, "test"])]
    counts = held_out.groupby(["split", "class"]).size().rename("count").reset_index()
    few = counts[counts["count"] < FEW].sort_values("count", kind="stable")
    words = []
    for _, row in few.iterrows():
        words.append(f"{row['count']} of '{row['class']}' in {row['split']}")
    return words
