"""Rendered photographs of green coffee beans, labelled: the data set that needs no download.

A bean is built in layers: outline, height, colour, defect, light, belt, camera. Lengths are in
units of the bean's half length, colours are display RGB from 0 to 1. The defects are those of
the SCA green coffee defect handbook (Specialty Coffee Association, 2018), each with a severity
that runs from hard to see to plain; pose, light, belt and camera vary alike for every class.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

CLASSES = ("good", "black", "sour", "broken", "insect", "mold")

# Share of the defective beans whose defect is hard to see.
SUBTLE = 0.10

_SILVERSKIN = np.array([0.83, 0.77, 0.63])
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
_GREENS = np.array([[0.50, 0.53, 0.40], [0.56, 0.57, 0.46], [0.63, 0.60, 0.44], [0.69, 0.63, 0.46]])


@dataclass
class Bean:
    """One bean on its grid: float32 [n, n] maps, and colour [n, n, 3].

    x and y run along and across the bean; rho is 0 at its centre and 1 at its outline.
    """

    x: np.ndarray
    y: np.ndarray
    rho: np.ndarray
    pixel: float
    height: np.ndarray
    colour: np.ndarray
    inside: np.ndarray


def render(label: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Photograph one bean of a class: uint8 [size, size, 3].

    The same label, size and state of `rng` give the same image.
    """
    severity = rng.uniform(0, 0.3) if rng.random() < SUBTLE else rng.uniform(0.5, 1)
    bean = _shape(size, rng)
    _surface(bean, rng)
    _DEFECTS[label](bean, severity, rng)
    light = _light(rng)
    image = _on_belt(bean, light, rng)
    return _photograph(image, rng)


def _noise(size: int, cells: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of about unit variance with `cells` features across the image: [n, n]."""
    count = max(2, round(cells) + 3)
    grid = rng.standard_normal((count, count)).astype(np.float32)
    return 1.4 * np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def _fractal(size: int, cells: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of three octaves, coarse to fine: [n, n], about unit variance."""
    return sum(0.6**octave * _noise(size, cells * 2**octave, rng) for octave in range(3)) / 1.3


def _step(value: np.ndarray, width: float) -> np.ndarray:
    """0 below zero, 1 above, smooth over `width` about zero."""
    ramp = np.clip(value / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _blend(bean: Bean, colour: np.ndarray, share: np.ndarray) -> None:
    """Lay a colour over the bean where `share` (0 to 1) says."""
    bean.colour += share[..., None] * (colour - bean.colour)


def _shape(size: int, rng: np.random.Generator) -> Bean:
    """An egg of a random pose, length and width, with an outline that no formula quite fits."""
    half_length = rng.uniform(0.56, 0.80)
    width = rng.uniform(0.62, 0.86)
    angle = rng.uniform(0, 2 * np.pi)
    centre = rng.normal(0, 0.06, 2)
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    across, down = np.meshgrid((axis - centre[0]) / half_length, (axis - centre[1]) / half_length)
    x = across * np.cos(angle) + down * np.sin(angle)
    y = down * np.cos(angle) - across * np.sin(angle)
    narrow = width * (1 + rng.normal(0, 0.10) * x + rng.normal(0, 0.05) * x * x)
    direction = np.arctan2(y / width, x)
    wobble = sum(
        rng.normal(0, 0.030 / k**0.7) * np.cos(k * direction + rng.uniform(0, 6.3))
        for k in (2, 3, 4, 5, 7)
    )
    exponent = rng.uniform(2.0, 2.5)
    rho = (np.abs(x) ** exponent + np.abs(y / narrow) ** exponent) ** (1 / exponent) / (1 + wobble)
    return Bean(
        x,
        y,
        rho,
        2 / size / half_length,
        np.zeros_like(x),
        np.zeros((size, size, 3)),
        np.zeros_like(x),
    )


def _surface(bean: Bean, rng: np.random.Generator) -> None:
    """Height and colour of a sound bean, lying on its flat face or on its back."""
    size = len(bean.x)
    bean.inside = _step(1 - bean.rho, 1.6 * bean.pixel)
    mottle = _fractal(size, 5, rng)
    low, high = _GREENS[rng.integers(3) + np.array([0, 1])]
    mix = np.clip(rng.random() + 0.22 * mottle, 0, 1)[..., None]
    bean.colour = low + mix * (high - low) + 0.012 * _noise(size, size / 3, rng)[..., None]
    dome = np.sqrt(np.clip(1 - bean.rho**2, 0, None))
    rough = 0.007 * _fractal(size, 14, rng) + 0.003 * _noise(size, size / 2.5, rng)
    if rng.random() < 0.4:
        bean.height = 0.62 * dome + rough
        return
    # The flat face keeps a rounded rim; the cut wanders along it like a flat S.
    face = np.sqrt(np.clip(1 - bean.rho ** rng.uniform(3.2, 5.0), 0, None))
    bend = rng.normal(0, 0.07) + rng.choice([-1, 1]) * rng.uniform(0.02, 0.10) * np.sin(
        np.pi * (bean.x * rng.uniform(0.8, 1.2) + rng.normal(0, 0.1))
    )
    off = bean.y - bend - 0.018 * _noise(size, 9, rng)
    breadth = rng.uniform(0.030, 0.065) * (1 + 0.25 * _noise(size, 5, rng)).clip(0.3)
    along = _step(rng.uniform(0.86, 0.98) - np.abs(bean.x), 0.25)
    cut = np.exp(-((off / breadth) ** 2)) * along
    valley = np.exp(-((off / rng.uniform(0.18, 0.3)) ** 2)) * along
    bean.height = (
        0.42 * face - rng.uniform(0.02, 0.09) * valley - rng.uniform(0.06, 0.13) * cut + rough
    )
    bean.colour *= (1 - rng.uniform(0.30, 0.60) * cut)[..., None]
    skin = rng.uniform(0, 0.85) * np.exp(-((off / (2.2 * breadth)) ** 2)) * along
    _blend(bean, _SILVERSKIN, skin * _step(_fractal(size, 11, rng) - rng.uniform(-1.0, 0.8), 1.0))
    # Rags of silverskin elsewhere on the face.
    rags = _step(_fractal(size, 7, rng) - rng.uniform(1.3, 2.2), 0.5)
    _blend(bean, _SILVERSKIN, rng.uniform(0.2, 0.6) * rags)


def _good(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Nothing is wrong with a good bean; yet it may be warm in tone, a little of it."""
    _blend(bean, np.array([0.66, 0.53, 0.33]), np.full_like(bean.x, max(0, rng.normal(0, 0.10))))


def _black(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Full or partial black: dead tissue, dark brown to black, the surface shrivelled."""
    size = len(bean.x)
    dark = np.array([0.15, 0.115, 0.09]) * rng.uniform(0.75, 1.5)
    coverage = 0.35 * (1 - severity) + 3.4 * severity
    reach = _step(
        0.75 * _fractal(size, 3, rng) + coverage - 1.1 + 0.7 * rng.choice([-1, 1]) * bean.x, 0.5
    )
    _blend(bean, dark + 0.02 * _noise(size, 12, rng)[..., None], rng.uniform(0.84, 0.97) * reach)
    bean.height += 0.022 * severity * reach * _fractal(size, 9, rng)


def _sour(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Over-fermented: yellow, amber to reddish brown, often in patches."""
    size = len(bean.x)
    tint = np.array([0.64, 0.48, 0.25]) + rng.uniform(0, 1) * np.array([-0.12, -0.19, -0.10])
    share = 0.28 + 0.62 * severity + 0.16 * _fractal(size, 3.5, rng)
    _blend(bean, tint, np.clip(share, 0, 0.95))


def _broken(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """A piece is missing; the fracture is irregular, pale and rough, and falls off steeply."""
    size = len(bean.x)
    angle = rng.uniform(0, 2 * np.pi)
    along = bean.x * np.cos(angle) + bean.y * np.sin(angle)
    # How far the bean reaches in that direction, so that the cut takes a share of it.
    reach = along[bean.rho < 1].max()
    jag = 0.045 * _fractal(size, 6, rng) + 0.02 * _noise(size, 20, rng)
    if rng.random() < 0.5:
        left = reach * (0.88 - 0.90 * severity * rng.uniform(0.75, 1)) - along + jag
    else:
        # A bite: what a circle that reaches over the rim takes away.
        radius = 0.22 + 0.50 * severity
        x, y = ((reach + 0.35 * radius) * trig for trig in (np.cos(angle), np.sin(angle)))
        left = np.hypot(bean.x - x, bean.y - y) - radius * 1.25 + jag
    bean.inside *= _step(left, 1.6 * bean.pixel)
    face = np.exp(-np.clip(left, 0, None) / rng.uniform(0.06, 0.10 + 0.12 * severity))
    pale = np.array([0.90, 0.86, 0.72]) * rng.uniform(0.85, 1.08)
    _blend(bean, pale + 0.05 * _fractal(size, 18, rng)[..., None], 0.9 * face)
    bean.height -= 0.22 * face - 0.03 * face * _fractal(size, 22, rng)


def _insect(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Bore holes of the coffee berry borer: small, round, dark, some with a stained rim."""
    size = len(bean.x)
    for _ in range(1 + rng.binomial(3, 0.55 * severity)):
        away = rng.uniform(0, 0.72)
        turn = rng.uniform(0, 2 * np.pi)
        x, y = away * np.cos(turn), 0.72 * away * np.sin(turn)
        radius = (0.050 + 0.065 * severity) * rng.uniform(0.85, 1.2)
        stretch = rng.uniform(0.85, 1.15)
        distance = np.hypot((bean.x - x) * stretch, (bean.y - y) / stretch) + 0.006 * _noise(
            size, 16, rng
        )
        stain = np.exp(-((distance / (2.2 * radius)) ** 2)) * rng.uniform(0.1, 0.6)
        _blend(bean, np.array([0.36, 0.27, 0.17]), stain)
        hole = _step(radius - distance, 1.8 * bean.pixel + 0.015)
        _blend(bean, np.array([0.07, 0.05, 0.04]), 0.96 * hole)
        bean.height -= 0.08 * np.exp(-((distance / radius) ** 2))


def _mold(bean: Bean, severity: float, rng: np.random.Generator) -> None:
    """Powdery whitish to yellowish bloom that spreads in patches and softens what is below."""
    size = len(bean.x)
    bloom = np.array([0.88, 0.87, 0.80]) + rng.uniform(-1, 1) * np.array([0.0, 0.015, 0.06])
    patches = _step(_fractal(size, 4, rng) + 1.9 * severity - 1.25, 0.9)
    powder = np.clip(0.78 + 0.30 * _noise(size, size / 3, rng) + 0.14 * _noise(size, 24, rng), 0, 1)
    _blend(bean, bloom, (0.42 + 0.48 * severity) * patches * powder)
    bean.height = (1 - 0.6 * patches) * bean.height + 0.6 * patches * gaussian_filter(
        bean.height, 2.5
    )
    bean.height += 0.012 * patches * _noise(size, size / 3, rng)


_DEFECTS = {
    "good": _good,
    "black": _black,
    "sour": _sour,
    "broken": _broken,
    "insect": _insect,
    "mold": _mold,
}


@dataclass
class Light:
    """A main light's direction [3] (towards it), the share of ambient light, and the gloss."""

    direction: np.ndarray
    ambient: float
    gloss: float


def _light(rng: np.random.Generator) -> Light:
    """One lamp above the belt, somewhere, and what the housing scatters."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(38, 72))
    direction = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    return Light(direction, rng.uniform(0.28, 0.5), rng.uniform(0.0, 0.10))


def _shade(bean: Bean, light: Light) -> np.ndarray:
    """Linear light from the bean: Lambert's diffuse, Blinn's highlight, ambient occlusion."""
    down, across = np.gradient(bean.height, bean.pixel)
    normal = np.stack([-across, -down, np.ones_like(down)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    diffuse = np.clip(normal @ light.direction, 0, None)
    halfway = light.direction + np.array([0, 0, 1])
    highlight = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, None) ** 24
    occlusion = np.clip(
        1 + 4 * (bean.height - gaussian_filter(bean.height, 0.07 / bean.pixel)), 0.5, 1.1
    )
    brightness = occlusion * (light.ambient + (1 - light.ambient) * diffuse / light.direction[2])
    return (
        np.clip(bean.colour, 0.01, 1) ** 2.2 * brightness[..., None]
        + light.gloss * highlight[..., None] ** 2
    )


def _belt(size: int, rng: np.random.Generator) -> np.ndarray:
    """The belt in linear light: a colour, its weave, wear, and some dust: [n, n, 3]."""
    colour = np.clip(
        _BELTS[rng.integers(len(_BELTS))] + rng.normal(0, 0.012, 3) + rng.normal(0, 0.04),
        0.04,
        0.96,
    )
    pattern = 0.012 * _fractal(size, 4, rng) + rng.uniform(0, 0.028) * _noise(size, size / 2.5, rng)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    across, down = np.meshgrid(axis, axis)
    for _ in range(rng.poisson(1.0)):
        turn = rng.uniform(0, np.pi)
        line = (
            across * np.cos(turn)
            + down * np.sin(turn)
            - rng.uniform(-1, 1)
            + 0.02 * _noise(size, 2, rng)
        )
        pattern += rng.normal(0, 0.07) * np.exp(-((line / rng.uniform(0.008, 0.02)) ** 2))
    return np.clip(colour * (1 + pattern[..., None] / max(0.3, colour.mean())), 0.01, 1) ** 2.2


def _specks(size: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crumbs and dust that lie anywhere, on any bean: (where [n, n], linear colour [3]) pairs."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    result = []
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(-1, 1, 2)
        turn, radius, stretch = (
            rng.uniform(0, np.pi),
            rng.uniform(0.010, 0.026),
            rng.uniform(1.0, 2.6),
        )
        across, down = np.meshgrid(axis - x, axis - y)
        along, beside = (
            across * np.cos(turn) + down * np.sin(turn),
            down * np.cos(turn) - across * np.sin(turn),
        )
        where = _step(radius - np.hypot(along / stretch, beside), 2.5 / size)
        result.append(
            (
                rng.uniform(0.5, 0.9) * where,
                rng.uniform(0.05, 0.75) ** 2.2 * np.array([1.0, 0.9, 0.75]),
            )
        )
    return result


def _on_belt(bean: Bean, light: Light, rng: np.random.Generator) -> np.ndarray:
    """The bean on the belt, with its shadow and what else lies about, in linear light."""
    size = len(bean.x)
    image = _belt(size, rng)
    if rng.random() < 0.15:
        _neighbour(image, rng)
    fall = -light.direction[:2] / light.direction[2] * rng.uniform(0.05, 0.11) * size
    cast = gaussian_filter(
        shift(bean.inside, (fall[1], fall[0]), order=1), rng.uniform(0.012, 0.035) * size
    )
    contact = gaussian_filter(bean.inside, 0.02 * size)
    image *= (1 - rng.uniform(0.35, 0.75) * np.maximum(cast, 0.7 * contact))[..., None]
    image += bean.inside[..., None] * (_shade(bean, light) - image)
    for where, colour in _specks(size, rng):
        image += where[..., None] * (colour - image)
    return image


def _neighbour(image: np.ndarray, rng: np.random.Generator) -> None:
    """Another bean's rounded end, cut off by the edge of the picture; too little of it to judge."""
    size = len(image)
    turn = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    across, down = np.meshgrid(axis - 1.42 * np.cos(turn), axis - 1.42 * np.sin(turn))
    distance = np.hypot(across, down) / rng.uniform(0.45, 0.6) + 0.03 * _noise(size, 3, rng)
    image *= 1 - 0.5 * gaussian_filter(_step(1.05 - distance, 0.1), 0.02 * size)[..., None]
    colour = _GREENS[rng.integers(len(_GREENS))] ** 2.2
    brightness = np.sqrt(np.clip(1.05 - distance**2, 0.1, None))
    image += _step(1 - distance, 3 / size)[..., None] * (colour * brightness[..., None] - image)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lens, exposure, white balance and sensor: linear [n, n, 3] -> display uint8."""
    size = len(image)
    axis = np.linspace(-1, 1, size)
    fall_off = 1 - rng.uniform(0, 0.22) * (axis[:, None] ** 2 + axis**2) / 2
    image = image * fall_off[..., None] * rng.uniform(0.75, 1.25) * (1 + rng.normal(0, 0.025, 3))
    defocus = size / 128 * rng.uniform(0.25, 0.9)
    smear = size / 128 * max(0.0, rng.normal(0, 0.4))
    image = gaussian_filter(image, (defocus + (smear if rng.random() < 0.5 else 0), defocus, 0))
    grain = rng.uniform(0.004, 0.016)
    display = np.clip(image, 0, 1) ** (1 / 2.2) + grain * rng.standard_normal(image.shape)
    return (255 * np.clip(display, 0, 1) + 0.5).astype(np.uint8)
