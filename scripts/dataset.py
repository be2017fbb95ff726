"""Read every image once: write the manifest (path, split, class, digests, group) and all near-duplicates."""

from pathlib import Path

import numpy as np
import pandas as pd
from beansweep.common import errors, files, progress, stage
from beansweep.data import image_folders, near_duplicates, preprocess, splitting
from beansweep.data.manifest import BLANK


def inspect(root: Path, path: str) -> tuple[dict, np.ndarray]:
    """An image's manifest entries, and its thumbnail."""
    image = preprocess.read(root / path)
    thumbnail = near_duplicates.thumbnail(image)
    row = {
        "sha256": files.sha256(root / path),
        "bytes": (root / path).stat().st_size,
        "width": image.width,
        "height": image.height,
        "contrast": round(float(thumbnail.std()), 2),
    }
    return row, thumbnail


def split(manifest: pd.DataFrame, settings: dict) -> np.ndarray:
    """Splits for images that came without."""
    splits = splitting.assign_splits(
        manifest["class"].to_numpy(),
        manifest["group"].to_numpy(),
        settings["fractions"],
        settings["seed"],
    )
    for label, name in lacking(manifest["class"], splits):
        raise errors.UserError(
            f"class '{label}' has too few distinct images for a {name} share: "
            "add images, or lay them out as train/val/test/<class>/ yourself"
        )
    return splits


def drop(manifest: pd.DataFrame) -> np.ndarray:
    """Splits without the near-duplicates of what is more held out."""
    splits = splitting.drop_leaks(manifest["split"].to_numpy(), manifest["group"].to_numpy())
    for label, name in lacking(manifest["class"], splits):
        raise errors.UserError(
            f"dataset.on_leakage: with near-duplicates dropped, class '{label}' has no image left in "
            f"{name}: add images, or set it to warn"
        )
    return splits


def lacking(labels: pd.Series, splits: np.ndarray) -> list[tuple[str, str]]:
    """Classes and splits of which there is no image."""
    counts = pd.crosstab(labels, splits).reindex(columns=splitting.SPLITS, fill_value=0).stack()
    return counts.index[counts == 0].tolist()


def pair_table(manifest: pd.DataFrame, pairs: dict[tuple[int, int], float]) -> pd.DataFrame:
    """A row a pair of near-duplicates, those that cross splits first, then those of two classes."""
    first, second = (
        manifest.iloc[[pair[end] for pair in pairs]].reset_index(drop=True) for end in (0, 1)
    )
    table = pd.concat(
        [
            first[["path", "split", "class"]].add_prefix("first_"),
            second[["path", "split", "class"]].add_prefix("second_"),
        ],
        axis=1,
    )
    table["correlation"] = list(pairs.values())
    table["crosses_splits"] = table["first_split"] != table["second_split"]
    table["crosses_classes"] = table["first_class"] != table["second_class"]
    return table.sort_values(
        ["crosses_splits", "crosses_classes", "correlation"], ascending=False, kind="stable"
    )


def warn(manifest: pd.DataFrame, pairs: pd.DataFrame, on_leakage: str) -> None:
    """Say what a person should look at.

    Raises
    ------
    UserError
        Near-duplicates cross splits, and `dataset.on_leakage` is fail.
    """
    crossing = pairs[pairs["crosses_splits"]]
    if len(crossing):
        pair = crossing.iloc[0]
        found = (
            f"{len(crossing)} pair(s) of near-duplicates lie across splits, such as "
            f"{pair['first_path']} and {pair['second_path']}"
        )
        if on_leakage == "fail":
            raise errors.UserError(
                f"{found}: take one of each away, or set dataset.on_leakage to drop or warn"
            )
        progress.say(
            f"dataset: warning: {found}{'; dropped where less held out' if on_leakage == 'drop' else ''}"
        )
    conflicts = pairs[pairs["crosses_classes"]]
    if len(conflicts):
        pair = conflicts.iloc[0]
        progress.say(
            f"dataset: warning: {len(conflicts)} pair(s) of near-duplicates have two classes, such as "
            f"{pair['first_path']} and {pair['second_path']}"
        )
    blank = manifest.loc[manifest["contrast"] < BLANK, "path"]
    if len(blank):
        progress.say(f"dataset: warning: {len(blank)} image(s) are blank, such as {blank.iloc[0]}")


def main(args) -> None:
    settings = args.settings
    manifest = image_folders.scan(args.root)
    rows, thumbnails = zip(
        *(
            inspect(args.root, path)
            for path in progress.track(manifest["path"], "dataset: inspecting images")
        ),
        strict=True,
    )
    thumbnails = np.stack(thumbnails)
    hashes = near_duplicates.perceptual_hashes(thumbnails)
    pairs = near_duplicates.pairs(thumbnails, hashes)
    manifest = pd.concat([manifest, pd.DataFrame(rows)], axis=1)
    manifest["phash"] = [f"{value:016x}" for value in hashes[:, 0]]
    manifest["group"] = near_duplicates.duplicate_groups(len(manifest), pairs)
    if not manifest["split"].any():
        manifest["split"] = split(manifest, settings)
    listed = pair_table(manifest, pairs)
    warn(manifest, listed, settings["on_leakage"])
    if settings["on_leakage"] == "drop":
        manifest["split"] = drop(manifest)
    counts = manifest["split"].value_counts()
    progress.say(
        "dataset: "
        + ", ".join(f"{counts.get(name, 0)} {name}" for name in splitting.SPLITS)
        + f" images in {manifest['class'].nunique()} classes"
    )
    with files.replacing(args.near_duplicates) as temporary:
        listed.to_csv(temporary, index=False, float_format="%.4f")
    with files.replacing(args.manifest) as temporary:
        manifest.to_csv(temporary, index=False)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--near-duplicates", type=Path, required=True)
    stage.run(parser, main)
