"""From image file to network input, and from logits to probabilities.

Every stage uses this one preprocessing, and the deployed predictor holds a copy of this code (see
`beansweep.deploy.bundle`).
"""

import os
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from beansweep.common.errors import Unreadable

# The formats that are opened, whatever a file's name says. Pillow knows more, and for some of them
# it starts other programs (Ghostscript for EPS). Those that Pillow has at hand come first.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "AVIF")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".tif", ".tiff", ".avif"),
)
_TRANSPARENT_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
# Letterbox colour: the ImageNet mean, so that padding is close to zero after normalisation.
_PADDING = (124, 116, 104)


def read(source: str | os.PathLike | IO[bytes], image_size: int | None = None) -> Image.Image:
    """Read any supported image as upright RGB.

    EXIF rotation is applied where the metadata can be read, transparency is laid over white, and
    16-bit gray is scaled to 8 bits. Only `FORMATS` are opened.

    Parameters
    ----------
    source : path or open file
    image_size : pixels that the image is needed at; a JPEG may be decoded at a reduced scale, but
        not below twice that many

    Returns
    -------
    Image of mode RGB

    Raises
    ------
    Unreadable
        The file is not an image that can be decoded whole, or its pixels have more than 16 bits.
    """
    try:
        with Image.open(source, formats=FORMATS) as opened:
            if image_size and opened.format == "JPEG":
                opened.draft(None, (2 * image_size, 2 * image_size))
            opened.load()
            image = _upright(opened)
    except Exception as error:  # Decoders of damaged data raise anything.
        # An old Pillow does not know the name of a new format.
        unknown = isinstance(error, (UnidentifiedImageError, KeyError))
        reason = "not an image" if unknown else error
        raise Unreadable(
            f"{source} cannot be read ({reason}): replace it or take it away"
        ) from error
    if image.mode == "F" or (image.mode == "I" and np.abs(image.getextrema()).max() > 65535):
        raise Unreadable(
            f"{source} cannot be read (more than 16 bits a pixel): save it with 8 or 16 bits"
        )
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert(
            "RGB"
        )
    if _is_transparent(image):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the rotation of EXIF; damaged metadata is ignored, for the pixels are whole."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Damaged metadata raises anything.
        return image.copy()


def _is_transparent(image: Image.Image) -> bool:
    """Whether an image has transparency; Pillow itself tells it from version 10.1 on."""
    if image.mode == "P" and image.palette and image.palette.mode.endswith("A"):
        return True
    return image.mode in _TRANSPARENT_MODES or "transparency" in image.info


def fit(image: Image.Image, image_size: int) -> np.ndarray:
    """Letterbox an RGB image to a square, without distortion: uint8 [size, size, 3]."""
    square = ImageOps.pad(image, (image_size, image_size), Image.Resampling.BILINEAR, _PADDING)
    return np.asarray(square)


def scale_and_offset(preprocessing: dict) -> tuple[np.ndarray, np.ndarray]:
    """Normalisation as `pixel * scale + offset`.

    Parameters
    ----------
    preprocessing : has `mean` and `std`, three values each, of pixels scaled to 0..1

    Returns
    -------
    scale, offset : float32 [3] each, of pixels 0..255
    """
    std = np.asarray(preprocessing["std"], np.float64)
    mean = np.asarray(preprocessing["mean"], np.float64)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def normalise(pixels: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Network input from decoded images: uint8 [n, size, size, 3] -> float32 [n, 3, size, size]."""
    scale, offset = scale_and_offset(preprocessing)
    return np.ascontiguousarray((pixels * scale + offset).transpose(0, 3, 1, 2))


def tensor(source: str | os.PathLike | IO[bytes], preprocessing: dict) -> np.ndarray:
    """Network input from one image file: float32 [1, 3, size, size]."""
    size = preprocessing["image_size"]
    return normalise(fit(read(source, size), size)[None], preprocessing)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits, along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
