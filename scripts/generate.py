"""Render the embedded bean images as train/val/test/<class>/ folders."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from beansweep.common import files, progress, stage
from beansweep.data import rendered_beans
from PIL import Image

SPLITS = ("train", "val", "test")


def render(folder: Path, settings: dict, image: tuple[str, str, int]) -> None:
    """Render one image; its random numbers follow from the seed and the image's own name alone."""
    split, label, index = image
    rng = np.random.default_rng(
        [settings["seed"], SPLITS.index(split), rendered_beans.CLASSES.index(label), index]
    )
    path = folder / split / label / f"{label}-{index:04d}.jpg"
    Image.fromarray(rendered_beans.render(label, settings["image_size"], rng)).save(
        path, quality=95, subsampling=0
    )


def main(args) -> None:
    folder = args.output.with_name(f".{args.output.name}")
    shutil.rmtree(folder, ignore_errors=True)
    for split in SPLITS:
        for label in rendered_beans.CLASSES:
            (folder / split / label).mkdir(parents=True)
    images = [
        (split, label, index)
        for split in SPLITS
        for label in rendered_beans.CLASSES
        for index in range(args.settings["images"][split])
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(partial(render, folder, args.settings), images, chunksize=16)
        for _ in progress.track(done, "generate: rendering beans", len(images)):
            pass
    shutil.rmtree(args.output, ignore_errors=True)
    folder.rename(args.output)
    paths = sorted(args.output.rglob("*.jpg"))
    files.write_text(
        args.digests,
        "".join(
            f"{files.sha256(path)}  {path.relative_to(args.digests.parent)}\n" for path in paths
        ),
    )
    progress.say(f"generate: {len(images)} bean images in {args.output}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--digests", type=Path, required=True, help="of the images, for sha256sum --check"
    )
    stage.run(parser, main)
