"""Whether one image is a copy of another, or another photograph of nearly the same.

A copy may be re-encoded, resized, cropped a little, or brighter. So one image is registered to the
other, and its brightness is fitted. What then differs in a copy is small everywhere. A scratch
stands out from it at one place, and two photographs of one scene differ in their noise.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate

# Registration goes on in images of so many pixels along the longer side, and then in full.
_SIDES = (64, 256)
# Steps of registration: at first, and from a registration at a smaller size.
_STEPS, _MORE_STEPS = 8, 3
# Pixels of the full image that a step of registration looks at.
_SAMPLES = 20_000
# Least share of a side that is left in a cropped copy.
_LEAST_LEFT = 0.85

# Gray levels of the largest difference in a copy, for each of its standard deviation plus one. It
# was at most this in 383 of 390 copies: 26 photographs and made-up scenes, each as JPEG of quality
# 30 to 90, WebP, at half to 1.5 times its size, 3% cropped, and 20% brighter or darker. In 144
# pairs of one scene with a scratch of 6 pixels and 60 gray levels or more, it was at least 9.
_STANDS_OUT = 5.5
# Share of the fine detail of the smoother image that a copy has in common with the other: 0.7 and
# more in these copies. So much detail (squared gray levels) may be noise of the encoding.
_SHARED_DETAIL, _ENCODING_NOISE = 0.5, 0.25

# A patch of so many pixels a side can show that two images are no copies, before all their pixels
# are compared. It may be off by some pixels. Of detail of this variance, copies share more than
# this in any patch.
_PATCH, _OFF = 96, 6
_PATCH_NOISE, _SHARED_IN_PATCH = 1.0, 0.2


@dataclass
class Registration:
    """How the part of an image that another one shows is found.

    Attributes
    ----------
    box : [4] left, top, right and bottom of that part, in pixels
    tone : [3] coefficients of a polynomial of its gray levels over 255, highest degree first; None
        before it is known
    """

    box: np.ndarray
    tone: np.ndarray | None


def is_copy(first: Image.Image, second: Image.Image) -> bool:
    """Whether two gray images (mode L), turned alike, are copies of one photograph."""
    # Either may be the cropped one.
    return _shows(first, second) or _shows(second, first)


def _shows(whole: Image.Image, part: Image.Image) -> bool:
    """Whether a part of one image is a copy of the other."""
    found = Registration(np.array([0.0, 0, *whole.size]), None)
    for side in _SIDES:
        size = _size(part.size, side)
        found = register(whole, part, size, found)
        if not _same_at(size, whole, part, found):
            return False
    if noise_differs(whole, part, found.box):
        return False
    size = _common_size(part.size, found.box)
    return _same_at(size, whole, part, register(whole, part, size, found))


def _same_at(
    size: tuple[int, int], whole: Image.Image, part: Image.Image, found: Registration
) -> bool:
    """Whether registered images are copies at a size (width, height)."""
    shown, target = _cut(whole, size, _snapped(found.box)), _resized(part, size)
    tone = found.tone if found.tone is not None else _tone(shown, target)
    return differ_little(np.clip(np.polyval(tone, shown / 255), 0, 255), target)


def noise_differs(whole: Image.Image, part: Image.Image, box: np.ndarray) -> bool:
    """Whether a patch shows that registered images are two photographs of one scene.

    It is the flattest of nine patches that have noise. What is alike there is looked for at all
    shifts by a few pixels, so the registration may be rough.

    Parameters
    ----------
    box : of the part that the other image shows; where it was resized, nothing is shown
    """
    scale = (box[2:] - box[:2]) / part.size
    if min(part.size) < 3 * _PATCH or np.abs(scale - 1).max() > 0.01:
        return False
    noisy = []
    for left, top in np.ndindex(3, 3):
        corner = np.array([left, top]) * (np.array(part.size) - _PATCH) // 2
        detail = _detail(part, corner, _PATCH)
        if detail.var() >= _PATCH_NOISE:
            noisy.append((detail.var(), corner, detail))
    if not noisy:
        return False
    _, corner, detail = min(noisy, key=lambda patch: patch[0])
    place = np.round(box[:2] + corner * scale).astype(int) - _OFF
    other = _detail(whole, place, _PATCH + 2 * _OFF)
    shared = correlate(other, detail, mode="valid", method="fft").max() / detail.size
    least = min(detail.var(), other.var())
    return bool(least >= _PATCH_NOISE and shared < _SHARED_IN_PATCH * least)


def _detail(image: Image.Image, corner: np.ndarray, side: int) -> np.ndarray:
    """The fine detail of a square of an image: float32 [side, side]; none outside of the image."""
    left, top = corner.tolist()
    levels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32)
    return levels - gaussian_filter(levels, 1.5)


def differ_little(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether registered images [height, width] of gray levels differ as copies do."""
    difference = gaussian_filter(first - second, 1)
    if np.abs(difference).max() > _STANDS_OUT * (difference.std() + 1):
        return False
    first_detail = first - gaussian_filter(first, 1.5)
    second_detail = second - gaussian_filter(second, 1.5)
    least = min(first_detail.var(), second_detail.var())
    return bool((first_detail * second_detail).mean() >= _SHARED_DETAIL * least - _ENCODING_NOISE)


def register(
    whole: Image.Image,
    part: Image.Image,
    size: tuple[int, int],
    start: Registration,
) -> Registration:
    """Find the box of an image that another image shows, and how their gray levels go together.

    The box is found by least squares on gradients (Lucas and Kanade 1981, "An iterative image
    registration technique with an application to stereo vision").

    Parameters
    ----------
    whole, part : gray images
    size : width and height that both are compared at
    start : an earlier registration, at a smaller size
    """
    limits = np.array([whole.width, whole.height] * 2, float)
    box, target = start.box, _resized(part, size)
    for _ in range(_STEPS if start.tone is None else _MORE_STEPS):
        shown = _cut(whole, size, box)
        moved = np.clip(box + _step(shown, target, box), *_bounds(limits))
        shift, box = np.abs(moved - box).max(), moved
        if shift < 0.02 * (box[2] - box[0]) / size[0]:
            break
    # A defect is too faint in a small image to bend the curve.
    if start.tone is None:
        return Registration(box, _tone(_cut(whole, size, box), target))
    return Registration(box, start.tone)


def _bounds(limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest box within an image of a size (width, height, width, height)."""
    least, greatest = limits * _LEAST_LEFT, limits * (1 - _LEAST_LEFT)
    least[:2], greatest[2:] = 0, limits[2:]
    return least, greatest


def _step(shown: np.ndarray, target: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The change of a box, in pixels, that brings what it shows nearer to the target: [4]."""
    height, width = shown.shape
    down, across = np.gradient(shown)
    across *= width / (box[2] - box[0])
    down *= height / (box[3] - box[1])
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    columns = [across * (1 - x), down * (1 - y), across * x, down * y, shown, np.ones_like(shown)]
    every = 1 + shown.size // _SAMPLES
    # Where light is clipped, brightness follows another rule.
    usable = ((target > 3) & (target < 252)).ravel()[::every]
    # Double, or rounding would exceed what rcond cuts off, and differ from processor to processor.
    slopes = np.stack(
        [column.ravel()[::every][usable] for column in columns], axis=1, dtype=np.float64
    )
    if len(slopes) < 6:
        return np.zeros(4)
    levels = target.ravel()[::every][usable]
    # Normal equations: in an image without structure, many changes are as good, and none is made.
    change = np.linalg.lstsq(slopes.T @ slopes, slopes.T @ levels, rcond=1e-9)[0]
    gain = change[4]
    return change[:4] / gain if abs(gain) > 0.1 else np.zeros(4)


def _tone(shown: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients of a polynomial of gray levels over 255 that gives the target's: [3]."""
    usable = (target > 3) & (target < 252)
    levels, wanted = shown[usable], target[usable]
    if not levels.size or levels.std() < 1:
        # No structure: the noise of one image is not made of the other's.
        return np.array([0, 255, wanted.mean() - levels.mean() if levels.size else 0])
    return np.linalg.lstsq(np.vander(levels / 255, 3), wanted, rcond=None)[0]


def _size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size of an image that is shrunk to so many pixels along its longer side."""
    scale = min(1, side / max(size))
    return max(8, round(size[0] * scale)), max(8, round(size[1] * scale))


def _common_size(size: tuple[int, int], box: np.ndarray) -> tuple[int, int]:
    """The size of an image, or that of the box of the other image, whichever is smaller."""
    scale = min(1, (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    return max(8, round(size[0] * scale)), max(8, round(size[1] * scale))


def _snapped(box: np.ndarray) -> np.ndarray:
    """The box, at whole pixels where it is nearly there, so that nothing is interpolated."""
    whole = np.round(box)
    return whole if np.abs(box - whole).max() < 0.25 else box


def _cut(image: Image.Image, size: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """Gray levels of a part of an image at a size (width, height): float32 [height, width]."""
    part = image.resize(size, Image.Resampling.BICUBIC, box=tuple(box))
    return np.asarray(part, np.float32)


def _resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Gray levels of an image at a size (width, height): float32 [height, width]."""
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32)
