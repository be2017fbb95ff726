"""The photograph of a bean: light, belt, shadow and camera, each drawn at random.

Colours are linear light from 0 to 1 until the camera turns them into display values.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from beansweep.data.bean_noise import fractal, smooth, smooth_step
from beansweep.data.bean_shape import GREENS, Bean

# Display gamma.
_GAMMA = 2.2
# Display colours of conveyor belts.
_BELTS = np.array(
    [
        [0.82, 0.82, 0.80],
        [0.62, 0.63, 0.64],
        [0.90, 0.89, 0.86],
        [0.17, 0.18, 0.19],
        [0.20, 0.32, 0.27],
        [0.24, 0.33, 0.47],
        [0.48, 0.45, 0.41],
    ]
)


@dataclass
class Light:
    """One lamp and what the housing scatters.

    Attributes
    ----------
    direction : [3] unit vector towards the lamp
    ambient : share of the light that comes from everywhere
    gloss : strength of highlights
    """

    direction: np.ndarray
    ambient: float
    gloss: float


@dataclass
class Speck:
    """A crumb or a grain of dust: its opacity [n, n] at each pixel, and its linear colour [3]."""

    opacity: np.ndarray
    colour: np.ndarray


def photograph(bean: Bean, rng: np.random.Generator) -> np.ndarray:
    """Photograph a bean on a belt: uint8 [n, n, 3]."""
    light = _random_light(rng)
    return _expose(_scene(bean, light, rng), rng)


def _random_light(rng: np.random.Generator) -> Light:
    """A lamp somewhere above the belt."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(38, 72))
    direction = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    return Light(direction, rng.uniform(0.28, 0.5), rng.uniform(0.0, 0.10))


def _scene(bean: Bean, light: Light, rng: np.random.Generator) -> np.ndarray:
    """The bean on the belt with its shadow, and what else lies there: linear [n, n, 3]."""
    size = len(bean.x)
    image = _belt(size, rng)
    if rng.random() < 0.15:
        _add_neighbour(image, rng)
    _cast_shadow(image, bean, light, rng)
    image += bean.inside[..., None] * (_shade(bean, light) - image)
    for speck in _specks(size, rng):
        image += speck.opacity[..., None] * (speck.colour - image)
    return image


def _belt(size: int, rng: np.random.Generator) -> np.ndarray:
    """The belt: a colour, its weave, and wear: linear [n, n, 3]."""
    colour = np.clip(
        _BELTS[rng.integers(len(_BELTS))] + rng.normal(0, 0.012, 3) + rng.normal(0, 0.04),
        0.04,
        0.96,
    )
    pattern = 0.012 * fractal(size, 4, rng) + rng.uniform(0, 0.028) * smooth(size, size / 2.5, rng)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    across, down = np.meshgrid(axis, axis)
    for _ in range(rng.poisson(1.0)):
        pattern += _scratch(across, down, rng)
    return np.clip(colour * (1 + pattern[..., None] / max(0.3, colour.mean())), 0.01, 1) ** _GAMMA


def _scratch(across: np.ndarray, down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lighter or darker line across the belt: [n, n]."""
    turn = rng.uniform(0, np.pi)
    distance = (
        across * np.cos(turn)
        + down * np.sin(turn)
        - rng.uniform(-1, 1)
        + 0.02 * smooth(len(across), 2, rng)
    )
    return rng.normal(0, 0.07) * np.exp(-((distance / rng.uniform(0.008, 0.02)) ** 2))


def _add_neighbour(image: np.ndarray, rng: np.random.Generator) -> None:
    """Add the rounded end of another bean at the edge of the image: too little of it to judge."""
    size = len(image)
    turn = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    across, down = np.meshgrid(axis - 1.42 * np.cos(turn), axis - 1.42 * np.sin(turn))
    distance = np.hypot(across, down) / rng.uniform(0.45, 0.6) + 0.03 * smooth(size, 3, rng)
    shadow = gaussian_filter(smooth_step(1.05 - distance, 0.1), 0.02 * size)
    image *= 1 - 0.5 * shadow[..., None]
    colour = GREENS[rng.integers(len(GREENS))] ** _GAMMA
    brightness = np.sqrt(np.clip(1.05 - distance**2, 0.1, None))
    inside = smooth_step(1 - distance, 3 / size)
    image += inside[..., None] * (colour * brightness[..., None] - image)


def _cast_shadow(image: np.ndarray, bean: Bean, light: Light, rng: np.random.Generator) -> None:
    """Darken the belt where the bean keeps the lamp off, and where it touches the belt."""
    size = len(image)
    fall = -light.direction[:2] / light.direction[2] * rng.uniform(0.05, 0.11) * size
    moved = shift(bean.inside, (fall[1], fall[0]), order=1)
    cast = gaussian_filter(moved, rng.uniform(0.012, 0.035) * size)
    contact = gaussian_filter(bean.inside, 0.02 * size)
    image *= (1 - rng.uniform(0.35, 0.75) * np.maximum(cast, 0.7 * contact))[..., None]


def _shade(bean: Bean, light: Light) -> np.ndarray:
    """Light from the bean: diffuse, ambient, and highlights: linear [n, n, 3].

    Diffuse light is Lambert's; highlights are those of Blinn (1977, "Models of light reflection
    for computer synthesized pictures"); hollows get less light (ambient occlusion).
    """
    down, across = np.gradient(bean.height, bean.pixel)
    normal = np.stack([-across, -down, np.ones_like(down)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    diffuse = np.clip(normal @ light.direction, 0, None)
    halfway = light.direction + np.array([0, 0, 1])
    highlight = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, None) ** 24
    hollow = bean.height - gaussian_filter(bean.height, 0.07 / bean.pixel)
    occlusion = np.clip(1 + 4 * hollow, 0.5, 1.1)
    brightness = occlusion * (light.ambient + (1 - light.ambient) * diffuse / light.direction[2])
    return (
        np.clip(bean.colour, 0.01, 1) ** _GAMMA * brightness[..., None]
        + light.gloss * highlight[..., None] ** 2
    )


def _specks(size: int, rng: np.random.Generator) -> list[Speck]:
    """Crumbs and dust that lie anywhere, on any bean."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    specks = []
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(-1, 1, 2)
        turn = rng.uniform(0, np.pi)
        radius = rng.uniform(0.010, 0.026)
        stretch = rng.uniform(1.0, 2.6)
        across, down = np.meshgrid(axis - x, axis - y)
        lengthwise = across * np.cos(turn) + down * np.sin(turn)
        crosswise = down * np.cos(turn) - across * np.sin(turn)
        inside = smooth_step(radius - np.hypot(lengthwise / stretch, crosswise), 2.5 / size)
        opacity = rng.uniform(0.5, 0.9) * inside
        colour = rng.uniform(0.05, 0.75) ** _GAMMA * np.array([1.0, 0.9, 0.75])
        specks.append(Speck(opacity, colour))
    return specks


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lens, exposure, white balance and sensor: linear [n, n, 3] -> display uint8 [n, n, 3]."""
    size = len(image)
    axis = np.linspace(-1, 1, size)
    fall_off = 1 - rng.uniform(0, 0.22) * (axis[:, None] ** 2 + axis**2) / 2
    image = image * fall_off[..., None] * rng.uniform(0.75, 1.25) * (1 + rng.normal(0, 0.025, 3))
    defocus = size / 128 * rng.uniform(0.25, 0.9)
    smear = size / 128 * max(0.0, rng.normal(0, 0.4))
    image = gaussian_filter(image, (defocus + (smear if rng.random() < 0.5 else 0), defocus, 0))
    grain = rng.uniform(0.004, 0.016)
    display = np.clip(image, 0, 1) ** (1 / _GAMMA) + grain * rng.standard_normal(image.shape)
    return (255 * np.clip(display, 0, 1) + 0.5).astype(np.uint8)
