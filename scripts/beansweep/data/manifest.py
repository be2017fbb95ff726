"""Reading the manifest, the one list of images that every stage goes by."""

from pathlib import Path

import numpy as np
import pandas as pd


def read(path: Path) -> pd.DataFrame:
    """The manifest: one row an image; see scripts/dataset.py for the columns."""
    # Class names such as "1" or "NA" are names, not numbers or gaps.
    return pd.read_csv(path, dtype={"class": str, "path": str, "split": str}, keep_default_na=False)


def labels(manifest: pd.DataFrame) -> list[str]:
    """Class names, in the order of every network's outputs."""
    return sorted(manifest["class"].unique())


def paths(
    manifest: pd.DataFrame, split: str, limit: int | None = None, seed: int | None = None
) -> list[str]:
    """Images of one split; with a seed shuffled, with a limit the first so many."""
    chosen = manifest.loc[manifest["split"] == split, "path"].to_numpy()
    if seed is not None:
        chosen = np.random.default_rng(seed).permutation(chosen)
    return chosen[:limit].tolist()


# Gray levels of 255 that a thumbnail's standard deviation stays below where there is nothing to see.
BLANK = 2
