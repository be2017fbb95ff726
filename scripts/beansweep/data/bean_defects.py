"""Defects of green coffee beans, laid over a sound bean.

They are defects of the SCA green coffee defect handbook (Specialty Coffee Association, 2018). Each
function changes a bean in place; its severity runs from 0 (hard to see) to 1 (plain).
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from beansweep.data.bean_noise import fractal, smooth, smooth_step
from beansweep.data.bean_shape import Bean, blend


def good(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """No defect: a good bean may only be a little warm in tone."""
    warmth = max(0, rng.normal(0, 0.10))
    blend(bean, np.array([0.66, 0.53, 0.33]), np.full_like(bean.x, warmth))


def black(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Full or partial black: dead tissue, dark brown to black, with a shrivelled surface."""
    size = len(bean.x)
    dark = np.array([0.15, 0.115, 0.09]) * rng.uniform(0.75, 1.5)
    coverage = 0.35 * (1 - severity) + 3.4 * severity
    reach = smooth_step(
        0.75 * fractal(size, 3, rng) + coverage - 1.1 + 0.7 * rng.choice([-1, 1]) * bean.x, 0.5
    )
    mottled = dark + 0.02 * smooth(size, 12, rng)[..., None]
    blend(bean, mottled, rng.uniform(0.84, 0.97) * reach)
    bean.height += 0.022 * severity * reach * fractal(size, 9, rng)


def sour(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Over-fermented: yellow, amber or reddish brown, often in patches."""
    size = len(bean.x)
    tint = np.array([0.64, 0.48, 0.25]) + rng.uniform(0, 1) * np.array([-0.12, -0.19, -0.10])
    share = 0.28 + 0.62 * severity + 0.16 * fractal(size, 3.5, rng)
    blend(bean, tint, np.clip(share, 0, 0.95))


def broken(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """A piece is missing; the fracture is irregular, pale and rough, and falls off steeply."""
    size = len(bean.x)
    left = _distance_to_fracture(bean, severity, rng)
    bean.inside *= smooth_step(left, 1.6 * bean.pixel)
    face = np.exp(-np.clip(left, 0, None) / rng.uniform(0.06, 0.10 + 0.12 * severity))
    pale = np.array([0.90, 0.86, 0.72]) * rng.uniform(0.85, 1.08)
    blend(bean, pale + 0.05 * fractal(size, 18, rng)[..., None], 0.9 * face)
    bean.height -= 0.22 * face - 0.03 * face * fractal(size, 22, rng)


def _distance_to_fracture(bean: Bean, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Distance of each pixel from a random fracture: [n, n], negative where the bean is gone."""
    size = len(bean.x)
    angle = rng.uniform(0, 2 * np.pi)
    along = bean.x * np.cos(angle) + bean.y * np.sin(angle)
    # How far the bean reaches in that direction, so that the fracture takes a share of it.
    reach = along[bean.rho < 1].max()
    jag = 0.045 * fractal(size, 6, rng) + 0.02 * smooth(size, 20, rng)
    if rng.random() < 0.5:
        # A straight cut.
        return reach * (0.88 - 0.90 * severity * rng.uniform(0.75, 1)) - along + jag
    # A bite, in the form of a circle that reaches over the rim.
    radius = 0.22 + 0.50 * severity
    distance = reach + 0.35 * radius
    x, y = distance * np.cos(angle), distance * np.sin(angle)
    return np.hypot(bean.x - x, bean.y - y) - radius * 1.25 + jag


def insect(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Bore holes of the coffee berry borer: small, round, dark, some with a stained rim."""
    for _ in range(1 + rng.binomial(3, 0.55 * severity)):
        _bore_hole(bean, severity, rng)


def _bore_hole(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Bore one hole at a random place, with a stain around it."""
    size = len(bean.x)
    away = rng.uniform(0, 0.72)
    turn = rng.uniform(0, 2 * np.pi)
    x, y = away * np.cos(turn), 0.72 * away * np.sin(turn)
    radius = (0.050 + 0.065 * severity) * rng.uniform(0.85, 1.2)
    stretch = rng.uniform(0.85, 1.15)
    distance = np.hypot((bean.x - x) * stretch, (bean.y - y) / stretch)
    distance = distance + 0.006 * smooth(size, 16, rng)
    stain = np.exp(-((distance / (2.2 * radius)) ** 2)) * rng.uniform(0.1, 0.6)
    blend(bean, np.array([0.36, 0.27, 0.17]), stain)
    hole = smooth_step(radius - distance, 1.8 * bean.pixel + 0.015)
    blend(bean, np.array([0.07, 0.05, 0.04]), 0.96 * hole)
    bean.height -= 0.08 * np.exp(-((distance / radius) ** 2))


def mold(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """A powdery, whitish to yellowish bloom that spreads in patches and softens the surface."""
    size = len(bean.x)
    bloom = np.array([0.88, 0.87, 0.80]) + rng.uniform(-1, 1) * np.array([0.0, 0.015, 0.06])
    patches = smooth_step(fractal(size, 4, rng) + 1.9 * severity - 1.25, 0.9)
    powder = 0.78 + 0.30 * smooth(size, size / 3, rng) + 0.14 * smooth(size, 24, rng)
    powder = np.clip(powder, 0, 1)
    blend(bean, bloom, (0.42 + 0.48 * severity) * patches * powder)
    softened = gaussian_filter(bean.height, 2.5)
    bean.height = (1 - 0.6 * patches) * bean.height + 0.6 * patches * softened
    bean.height += 0.012 * patches * smooth(size, size / 3, rng)


BY_CLASS = {
    "good": good,
    "black": black,
    "sour": sour,
    "broken": broken,
    "insect": insect,
    "mold": mold,
}
