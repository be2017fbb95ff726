"""From image file to network input: the one preprocessing of the whole project."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from beansweep.stage import UserError, progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Letterbox colour: the ImageNet mean, so that padding is close to zero after normalisation.
_PADDING = (124, 116, 104)


def read(path: str | os.PathLike, image_size: int | None = None) -> Image.Image:
    """Read any supported image as upright RGB.

    EXIF rotation is applied, transparency is laid over white, 16-bit gray is scaled to 8 bits.
    With `image_size`, a JPEG may be decoded at a reduced scale of at least twice that many pixels.

    Raises
    ------
    UserError
        The file is not an image that can be decoded whole.
    """
    try:
        with Image.open(path) as image:
            if image_size and image.format == "JPEG":
                image.draft(None, (2 * image_size, 2 * image_size))
            image.load()
            image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{path} cannot be read ({reason}): replace it or take it away") from error
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def fit(image: Image.Image, image_size: int) -> np.ndarray:
    """Letterbox an RGB image to a square, keeping its proportions: uint8 [size, size, 3]."""
    square = ImageOps.pad(image, (image_size, image_size), Image.Resampling.BILINEAR, _PADDING)
    return np.asarray(square)


def load(root: Path, paths: Iterable[str], image_size: int, what: str = "images") -> np.ndarray:
    """Decode files once, on all cores, into one uint8 array [n, size, size, 3]."""
    paths = list(paths)
    out = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def decode(index: int) -> None:
        out[index] = fit(read(root / paths[index], image_size), image_size)

    # Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(cpus()) as pool:
        for _ in progress(pool.map(decode, range(len(paths))), f"reading {what}", len(paths)):
            pass
    return out


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def normalise(pixels: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Network input from decoded pixels: uint8 [n, size, size, 3] -> float32 [n, 3, size, size].

    `preprocessing` has `mean` and `std`, each one value a channel, of pixels scaled to 0..1.
    """
    scale, offset = scale_and_offset(preprocessing)
    return np.ascontiguousarray((pixels * scale + offset).transpose(0, 3, 1, 2))


def scale_and_offset(preprocessing: dict) -> tuple[np.ndarray, np.ndarray]:
    """Normalisation as `pixel * scale + offset`: two float32 [3] arrays."""
    std = np.asarray(preprocessing["std"], np.float64)
    mean = np.asarray(preprocessing["mean"], np.float64)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
