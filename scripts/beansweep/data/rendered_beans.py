"""Rendered photographs of green coffee beans, labelled: the data set that needs no download.

An image is built in layers: a sound bean, its defect, then light, belt and camera. Pose, light,
belt and camera vary alike for every class, so that only the bean tells the class.
"""

import numpy as np

from beansweep.data import bean_defects
from beansweep.data.bean_photograph import photograph
from beansweep.data.bean_shape import sound_bean

CLASSES = ("good", "black", "sour", "broken", "insect", "mold")

# Share of the defective beans with a defect that is hard to see.
SUBTLE = 0.10


def render(label: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Photograph one bean of a class.

    Parameters
    ----------
    label : one of `CLASSES`
    size : pixels along a side
    rng : source of all that is random: the same state gives the same image

    Returns
    -------
    uint8 [size, size, 3]
    """
    severity = rng.uniform(0, 0.3) if rng.random() < SUBTLE else rng.uniform(0.5, 1)
    bean = sound_bean(size, rng)
    bean_defects.BY_CLASS[label](bean, severity, rng)
    return photograph(bean, rng)
