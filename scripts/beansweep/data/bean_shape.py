"""One sound green coffee bean: its outline, its height and its colour.

Lengths are in units of the bean's half length. Colours are display RGB from 0 to 1.
"""

from dataclasses import dataclass

import numpy as np

from beansweep.data.bean_noise import fractal, smooth, smooth_step

# Colours of green coffee, from dark to pale.
GREENS = np.array([[0.50, 0.53, 0.40], [0.56, 0.57, 0.46], [0.63, 0.60, 0.44], [0.69, 0.63, 0.46]])
_SILVERSKIN = np.array([0.83, 0.77, 0.63])


@dataclass
class Bean:
    """Maps of one bean over the pixels of its image.

    Attributes
    ----------
    x, y : [n, n] position along and across the bean
    rho : [n, n] distance from the centre: 0 there, and 1 at the outline
    pixel : length of one pixel
    height : [n, n] height of the surface
    colour : [n, n, 3]
    inside : [n, n] share of a pixel that the bean covers, 0 to 1
    """

    x: np.ndarray
    y: np.ndarray
    rho: np.ndarray
    pixel: float
    height: np.ndarray
    colour: np.ndarray
    inside: np.ndarray


def blend(bean: Bean, colour: np.ndarray, share: np.ndarray) -> None:
    """Lay a colour [3] or [n, n, 3] over the bean, by the `share` [n, n] of 0 to 1 at a pixel."""
    bean.colour += share[..., None] * (colour - bean.colour)


def sound_bean(size: int, rng: np.random.Generator) -> Bean:
    """Draw a bean without any defect, on a grid of `size` by `size` pixels."""
    bean = _outline(size, rng)
    bean.inside = smooth_step(1 - bean.rho, 1.6 * bean.pixel)
    _paint_green(bean, rng)
    dome = np.sqrt(np.clip(1 - bean.rho**2, 0, None))
    roughness = 0.007 * fractal(size, 14, rng) + 0.003 * smooth(size, size / 2.5, rng)
    lies_on_its_face = rng.random() < 0.4
    if lies_on_its_face:
        bean.height = 0.62 * dome + roughness
    else:
        _show_flat_face(bean, roughness, rng)
    return bean


def _outline(size: int, rng: np.random.Generator) -> Bean:
    """An egg of random pose, length and width, with an outline that no formula quite fits."""
    half_length = rng.uniform(0.56, 0.80)
    width = rng.uniform(0.62, 0.86)
    angle = rng.uniform(0, 2 * np.pi)
    centre = rng.normal(0, 0.06, 2)
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    across, down = np.meshgrid((axis - centre[0]) / half_length, (axis - centre[1]) / half_length)
    x = across * np.cos(angle) + down * np.sin(angle)
    y = down * np.cos(angle) - across * np.sin(angle)
    narrow = width * (1 + rng.normal(0, 0.10) * x + rng.normal(0, 0.05) * x * x)
    wobble = _wobble(np.arctan2(y / width, x), rng)
    exponent = rng.uniform(2.0, 2.5)
    rho = (np.abs(x) ** exponent + np.abs(y / narrow) ** exponent) ** (1 / exponent) / (1 + wobble)
    return Bean(
        x=x,
        y=y,
        rho=rho,
        pixel=2 / size / half_length,
        height=np.zeros_like(x),
        colour=np.zeros((size, size, 3)),
        inside=np.zeros_like(x),
    )


def _wobble(direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deviation of the outline in each direction (radians), as a share of the radius."""
    wobble = np.zeros_like(direction)
    for waves in (2, 3, 4, 5, 7):
        height = rng.normal(0, 0.030 / waves**0.7)
        wobble += height * np.cos(waves * direction + rng.uniform(0, 6.3))
    return wobble


def _paint_green(bean: Bean, rng: np.random.Generator) -> None:
    """Give the bean a mottled colour between two neighbouring greens."""
    size = len(bean.x)
    mottle = fractal(size, 5, rng)
    low, high = GREENS[rng.integers(3) + np.array([0, 1])]
    mix = np.clip(rng.random() + 0.22 * mottle, 0, 1)[..., None]
    grain = 0.012 * smooth(size, size / 3, rng)[..., None]
    bean.colour = low + mix * (high - low) + grain


def _show_flat_face(bean: Bean, roughness: np.ndarray, rng: np.random.Generator) -> None:
    """Turn the flat face up: a rounded rim, the cut along it like a flat S, and silverskin."""
    size = len(bean.x)
    face = np.sqrt(np.clip(1 - bean.rho ** rng.uniform(3.2, 5.0), 0, None))
    bend = rng.normal(0, 0.07) + rng.choice([-1, 1]) * rng.uniform(0.02, 0.10) * np.sin(
        np.pi * (bean.x * rng.uniform(0.8, 1.2) + rng.normal(0, 0.1))
    )
    off = bean.y - bend - 0.018 * smooth(size, 9, rng)
    breadth = rng.uniform(0.030, 0.065) * (1 + 0.25 * smooth(size, 5, rng)).clip(0.3)
    along = smooth_step(rng.uniform(0.86, 0.98) - np.abs(bean.x), 0.25)
    cut = np.exp(-((off / breadth) ** 2)) * along
    valley = np.exp(-((off / rng.uniform(0.18, 0.3)) ** 2)) * along
    valley_depth = rng.uniform(0.02, 0.09)
    cut_depth = rng.uniform(0.06, 0.13)
    bean.height = 0.42 * face - valley_depth * valley - cut_depth * cut + roughness
    bean.colour *= (1 - rng.uniform(0.30, 0.60) * cut)[..., None]
    skin = rng.uniform(0, 0.85) * np.exp(-((off / (2.2 * breadth)) ** 2)) * along
    torn = smooth_step(fractal(size, 11, rng) - rng.uniform(-1.0, 0.8), 1.0)
    blend(bean, _SILVERSKIN, skin * torn)
    rags_elsewhere = smooth_step(fractal(size, 7, rng) - rng.uniform(1.3, 2.2), 0.5)
    blend(bean, _SILVERSKIN, rng.uniform(0.2, 0.6) * rags_elsewhere)
