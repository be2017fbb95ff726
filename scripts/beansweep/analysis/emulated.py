"""What candidates decide on an emulated device, next to what they decide here.

Thresholds are those of here: a model is deployed with them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import candidates, image_set, intervals, operating_point, portability
from beansweep.analysis.candidates import SPLITS, Candidates
from beansweep.analysis.image_set import ImageSet
from beansweep.analysis.operating_point import OperatingPoint
from beansweep.common import emulator, files
from beansweep.evaluation import predictions


@dataclass(frozen=True)
class Emulated:
    """An emulated device.

    Attributes
    ----------
    name : key under devices
    processor : QEMU's name of it
    table : a row for each candidate that was emulated: what the table of all candidates has, with
        the accuracy on the device, and what is decided there
    here : the same, of the same images as they are predicted here
    images : split -> what these candidates predict there
    differences : a row a candidate, see `compare`; and `cause`, of differences, where it is known
    complete : whether every validation and test image was emulated. Fewer show whether decisions
        differ, but their defects vouch for less than those that the thresholds are from
    """

    name: str
    processor: str
    table: pd.DataFrame
    here: pd.DataFrame
    images: dict[str, ImageSet]
    differences: pd.DataFrame
    complete: bool

    def onto(self, here: pd.DataFrame, deploy: dict, confidence: float) -> pd.DataFrame:
        """The table of all candidates, with the accuracy of those that were emulated from there.

        Parameters
        ----------
        here : all candidates under the limits of `deploy`
        """
        own, table = self.table.copy(), here.copy()
        points = _points(here.loc[own.index])
        candidates.decide(own, self.images, deploy, confidence, points=points)
        for column in map(str, own):
            if column.startswith(("val_", "test_")):
                table[column] = own[column].reindex(table.index).combine_first(here[column])
        return table


def read(
    results: Path,
    name: str,
    processor: str,
    here: Candidates,
    good_classes: list[str] | None,
    groups: pd.Series,
    baselines: Collection[str],
    instruction_set: str,
) -> Emulated:
    """Read the predictions of a device, and compare them with those of here.

    Parameters
    ----------
    results : folder of the sweep
    name, processor : as in `Emulated`
    groups : number of each image's group of near-duplicates, by path
    baselines : variants that are not emulated
    instruction_set : of this machine
    """
    table = here.table[~here.table["baseline"]].copy()
    points, found, same, differences, complete = _points(table), [], [], [], True
    confidence, architecture = here.report["confidence"], emulator.architecture(processor)
    for point, (_, row) in zip(points, table.iterrows(), strict=True):
        folder, variant = results / row["backbone"], _emulated_variant(row, baselines)
        there = predictions.read(folder / f"emulated/{name}/{variant}.csv")
        own = predictions.read(folder / f"predictions/{variant}.csv")
        recipe = files.read_json(folder / f"{variant}.json")["recipe"]
        difference = compare(own, there, point, good_classes, confidence)
        difference["cause"] = portability.saturation(recipe, instruction_set, architecture)
        differences.append(difference)
        found.append(there)
        same.append(own.set_index("path").loc[there["path"]].reset_index())
        complete &= len(there) == len(own)
    images, images_here = {}, {}
    for split in SPLITS:
        images[split] = image_set.read(found, split, good_classes, groups)
        images_here[split] = image_set.read(same, split, good_classes, groups)
    there = _judged(table, images, points, here)
    # Of all images, the figures of here are known.
    own = table if complete else _judged(table, images_here, points, here)
    compared = pd.DataFrame(differences, table.index)
    return Emulated(name, processor, there, own, images, compared, complete)


def _judged(
    table: pd.DataFrame, images: dict[str, ImageSet], points: list[OperatingPoint], here: Candidates
) -> pd.DataFrame:
    """A table of candidates with their accuracy and decisions on some images."""
    table, reference = table.copy(), candidates.fp32_places(table)
    for split in SPLITS:
        accuracy = candidates.judge(images[split], table.index, reference, here.report)
        accuracy = accuracy.add_prefix(f"{split}_")
        table[accuracy.columns] = accuracy
    candidates.decide(table, images, here.deploy, here.report["confidence"], points=points)
    return table


def _points(table: pd.DataFrame) -> list[OperatingPoint]:
    """The operating points that a table of candidates has."""
    thresholds = table[["ship_below", "reject_from"]].to_numpy(float)
    return [OperatingPoint(ship_below, reject_from) for ship_below, reject_from in thresholds]


def _emulated_variant(row: pd.Series, baselines: Collection[str]) -> str:
    """The first variant of a candidate that was emulated; all of them are the same file."""
    return next(name for name in [row["variant"], *row["also"]] if name not in baselines)


def compare(
    here: pd.DataFrame,
    there: pd.DataFrame,
    point: OperatingPoint,
    good_classes: list[str] | None,
    confidence: float,
) -> dict:
    """Compare a model's predictions on two machines, on the images that both predicted.

    Parameters
    ----------
    here, there : predictions; `there` may be of some images alone
    point : of the model
    good_classes : None where no class is a defect, and the likeliest class is the decision
    confidence : of the interval

    Returns
    -------
    `images`, how many there are; `otherwise`, how many of them are decided otherwise, with the
    interval of their share from `otherwise_low` to `otherwise_high`; `largest_difference` of a
    probability
    """
    here = here.set_index("path").loc[there["path"]]
    columns = [f"p_{label}" for label in predictions.labels_of(there)]
    before, after = here[columns].to_numpy(float), there[columns].to_numpy(float)
    changed = here["predicted"].to_numpy() != there["predicted"].to_numpy()
    if good_classes is not None:
        is_defect = ~np.isin(predictions.labels_of(there), good_classes)
        changed = _decisions(before, is_defect, point) != _decisions(after, is_defect, point)
    count = int(changed.sum())
    low, high = intervals.share_interval(count, len(there), confidence)
    return {
        "images": len(there),
        "otherwise": count,
        "otherwise_low": low,
        "otherwise_high": high,
        "largest_difference": float(np.abs(before - after).max()),
    }


def _decisions(
    probabilities: np.ndarray, is_defect: np.ndarray, point: OperatingPoint
) -> np.ndarray:
    """What is decided: int [n], 0 to ship, 1 for a person, 2 to reject."""
    scores = operating_point.defect_scores(probabilities, is_defect)
    return (scores >= point.ship_below).astype(int) + (scores >= point.reject_from)
