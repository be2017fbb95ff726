"""What all candidates predict for one set of images, in arrays."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from beansweep.analysis import operating_point
from beansweep.data.splitting import PICK
from beansweep.evaluation import predictions


@dataclass(frozen=True)
class ImageSet:
    """A set of images with the predictions of all candidates.

    Attributes
    ----------
    labels : class names
    true : int [n], index of each image's class
    predicted : int [candidates, n], index of the likeliest class
    scores : float [candidates, n], defect scores, see `operating_point`
    is_defect : bool [classes]
    group : int [n], equal for near-duplicates
    """

    labels: list[str]
    true: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    is_defect: np.ndarray
    group: np.ndarray

    @property
    def defects(self) -> np.ndarray:
        """Which images are of a defect class: bool [n]."""
        return self.is_defect[self.true]

    @property
    def defect_scores(self) -> np.ndarray:
        """Scores of the defects, one a group of near-duplicates: float [candidates, groups]."""
        return operating_point.group_scores(self.scores[:, self.defects], self.group[self.defects])

    @property
    def good_scores(self) -> np.ndarray:
        """Scores of the good images: float [candidates, good images]; none where no class is a
        defect, for then no class is good either."""
        return self.scores[:, ~self.defects & self.is_defect.any()]

    def only(self, candidate: int) -> "ImageSet":
        """The same of one candidate, by its place."""
        predicted, scores = self.predicted[[candidate]], self.scores[[candidate]]
        return dataclasses.replace(self, predicted=predicted, scores=scores)

    def repeat(self, times: np.ndarray) -> "ImageSet":
        """The same with each image so many times; copies of an image are no near-duplicates.

        Parameters
        ----------
        times : int [n]
        """
        indices = np.repeat(np.arange(len(times)), times)
        first = np.repeat(np.cumsum(times) - times, times)
        copy = np.arange(len(indices)) - first
        return ImageSet(
            self.labels,
            self.true[indices],
            self.predicted[:, indices],
            self.scores[:, indices],
            self.is_defect,
            self.group[indices] * (int(times.max(initial=0)) + 1) + copy,
        )


def read(
    tables: list[pd.DataFrame],
    split: str,
    good_classes: list[str] | None,
    groups: pd.Series | None = None,
) -> ImageSet:
    """The images of one split; for val, those that are set aside for the pick, if any are.

    Parameters
    ----------
    tables : predictions of each candidate, the same images in the same order
    good_classes : every other class is a defect; None where no class is
    groups : number of each image's group of near-duplicates, by path; None where there are none
    """
    if split == "val" and (tables[0]["split"] == PICK).any():
        split = PICK
    rows = [table[table["split"] == split] for table in tables]
    labels = predictions.labels_of(rows[0])
    is_defect = np.zeros(len(labels), bool)
    if good_classes is not None:
        is_defect = ~np.isin(labels, good_classes)
    columns = [f"p_{label}" for label in labels]
    probabilities = np.stack([table[columns].to_numpy(float) for table in rows])
    return ImageSet(
        labels=labels,
        true=predictions.indices(rows[0]["class"], labels),
        predicted=np.stack([predictions.indices(table["predicted"], labels) for table in rows]),
        scores=operating_point.defect_scores(probabilities, is_defect),
        is_defect=is_defect,
        group=_numbers(rows[0]["path"], groups),
    )


def _numbers(paths: pd.Series, groups: pd.Series | None) -> np.ndarray:
    """Number of each image's group, from 0 on: int [n]."""
    own = np.arange(len(paths)) if groups is None else paths.map(groups)
    return pd.factorize(own)[0]
