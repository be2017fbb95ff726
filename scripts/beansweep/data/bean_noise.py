"""Smooth random maps, and a smooth step: what rendered beans and belts get their texture from."""

import numpy as np
from PIL import Image


def smooth(size: int, cells: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of about unit variance.

    Parameters
    ----------
    size : pixels along a side
    cells : features across the image
    rng : source of the random numbers

    Returns
    -------
    float32 [size, size]
    """
    count = max(2, round(cells) + 3)
    grid = rng.standard_normal((count, count)).astype(np.float32)
    return 1.4 * np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def fractal(size: int, cells: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of three octaves, coarse to fine, of about unit variance: float32 [size, size].

    Parameters are those of `smooth`; `cells` is of the coarsest octave.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(3):
        total += 0.6**octave * smooth(size, cells * 2**octave, rng)
    return total / 1.3


def smooth_step(value: np.ndarray, width: float) -> np.ndarray:
    """0 below zero and 1 above, with a smooth passage of `width` around zero."""
    ramp = np.clip(value / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)
