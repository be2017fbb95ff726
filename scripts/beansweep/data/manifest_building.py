"""Building the manifest: every image is read once, and near-duplicates are found."""

from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.common import files, progress
from beansweep.common.errors import UserError
from beansweep.data import image_folders, near_duplicates, preprocess, splitting
from beansweep.data.manifest import BLANK


def build(root: Path, settings: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inspect a folder of images, split it where it is not split, and find near-duplicates.

    Parameters
    ----------
    root : folder of images, laid out as `image_folders.scan` takes it
    settings : fractions and seed of the random split, and on_leakage (warn, drop or fail)

    Returns
    -------
    The manifest, one row an image: path, split, class, sha256, bytes, width, height (pixels),
    contrast (standard deviation of the thumbnail's gray levels), phash, and group (images that
    share a number are near-duplicates).

    The near-duplicates, one row a pair: path, split and class of both, correlation,
    crosses_splits and crosses_classes. Splits are those before any image was dropped.

    Raises
    ------
    UserError
        The folder cannot be used or split, dropping near-duplicates empties a class of a split,
        or near-duplicates cross splits and on_leakage is fail.
    """
    manifest, thumbnails = _inspect(root, image_folders.scan(root))
    hashes = near_duplicates.perceptual_hashes(thumbnails)
    pairs = near_duplicates.find_pairs(thumbnails, hashes)
    manifest["phash"] = [f"{value:016x}" for value in hashes[:, 0]]
    manifest["group"] = near_duplicates.duplicate_groups(len(manifest), pairs)
    if not manifest["split"].any():
        manifest["split"] = _random_splits(manifest, settings)
    pair_table = _pair_table(manifest, pairs)
    _check_leakage(pair_table, settings["on_leakage"])
    _warn(manifest, pair_table)
    if settings["on_leakage"] == "drop":
        manifest["split"] = _splits_without_leaks(manifest)
    _say_counts(manifest)
    return manifest, pair_table


def _inspect(root: Path, found: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Read every image: the rows with more columns, and thumbnails float32 [n, 32, 32]."""
    rows, thumbnails = [], []
    for path in progress.track(found["path"], "dataset: inspecting images"):
        image = preprocess.read(root / path)
        thumbnail = near_duplicates.thumbnail(image)
        thumbnails.append(thumbnail)
        rows.append(
            {
                "sha256": files.sha256(root / path),
                "bytes": (root / path).stat().st_size,
                "width": image.width,
                "height": image.height,
                "contrast": round(float(thumbnail.std()), 2),
            }
        )
    return pd.concat([found, pd.DataFrame(rows)], axis=1), np.stack(thumbnails)


def _random_splits(manifest: pd.DataFrame, settings: dict) -> np.ndarray:
    """Splits for images that came without: str [n]."""
    splits = splitting.assign_splits(
        manifest["class"].to_numpy(),
        manifest["group"].to_numpy(),
        settings["fractions"],
        settings["seed"],
    )
    missing = _missing_class(manifest["class"], splits)
    if missing:
        label, split = missing
        raise UserError(
            f"class '{label}' has too few distinct images for a {split} share: "
            "add images, or lay them out as train/val/test/<class>/ yourself"
        )
    return splits


def _splits_without_leaks(manifest: pd.DataFrame) -> np.ndarray:
    """Splits in which near-duplicates of images that are held out more are dropped: str [n]."""
    splits = splitting.drop_leaks(manifest["split"].to_numpy(), manifest["group"].to_numpy())
    missing = _missing_class(manifest["class"], splits)
    if missing:
        label, split = missing
        raise UserError(
            f"dataset.on_leakage: with near-duplicates dropped, class '{label}' has no image left "
            f"in {split}: add images, or set it to warn"
        )
    return splits


def _missing_class(labels: pd.Series, splits: np.ndarray) -> tuple[str, str] | None:
    """The first class and split without any image; None where there is none."""
    for label in sorted(labels.unique()):
        for split in splitting.SPLITS:
            if split not in splits[labels.to_numpy() == label]:
                return label, split
    return None


def _pair_table(manifest: pd.DataFrame, pairs: dict[tuple[int, int], float]) -> pd.DataFrame:
    """One row a pair: those that cross splits first, then those of two classes."""
    indices = np.array(list(pairs), int).reshape(-1, 2)
    columns = ["path", "split", "class"]
    first = manifest.iloc[indices[:, 0]][columns].reset_index(drop=True).add_prefix("first_")
    second = manifest.iloc[indices[:, 1]][columns].reset_index(drop=True).add_prefix("second_")
    table = pd.concat([first, second], axis=1)
    table["correlation"] = list(pairs.values())
    table["crosses_splits"] = table["first_split"] != table["second_split"]
    table["crosses_classes"] = table["first_class"] != table["second_class"]
    return table.sort_values(
        ["crosses_splits", "crosses_classes", "correlation"], ascending=False, kind="stable"
    )


def _check_leakage(pairs: pd.DataFrame, on_leakage: str) -> None:
    """Warn of near-duplicates that cross splits, or refuse them where on_leakage is fail."""
    crossing = pairs[pairs["crosses_splits"]]
    if crossing.empty:
        return
    found = (
        f"{len(crossing)} pair(s) of near-duplicates lie across splits, such as "
        f"{_example(crossing)}"
    )
    if on_leakage == "fail":
        raise UserError(
            f"{found}: remove one of each pair, or set dataset.on_leakage to drop or warn"
        )
    dropped = "; they are dropped where less held out" if on_leakage == "drop" else ""
    progress.say(f"dataset: warning: {found}{dropped}")


def _warn(manifest: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Warn of near-duplicates with two classes, and of blank images."""
    conflicting = pairs[pairs["crosses_classes"]]
    if len(conflicting):
        progress.say(
            f"dataset: warning: {len(conflicting)} pair(s) of near-duplicates have two classes, "
            f"such as {_example(conflicting)}"
        )
    blank = manifest.loc[manifest["contrast"] < BLANK, "path"]
    if len(blank):
        progress.say(f"dataset: warning: {len(blank)} image(s) are blank, such as {blank.iloc[0]}")


def _example(pairs: pd.DataFrame) -> str:
    """The paths of the first pair, for a message."""
    return f"{pairs['first_path'].iloc[0]} and {pairs['second_path'].iloc[0]}"


def _say_counts(manifest: pd.DataFrame) -> None:
    """Print how many images each split has."""
    counts = []
    for split in splitting.SPLITS:
        counts.append(f"{(manifest['split'] == split).sum()} {split}")
    classes = manifest["class"].nunique()
    progress.say(f"dataset: {', '.join(counts)} images in {classes} classes")
