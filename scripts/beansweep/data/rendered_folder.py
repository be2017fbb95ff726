"""A folder of rendered beans, laid out as train/val/test/<class>/."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from beansweep.common import files, progress
from beansweep.data import rendered_beans
from beansweep.data.splitting import SPLITS


def render(folder: Path, settings: dict) -> None:
    """Render all images below `folder`; what was there before is replaced.

    Parameters
    ----------
    folder : where the images go
    settings : image_size (pixels), seed, and images: of each class, by split
    """
    # Under a hidden name, so that the folder is there whole or not at all.
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    images = []
    for split in SPLITS:
        for label in rendered_beans.CLASSES:
            (unfinished / split / label).mkdir(parents=True)
            images += [(split, label, index) for index in range(settings["images"][split])]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rendered = pool.map(partial(_render_image, unfinished, settings), images, chunksize=16)
        for _ in progress.track(rendered, "generate: rendering beans", len(images)):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    progress.say(f"generate: {len(images)} bean images in {folder}")


def _render_image(folder: Path, settings: dict, image: tuple[str, str, int]) -> None:
    """Render one image (split, class, number); its randomness follows from these and the seed."""
    split, label, index = image
    rng = np.random.default_rng(
        [settings["seed"], SPLITS.index(split), rendered_beans.CLASSES.index(label), index]
    )
    pixels = rendered_beans.render(label, settings["image_size"], rng)
    path = folder / split / label / f"{label}-{index:04d}.jpg"
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def digest_lines(folder: Path, relative_to: Path) -> str:
    """The images' SHA-256 digests, in the form that `sha256sum --check` reads.

    Parameters
    ----------
    folder : of the images
    relative_to : folder that the paths are written from
    """
    lines = []
    for path in sorted(folder.rglob("*.jpg")):
        lines.append(f"{files.sha256(path)}  {path.relative_to(relative_to)}\n")
    return "".join(lines)
