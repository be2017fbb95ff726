"""Sets of images with predictions, drawn from a population."""

import numpy as np
from beansweep.analysis.image_set import ImageSet
from beansweep.evaluation import metrics

CLASSES = 4
# P(predicted | true): rows are true classes.
POPULATION = np.array(
    [
        [0.90, 0.06, 0.02, 0.02],
        [0.10, 0.80, 0.05, 0.05],
        [0.02, 0.03, 0.93, 0.02],
        [0.04, 0.08, 0.03, 0.85],
    ]
)


def sample(rng, matrix, per_class):
    """True classes and predictions of a set of images."""
    true = np.repeat(np.arange(len(matrix)), per_class)
    cumulative = matrix.cumsum(axis=1)
    cumulative /= cumulative[:, -1:]
    return true, (cumulative[true] <= rng.random(len(true))[:, None]).sum(axis=1)


def worse_by(rng, predicted, share):
    """The same predictions, with a share of them replaced at random."""
    replaced = rng.random(len(predicted)) < share
    return np.where(replaced, rng.integers(0, CLASSES, len(predicted)), predicted)


def macro_f1(true, predicted):
    return metrics.macro_f1(true, predicted, CLASSES)


def population_macro_f1(matrix):
    """What macro-F1 is on infinitely many images, as many of each class."""
    hits, found = np.diag(matrix), matrix.sum(axis=0)
    return np.mean(2 * hits / (found + 1))


def image_set(rng, noise, goods, defects):
    """Good images and defects, judged by a candidate for each value of `noise`.

    The defect score is that of the image with noise of the candidate's own.
    """
    true = np.repeat([0, 1], [goods, defects])
    distance = rng.normal(0, 0.6, len(true)) + np.where(true, 1.5, -1.5)
    own = distance + rng.normal(size=(len(noise), len(true))) * np.array(noise)[:, None]
    scores = 1 / (1 + np.exp(-own))
    return ImageSet(
        labels=["good", "defect"],
        true=true,
        predicted=(scores > 0.5).astype(int),
        scores=scores,
        is_defect=np.array([False, True]),
        group=np.arange(len(true)),
    )
