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

# The tag of a TIFF that says whether black or white is zero.
_PHOTOMETRIC = 262

# Logarithms of 2; log(2) in two parts, of which the first times a power has no rounding.
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Of the series of the exponential, whose argument is at most log(2) / 2: enough for float64.
_TERMS = 13

# Pillow's own limit, which it doubles, must not be below the largest max_megapixels.
Image.MAX_IMAGE_PIXELS = 500_000_000


def read(
    source: str | os.PathLike | IO[bytes],
    image_size: int | None = None,
    bits: int | None = None,
    max_megapixels: float | None = None,
) -> Image.Image:
    """Read any supported image as upright RGB.

    EXIF rotation is applied where the metadata can be read, transparency is laid over white, and
    deep gray is scaled to 8 bits. Only `FORMATS` are opened.

    Parameters
    ----------
    source : path or open file
    image_size, bits, max_megapixels : as for `decode`

    Returns
    -------
    Image of mode RGB

    Raises
    ------
    Unreadable
        The file is not an image that can be decoded whole, or its pixels have more than 16 bits.
    """
    return to_rgb(*decode(source, image_size, bits, max_megapixels))


def decode(
    source: str | os.PathLike | IO[bytes],
    image_size: int | None = None,
    bits: int | None = None,
    max_megapixels: float | None = None,
) -> tuple[Image.Image, int]:
    """Decode an image as it is stored, and turn it upright.

    Parameters
    ----------
    source : path or open file
    image_size : pixels that the image is needed at; a JPEG may be decoded at a reduced scale, but
        not below twice that many
    bits : that are used of the 16 bits that gray levels are stored in; None for all. A PGM file
        that names another brightest level goes by that
    max_megapixels : an image of more is refused by its header, before its pixels take memory

    Returns
    -------
    The image, and the bits of its gray levels from black to white. Signed levels have one bit less,
    for those below zero are black.

    Raises
    ------
    Unreadable
        As for `read`.
    """
    try:
        with Image.open(source, formats=FORMATS) as opened:
            _check_pixels(source, opened.size, max_megapixels)
            _check_black_is_zero(source, opened)
            stored_bits, is_scaled = _stored_bits(opened), _is_scaled(opened)
            if image_size and opened.format == "JPEG":
                opened.draft(None, (2 * image_size, 2 * image_size))
            opened.load()
            image = _upright(opened)
    except Unreadable:
        raise
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
    if is_scaled:
        return to_rgb(image, 16), 8
    if stored_bits != 16 or bits in (None, 16):
        return image, stored_bits
    if not is_deep_gray(image):
        raise Unreadable(
            f"{source} cannot be read (dataset.bits is for gray images, and this one has colour of "
            "16 bits a channel): save it with 8 bits a channel"
        )
    return image, bits


def _check_pixels(
    source: str | os.PathLike | IO[bytes], size: tuple[int, int], max_megapixels: float | None
) -> None:
    """Refuse an image of more pixels than allowed."""
    megapixels = size[0] * size[1] / 1e6
    if max_megapixels and megapixels > max_megapixels:
        raise Unreadable(
            f"{source} cannot be read ({size[0]} x {size[1]} pixels are {megapixels:.0f} "
            f"megapixels, and {max_megapixels:g} are allowed): make it smaller, or raise "
            "max_megapixels in dataset or run.json"
        )


def _check_black_is_zero(source: str | os.PathLike | IO[bytes], opened: Image.Image) -> None:
    """Refuse a deep TIFF that stores white as zero: Pillow reads it as a negative."""
    # Files of TIFF alone have tags.
    if is_deep_gray(opened) and getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        raise Unreadable(
            f"{source} cannot be read (white is zero in its 16-bit gray levels): save it with "
            "black as zero"
        )


def _stored_bits(opened: Image.Image) -> int:
    """Bits of a sample that is not negative, by the header of an image that is not loaded yet."""
    # How Pillow unpacks the pixels tells what is stored; the mode of a 12-bit image is that of 16.
    tiles = getattr(opened, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    stored = arguments if isinstance(arguments, str) else str(arguments[0])
    if tiles and tiles[0][0].startswith("ppm") and opened.mode == "RGB":
        # By any other brightest level that its header names, Pillow scales colour to 8 bits.
        return 16 if arguments[-1] == 65535 else 8
    if stored.startswith("I;12"):
        return 12
    if stored.startswith("I;16") and "S" in stored:
        return 15
    return 16 if opened.mode.startswith("I") or ";16" in stored else 8


def _is_scaled(opened: Image.Image) -> bool:
    """Whether Pillow scales gray levels to 16 bits, from the brightest one that a PGM names."""
    tiles = getattr(opened, "tile", None)
    if not tiles or opened.mode != "I" or not tiles[0][0].startswith("ppm"):
        return False
    return tiles[0][3][-1] != 65535


def is_deep_gray(image: Image.Image) -> bool:
    """Whether an image has gray levels of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def to_rgb(image: Image.Image, bits: int) -> Image.Image:
    """RGB of a decoded image.

    Parameters
    ----------
    image : as `decode` gives it
    bits : of its gray levels from black to white, where they have more than 8; brighter ones are
        white
    """
    if is_deep_gray(image):
        levels = np.asarray(image).astype(np.int32)
        return Image.fromarray(np.clip(levels >> (bits - 8), 0, 255).astype(np.uint8)).convert(
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
    """Letterbox an RGB image to a square, without distortion: uint8 [size, size, 3].

    Of a very long image, one row or column of pixels is left.
    """
    short, long = sorted(image.size)
    if short * image_size < long:
        # Pillow would round the short side to nothing.
        line = (image_size, 1) if image.width == long else (1, image_size)
        image = image.resize(line, Image.Resampling.BILINEAR)
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
    return normalise(read_square(source, preprocessing)[None], preprocessing)


def read_square(source: str | os.PathLike | IO[bytes], preprocessing: dict) -> np.ndarray:
    """Read an image and letterbox it.

    Parameters
    ----------
    source : path or open file
    preprocessing : image_size (pixels), and where they are set, bits and max_megapixels; see
        `decode`

    Returns
    -------
    uint8 [size, size, 3]
    """
    size = preprocessing["image_size"]
    bits, max_megapixels = preprocessing.get("bits"), preprocessing.get("max_megapixels")
    return fit(read(source, size, bits, max_megapixels), size)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits, along the last axis: float32.

    Equal logits give equal probabilities on every machine, which NumPy's exponential does not.
    """
    exponentials = exponential(logits - logits.max(axis=-1, keepdims=True))
    # One after another: the order of NumPy's sum depends on the machine.
    sums = np.cumsum(exponentials, axis=-1)[..., -1:]
    return (exponentials / sums).astype(np.float32)


def exponential(values: np.ndarray) -> np.ndarray:
    """The exponential, from operations that IEEE 754 fixes to the last bit: float64.

    exp(x) is 2 ** k * exp(r), where k is the whole number nearest to x / log(2), and exp(r) is the
    start of its series (Muller 2016, "Elementary functions", on range reduction).

    Parameters
    ----------
    values : of at most 700
    """
    # Below it, the result is zero in float32.
    values = np.maximum(values.astype(np.float64), -200.0)
    powers = np.rint(values * _LOG2_E)
    rest = (values - powers * _LN2_HIGH) - powers * _LN2_LOW
    result = np.ones_like(rest)
    for divisor in range(_TERMS, 0, -1):
        result = result * rest / divisor + 1
    with np.errstate(invalid="ignore"):  # Of what is not a number.
        return np.ldexp(result, powers.astype(np.int32))
