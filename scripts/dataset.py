"""Read every image once and write the manifest: path, split, class, digests, duplicate group."""

from pathlib import Path

import numpy as np
import pandas as pd
from beansweep import dataset, files, images, stage


def inspect(root: Path, path: str) -> tuple[dict, np.ndarray]:
    """An image's manifest entries, and its thumbnail."""
    image = images.read(root / path)
    row = {
        "sha256": files.sha256(root / path),
        "bytes": (root / path).stat().st_size,
        "width": image.width,
        "height": image.height,
    }
    return row, dataset.thumbnail(image)


def main(args) -> None:
    manifest = dataset.scan(args.root)
    rows, thumbnails = zip(
        *(inspect(args.root, path) for path in stage.progress(manifest["path"], "dataset: inspecting images")),
        strict=True,
    )
    thumbnails = np.stack(thumbnails)
    hashes = dataset.perceptual_hashes(thumbnails)
    pairs = dataset.near_duplicates(thumbnails, hashes)
    manifest = pd.concat([manifest, pd.DataFrame(rows)], axis=1)
    manifest["phash"] = [f"{value:016x}" for value in hashes[:, 0]]
    manifest["group"] = dataset.duplicate_groups(len(manifest), pairs)
    if not manifest["split"].any():
        manifest["split"] = dataset.assign_splits(
            manifest["class"].to_numpy(), manifest["group"].to_numpy(), args.settings["fractions"],
            args.settings["seed"],
        )
        for (label, split), count in manifest.groupby(["class", "split"]).size().unstack(fill_value=0).stack().items():
            if count == 0:
                raise stage.UserError(f"class '{label}' has too few distinct images for a {split} share: "
                                      "add images, or lay them out as train/val/test/<class>/ yourself")
    counts = manifest["split"].value_counts()
    stage.say("dataset: " + ", ".join(f"{counts.get(split, 0)} {split}" for split in dataset.SPLITS)
              + f" images in {manifest['class'].nunique()} classes")
    crossing = manifest.groupby("group")["split"].nunique().gt(1).sum()
    if crossing:
        stage.say(f"dataset: warning: {crossing} group(s) of near-duplicates lie across splits "
                  f"(column `group` of {args.manifest})")
    with files.replacing(args.manifest) as temporary:
        manifest.to_csv(temporary, index=False)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    stage.run(parser, main)
